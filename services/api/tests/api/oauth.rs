use axum::http::{StatusCode, header};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    browser::{Browser, field},
    common::{App, Server, member},
};

fn ask(app: &App, redirect: &str, extra: &str) -> String {
    let redirect: String = url::form_urlencoded::byte_serialize(redirect.as_bytes()).collect();
    format!(
        "/oauth/authorize?response_type=code&client_id={}&redirect_uri={redirect}&scope=read+write{extra}",
        app.id
    )
}

async fn approve(browser: &mut Browser<'_>, url: &str, decision: &str) -> crate::common::Answer {
    let page = browser.get(url).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let policy = page.headers[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .expect("text");
    assert!(policy.contains("default-src 'none'") && !policy.contains("form-action"));
    let mut pairs: Vec<(String, String)> = [
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "csrf",
    ]
    .iter()
    .map(|name| ((*name).to_owned(), field(&page, name)))
    .collect();
    for optional in ["state", "code_challenge", "code_challenge_method"] {
        if page.text().contains(&format!("name=\"{optional}\"")) {
            pairs.push((optional.to_owned(), field(&page, optional)));
        }
    }
    pairs.push(("decision".to_owned(), decision.to_owned()));
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    browser.post("/oauth/authorize", &pairs).await
}

fn code_in(location: &str) -> String {
    let url = url::Url::parse(location).expect("absolute");
    url.query_pairs()
        .find(|(name, _)| name == "code")
        .unwrap_or_else(|| panic!("no code in {location}"))
        .1
        .into_owned()
}

async fn exchange(
    server: &Server,
    app: &App,
    code: &str,
    redirect: &str,
    verifier: &str,
) -> crate::common::Answer {
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("client_id", app.id.as_str()),
        ("client_secret", app.secret.as_str()),
        ("code", code),
        ("redirect_uri", redirect),
    ];
    if !verifier.is_empty() {
        pairs.push(("code_verifier", verifier));
    }
    server.form("/oauth/token", None, &pairs).await
}

