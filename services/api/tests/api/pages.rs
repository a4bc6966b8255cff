use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};

use crate::common::{Server, member};

#[tokio::test]
async fn the_front_page_says_how_to_get_in() {
    let server = Server::start().await;
    let page = server.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("Create an account") && page.text().contains("us.test"));
    let policy = page.headers[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .expect("text");
    assert!(policy.contains("default-src 'none'") && policy.contains("form-action 'self'"));
    assert!(!page.text().contains("<script") && !page.text().contains("style="));
    let style = server.get("/style.css").await;
    assert!(style.text().contains("prefers-color-scheme: dark"));
}

#[tokio::test]
async fn profiles_are_escaped_and_name_their_document() {
    let server = Server::start().await;
    let ada = member(&server, "ada").await;
    sqlx::query("update accounts set display_name = $2, note = $2 where id = $1")
        .bind(ada.id)
        .bind("<script>alert(1)</script>")
        .execute(&server.deps.pool)
        .await
        .expect("updates");
    let page = server.get("/@ada").await;
    assert!(!page.text().contains("<script>"));
    assert!(page.text().contains("application/activity+json"));
    assert!(
        page.headers[header::VARY]
            .to_str()
            .expect("text")
            .contains("Accept")
    );
    for path in ["/@nobody", "/@ada/1", "/@ada/nonsense", "/@ada@other.test"] {
        assert_eq!(
            server.get(path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn slashes_at_the_end_do_no_harm() {
    let server = Server::start().await;
    assert_eq!(server.get("/health/").await.json()["status"], "UP");
    assert_eq!(server.get("/nodeinfo/2.0/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_public_port_shows_nothing_of_the_inside() {
    let server = Server::start().await;
    for path in [
        "/metrics", "/debug", "/healthz", "/readyz", "/.env", "/admin",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.json()["error"], "Record not found");
    }
    let answer = server.get("/health").await;
    assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert!(answer.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn without_the_database_health_says_so_and_nothing_leaks() {
    let server = Server::start().await;
    server.deps.pool.close().await;
    for path in [
        "/health",
        "/users/ada",
        "/.well-known/webfinger?resource=acct:a@us.test",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
        assert!(!answer.text().contains("pool"));
    }
}

#[tokio::test]
async fn browsers_of_other_sites_may_use_the_api_only() {
    let server = Server::start().await;
    let preflight = |path: &str| {
        Request::options(path)
            .header(header::ORIGIN, "https://elk.test")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization")
            .body(Body::empty())
            .expect("a request")
    };
    let answer = server.send(preflight("/api/v1/statuses")).await;
    assert!(answer.status.is_success());
    assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert_eq!(
        answer.headers[header::ACCESS_CONTROL_ALLOW_HEADERS],
        "authorization"
    );
    let exposed = answer.headers[header::ACCESS_CONTROL_EXPOSE_HEADERS]
        .to_str()
        .expect("text");
    assert!(exposed.contains("Link"));
    let page = server.send(preflight("/oauth/authorize")).await;
    assert!(
        !page
            .headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
}

#[tokio::test]
async fn malformed_and_oversized_requests_are_refused_with_a_reason() {
    let server = Server::start().await;
    let post = |content_type: &str, body: Vec<u8>| {
        Request::post("/api/v1/apps")
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .expect("a request")
    };
    for (content_type, body) in [
        ("application/json", b"{".to_vec()),
        ("application/json", b"[1]".to_vec()),
        ("application/x-www-form-urlencoded", b"a=1&a[b]=2".to_vec()),
        ("multipart/form-data", b"no boundary".to_vec()),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken".to_vec()),
    ] {
        let answer = server.send(post(content_type, body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{content_type}");
        assert!(answer.json()["error"].is_string());
    }
    // E7: no text of the database holds it.
    for (content_type, body) in [
        (
            "application/json",
            br#"{"client_name":"a\u0000b"}"#.to_vec(),
        ),
        (
            "application/x-www-form-urlencoded",
            b"client_name=a%00b".to_vec(),
        ),
    ] {
        let answer = server.send(post(content_type, body)).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{content_type}"
        );
    }
    for path in [
        "/@a%00",
        "/users/a%00",
        "/tags/a%00",
        "/api/v1/accounts/lookup?acct=a%00",
        "/.well-known/webfinger?resource=acct:a%00@us.test",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
    }
    for content_type in ["application/json", "application/x-www-form-urlencoded"] {
        let answer = server
            .send(post(content_type, vec![b'a'; 1024 * 1024 + 1]))
            .await;
        assert_eq!(
            answer.status,
            StatusCode::PAYLOAD_TOO_LARGE,
            "{content_type}"
        );
        assert!(answer.json()["error"].is_string());
    }
}

#[tokio::test]
async fn the_addresses_that_the_instance_documents_name_have_pages() {
    let server = Server::start().await;
    let urls = server.get("/api/v2/instance").await.json()["configuration"]["urls"].clone();
    for name in ["about", "privacy_policy"] {
        let url = urls[name].as_str().expect("a URL");
        let path = url.strip_prefix("https://us.test").expect("ours");
        let page = server.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{url}");
        assert!(page.text().contains("<h1>"), "{url}");
    }
    assert!(
        server
            .get("/privacy-policy")
            .await
            .text()
            .contains("hash of your password")
    );
}

#[tokio::test]
async fn e1_pages_of_posts_and_profiles_show_no_script() {
    let server = Server::start().await;
    let app = server.app("read write").await;
    let token = server.user(&app, "ada").await;
    for piece in [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "\"><iframe srcdoc='<script>alert(1)</script>'>",
        "</div><template><style>@import 'x'</style></template>",
        "{{ 7 * 7 }}<a href=javascript:alert(1)>x</a>",
    ] {
        let profile =
            serde_json::json!({"display_name": &piece[..piece.len().min(30)], "note": piece});
        let changed = server
            .call(
                "PATCH",
                "/api/v1/accounts/update_credentials",
                Some(&token),
                Some(profile),
            )
            .await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
        let post = serde_json::json!({"status": piece, "spoiler_text": piece});
        let posted = server
            .call("POST", "/api/v1/statuses", Some(&token), Some(post))
            .await;
        assert_eq!(posted.status, StatusCode::OK, "{}", posted.text());
        let id = posted.json()["id"].as_str().expect("an id").to_owned();
        for path in ["/@ada".to_owned(), format!("/@ada/{id}")] {
            let page = server.get(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}");
            let html = page.text();
            for tag in [
                "<script",
                "<img",
                "<svg",
                "<iframe",
                "<template",
                "<style",
                "<a href=java",
            ] {
                assert!(!html.contains(tag), "{path} {piece}: {html}");
            }
            assert!(page.headers.contains_key(header::CONTENT_SECURITY_POLICY));
        }
    }
}