#[tokio::test]
async fn a_person_lets_an_app_in_with_pkce() {
    let server = Server::start().await;
    member(&server, "ada").await;
    let app = server.app("read write").await;
    let verifier = "a verifier that is long enough to be one of RFC 7636";
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    let url = ask(
        &app,
        "https://app.test/cb",
        &format!("&state=x%26y&code_challenge={challenge}&code_challenge_method=S256"),
    );
    let mut browser = Browser::new(&server);
    // toot puts a slash before the query.
    let first = browser
        .get(&url.replace("/authorize?", "/authorize/?"))
        .await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    let sign_in = first.location().to_owned();
    assert!(sign_in.starts_with("/auth/sign_in?return_to="), "{sign_in}");
    let page = browser.get(&sign_in).await;
    let back = field(&page, "return_to");
    let csrf = field(&page, "csrf");
    let signed_in = browser
        .post(
            "/auth/sign_in",
            &[
                ("email", "ADA@mail.test"),
                ("password", "correct horse"),
                ("return_to", &back),
                ("csrf", &csrf),
            ],
        )
        .await;
    assert_eq!(
        signed_in.status,
        StatusCode::SEE_OTHER,
        "{}",
        signed_in.text()
    );
    let consent = signed_in.location().to_owned();
    assert!(consent.starts_with("/oauth/authorize?"), "{consent}");

    let approved = approve(&mut browser, &consent, "approve").await;
    assert_eq!(approved.status, StatusCode::FOUND, "{}", approved.text());
    let location = approved.location().to_owned();
    assert!(
        location.starts_with("https://app.test/cb?code="),
        "{location}"
    );
    assert!(location.ends_with("&state=x%26y"), "{location}");

    let code = code_in(&location);
    let token = exchange(&server, &app, &code, "https://app.test/cb", verifier).await;
    assert_eq!(token.status, StatusCode::OK, "{}", token.text());
    let token = token.json();
    assert_eq!(token["token_type"], "Bearer");
    assert_eq!(token["scope"], "read write");
    assert!(token["created_at"].is_i64());
    let bearer = token["access_token"].as_str().expect("a token");
    let me = server
        .get_as("/api/v1/accounts/verify_credentials", bearer)
        .await;
    assert_eq!(me.json()["username"], "ada");

    let again = exchange(&server, &app, &code, "https://app.test/cb", verifier).await;
    assert_eq!(again.json()["error"], "invalid_grant");
    let stored: i64 =
        sqlx::query_scalar("select count(*) from tokens where token_hash = convert_to($1, 'UTF8')")
            .bind(bearer)
            .fetch_one(&server.deps.pool)
            .await
            .expect("a count");
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn a_wrong_verifier_burns_the_code() {
    let server = Server::start().await;
    member(&server, "ada").await;
    let app = server.app("read write").await;
    let verifier = "the right verifier, as long as it should be, really";
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    let mut browser = Browser::new(&server);
    browser.sign_in("ada@mail.test", "correct horse").await;
    let url = ask(
        &app,
        "https://app.test/cb",
        &format!("&code_challenge={challenge}&code_challenge_method=S256"),
    );
    let code = code_in(approve(&mut browser, &url, "approve").await.location());
    for attempt in ["", "a wrong verifier", verifier] {
        let refused = exchange(&server, &app, &code, "https://app.test/cb", attempt).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{attempt}");
        assert_eq!(refused.json()["error"], "invalid_grant", "{attempt}");
    }
    assert_eq!(server.count("tokens").await, 1, "only the app's own");
}

#[tokio::test]
async fn the_out_of_band_code_is_shown_on_a_page() {
    let server = Server::start().await;
    member(&server, "ada").await;
    let app = server.app("read write").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", "correct horse").await;
    let oob = "urn:ietf:wg:oauth:2.0:oob";
    let approved = approve(&mut browser, &ask(&app, oob, ""), "approve").await;
    let location = approved.location().to_owned();
    let code = location
        .strip_prefix("/oauth/authorize/native?code=")
        .expect("the page with the code");
    let page = browser.get(&location).await;
    assert!(page.text().contains(code));
    let token = exchange(&server, &app, code, oob, "").await;
    assert_eq!(token.status, StatusCode::OK, "{}", token.text());
}

#[tokio::test]
async fn a_refusal_is_told_to_the_app() {
    let server = Server::start().await;
    member(&server, "ada").await;
    let app = server.app("read write").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("ada@mail.test", "correct horse").await;
    let url = ask(&app, "https://app.test/cb", "&state=s");
    let denied = approve(&mut browser, &url, "deny").await;
    assert!(
        denied.location().contains("error=access_denied"),
        "{}",
        denied.location()
    );
    assert!(denied.location().ends_with("state=s"));
    let too_much = browser.get(&url.replace("read+write", "push")).await;
    assert!(too_much.location().contains("error=invalid_scope"));
    let plain = browser
        .get(&format!(
            "{url}&code_challenge=abc&code_challenge_method=plain"
        ))
        .await;
    assert!(plain.location().contains("error=invalid_request"));
}

#[tokio::test]
async fn only_registered_redirects_are_ever_used() {
    let server = Server::start().await;
    member(&server, "ada").await;
    let app = server.app("read write").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("ada@mail.test", "correct horse").await;
    for redirect in [
        "https://evil.test/cb",
        "https://app.test/cb/../x",
        "https://app.test/cb?x=1",
        "https://APP.test/cb",
        "https://app.test/cb#f",
        "http://app.test/cb",
        "javascript:alert(1)",
        "",
    ] {
        let answer = browser.get(&ask(&app, redirect, "")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{redirect}");
        assert!(!answer.headers.contains_key(header::LOCATION), "{redirect}");
    }
    assert_eq!(server.count("oauth_codes").await, 0);
}

#[tokio::test]
async fn consent_without_the_forms_token_is_refused() {
    let server = Server::start().await;
    member(&server, "ada").await;
    let app = server.app("read write").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("ada@mail.test", "correct horse").await;
    for csrf in ["", "guess"] {
        let answer = browser
            .post(
                "/oauth/authorize",
                &[
                    ("response_type", "code"),
                    ("client_id", &app.id),
                    ("redirect_uri", "https://app.test/cb"),
                    ("scope", "read"),
                    ("decision", "approve"),
                    ("csrf", csrf),
                ],
            )
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(server.count("oauth_codes").await, 0);
}

#[tokio::test]
async fn tokens_are_asked_for_in_every_encoding() {
    let server = Server::start().await;
    let app = server.app("read write").await;
    let pairs = [
        ("grant_type", "client_credentials"),
        ("client_id", app.id.as_str()),
        ("client_secret", app.secret.as_str()),
        ("scope", "read"),
    ];
    let form = server.form("/oauth/token", None, &pairs).await;
    let multipart = server.multipart("/oauth/token", None, &pairs).await;
    let body: serde_json::Map<_, _> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    let json = server
        .call("POST", "/oauth/token", None, Some(body.into()))
        .await;
    let basic = axum::http::Request::post("/oauth/token?grant_type=client_credentials&scope=read")
        .header(
            header::AUTHORIZATION,
            format!(
                "Basic {}",
                STANDARD.encode(format!("{}:{}", app.id, app.secret))
            ),
        )
        .body(axum::body::Body::empty())
        .expect("a request");
    let basic = server.send(basic).await;
    for answer in [form, multipart, json, basic] {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.json()["scope"], "read");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
}

/// What is sent, and the status and error that come back.
type Case<'a> = (&'a [(&'a str, &'a str)], u16, &'a str);

#[tokio::test]
async fn oauth_errors_have_their_names() {
    let server = Server::start().await;
    let app = server.app("read").await;
    let cases: [Case<'_>; 4] = [
        (
            &[("grant_type", "password"), ("username", "a")],
            400,
            "unsupported_grant_type",
        ),
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", "x"),
                ("client_secret", "y"),
            ],
            401,
            "invalid_client",
        ),
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &app.id),
                ("client_secret", &app.secret),
                ("scope", "write"),
            ],
            400,
            "invalid_scope",
        ),
        (
            &[
                ("grant_type", "authorization_code"),
                ("client_id", &app.id),
                ("client_secret", &app.secret),
                ("code", "no"),
            ],
            400,
            "invalid_grant",
        ),
    ];
    for (pairs, status, error) in cases {
        let answer = server.form("/oauth/token", None, pairs).await;
        assert_eq!(answer.status.as_u16(), status, "{error}");
        assert_eq!(answer.json()["error"], error);
        assert!(answer.json()["error_description"].is_string());
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once() {
    let server = Server::start().await;
    let app = server.app("read write").await;
    let other = server.app("read").await;
    let token = server.user(&app, "ada").await;
    let path = "/api/v1/apps/verify_credentials";
    assert_eq!(server.get_as(path, &token).await.status, StatusCode::OK);
    let theirs = [
        ("client_id", other.id.as_str()),
        ("client_secret", &other.secret),
        ("token", &token),
    ];
    let refused = server.form("/oauth/revoke", None, &theirs).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.json()["error"], "unauthorized_client");
    let ours = [
        ("client_id", app.id.as_str()),
        ("client_secret", &app.secret),
        ("token", &token),
    ];
    assert_eq!(
        server.form("/oauth/revoke", None, &ours).await.json(),
        json!({})
    );
    let answer = server.get_as(path, &token).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["error"], "The access token is invalid");
    assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
}

#[tokio::test]
async fn apps_are_registered_with_checked_redirects_and_scopes() {
    let server = Server::start().await;
    let good = server
        .form(
            "/api/v1/apps",
            None,
            &[
                ("client_name", "Tusky"),
                ("redirect_uris", "tusky://a\nurn:ietf:wg:oauth:2.0:oob"),
                ("scopes", "read write follow push"),
            ],
        )
        .await
        .json();
    assert_eq!(
        good["redirect_uris"],
        json!(["tusky://a", "urn:ietf:wg:oauth:2.0:oob"])
    );
    assert_eq!(good["client_secret_expires_at"], 0);
    for body in [
        json!({"client_name": "x", "redirect_uris": "javascript:alert(1)"}),
        json!({"client_name": "x", "redirect_uris": ""}),
        json!({"client_name": "", "redirect_uris": "https://a.test"}),
        json!({"client_name": "x", "redirect_uris": "https://a.test", "scopes": "everything"}),
    ] {
        let answer = server
            .call("POST", "/api/v1/apps", None, Some(body.clone()))
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(
            answer.json()["error"]
                .as_str()
                .expect("text")
                .starts_with("Validation failed")
        );
    }
    let metadata = server
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(
        metadata["code_challenge_methods_supported"],
        json!(["S256"])
    );
}

#[tokio::test]
async fn a_token_in_the_query_is_not_taken() {
    let server = Server::start().await;
    let app = server.app("read").await;
    let path = format!("/api/v1/apps/verify_credentials?access_token={}", app.token);
    assert_eq!(server.get(&path).await.status, StatusCode::UNAUTHORIZED);
}
