use axum::http::StatusCode;
use serde_json::json;
use tidegate_api::{ApiOptions, Registrations};
use tidegate_store::settings;

use crate::{
    browser::{Browser, field},
    common::{Server, newcomer, quick},
};

#[tokio::test]
async fn json_form_and_multipart_all_make_an_account() {
    let server = Server::start().await;
    let app = server.app("read write").await;
    let path = "/api/v1/accounts";
    let json = server
        .call("POST", path, Some(&app.token), Some(newcomer("ada")))
        .await;
    let bob = [
        ("username", "bob"),
        ("email", "bob@mail.test"),
        ("password", "correct horse"),
        ("agreement", "true"),
        ("locale", "en"),
    ];
    let form = server.form(path, Some(&app.token), &bob).await;
    let eve = [
        ("username", "eve"),
        ("email", "eve@mail.test"),
        ("password", "correct horse"),
        ("agreement", "1"),
        ("locale", "en"),
    ];
    let multipart = server.multipart(path, Some(&app.token), &eve).await;
    for answer in [json, form, multipart] {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let token = answer.json();
        assert_eq!(token["scope"], "read write");
        let token = token["access_token"].as_str().expect("a token").to_owned();
        let me = server
            .get_as("/api/v1/accounts/verify_credentials", &token)
            .await;
        assert_eq!(
            me.status,
            StatusCode::OK,
            "works at once without confirmation"
        );
    }
    assert_eq!(server.count("account_keys").await, 3);
}

#[tokio::test]
async fn what_is_wrong_is_told_by_field_and_code() {
    let server = Server::start().await;
    let app = server.app("read write").await;
    server.user(&app, "ada").await;
    let before = server.dump().await;
    let cases = [
        (json!({}), "username", "ERR_BLANK"),
        (
            json!({"username": "ADA", "email": "x@mail.test", "password": "12345678", "agreement": true}),
            "username",
            "ERR_TAKEN",
        ),
        (
            json!({"username": "eve", "email": "ADA@mail.test", "password": "12345678", "agreement": true}),
            "email",
            "ERR_TAKEN",
        ),
        (
            json!({"username": "root", "email": "x@mail.test", "password": "12345678", "agreement": true}),
            "username",
            "ERR_RESERVED",
        ),
        (
            json!({"username": "eve", "email": "x@mail.test", "password": "12345678", "agreement": "0"}),
            "agreement",
            "ERR_ACCEPTED",
        ),
        (
            json!({"username": "eve", "email": "x@mail.test", "password": "1234", "agreement": true}),
            "password",
            "ERR_TOO_SHORT",
        ),
    ];
    for (body, field, code) in cases {
        let answer = server
            .call("POST", "/api/v1/accounts", Some(&app.token), Some(body))
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let json = answer.json();
        assert_eq!(json["details"][field][0]["error"], code, "{json}");
        assert!(
            json["error"]
                .as_str()
                .expect("text")
                .starts_with("Validation failed: ")
        );
    }
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn of_newcomers_with_one_name_exactly_one_gets_it() {
    let server = Server::start().await;
    let app = server.app("read write").await;
    let attempts = (0..4).map(|n| {
        let mut body = newcomer("ada");
        body["email"] = json!(format!("ada{n}@mail.test"));
        server.call("POST", "/api/v1/accounts", Some(&app.token), Some(body))
    });
    let answers = futures::future::join_all(attempts).await;
    let made = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .count();
    assert_eq!(made, 1);
    for answer in answers
        .iter()
        .filter(|answer| answer.status != StatusCode::OK)
    {
        assert_eq!(
            answer.json()["details"]["username"][0]["error"],
            "ERR_TAKEN",
            "{}",
            answer.text()
        );
    }
    assert_eq!(server.count("users").await, 1);
    assert_eq!(server.count("account_keys").await, 1);
}

#[tokio::test]
async fn what_nobody_may_set_is_ignored() {
    let server = Server::start().await;
    let app = server.app("read write").await;
    let mut body = newcomer("ada");
    body["role"] = json!("owner");
    body["admin"] = json!(true);
    body["approved"] = json!(true);
    body["user"] = json!({"role": "owner"});
    let answer = server
        .call("POST", "/api/v1/accounts", Some(&app.token), Some(body))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let role: String = sqlx::query_scalar("select role from users")
        .fetch_one(&server.deps.pool)
        .await
        .expect("one user");
    assert_eq!(role, "user");
}

#[tokio::test]
async fn an_address_is_confirmed_by_the_link_in_the_mail() {
    let server = Server::with(ApiOptions::default()).await;
    let app = server.app("read write").await;
    let token = server.user(&app, "ada").await;
    let me = "/api/v1/accounts/verify_credentials";
    let refused = server.get_as(me, &token).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(
        refused.json()["error"],
        "Your login is missing a confirmed e-mail address"
    );
    let check = "/api/v1/emails/check_confirmation";
    assert_eq!(server.get_as(check, &token).await.json(), json!(false));

    let mut browser = Browser::new(&server);
    let early = browser.sign_in("ada@mail.test", "correct horse").await;
    assert_eq!(early.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(early.text().contains("not confirmed yet"));
    assert_eq!(server.count("web_sessions").await, 0);

    let link = server.mailed_link().await;
    assert!(
        link.starts_with("/auth/confirmation?confirmation_token="),
        "{link}"
    );
    assert_eq!(browser.get(&link).await.status, StatusCode::OK);
    assert_eq!(server.get_as(check, &token).await.json(), json!(true));
    assert_eq!(server.get_as(me, &token).await.status, StatusCode::OK);
    assert_eq!(
        browser.get(&link).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "once only"
    );
    let resend = server
        .form("/api/v1/emails/confirmations", Some(&token), &[])
        .await;
    assert_eq!(resend.status, StatusCode::FORBIDDEN, "already confirmed");
}

#[tokio::test]
async fn asking_for_another_mail_tells_nothing_and_has_a_limit() {
    let server = Server::with(ApiOptions::default()).await;
    let app = server.app("read write").await;
    server.user(&app, "ada").await;
    let mut browser = Browser::new(&server);
    let mut bodies = Vec::new();
    for email in ["ada@mail.test", "nobody@mail.test"] {
        let csrf = field(&browser.get("/auth/confirmation/new").await, "csrf");
        let answer = browser
            .post("/auth/confirmation", &[("email", email), ("csrf", &csrf)])
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        bodies.push(answer.text());
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(server.count("outbox").await, 2, "one at sign-up, one now");
    for _ in 0..10 {
        let csrf = field(&browser.get("/auth/confirmation/new").await, "csrf");
        browser
            .post(
                "/auth/confirmation",
                &[("email", "ada@mail.test"), ("csrf", &csrf)],
            )
            .await;
    }
    assert_eq!(server.count("outbox").await, 5);
}

#[tokio::test]
async fn only_the_app_that_made_an_account_may_ask_again() {
    let server = Server::with(ApiOptions::default()).await;
    let app = server.app("read write").await;
    let token = server.user(&app, "ada").await;
    let path = "/api/v1/emails/confirmations";
    let moved = server
        .form(path, Some(&token), &[("email", "new@mail.test")])
        .await;
    assert_eq!(moved.status, StatusCode::OK, "{}", moved.text());
    let email: String = sqlx::query_scalar("select email from users")
        .fetch_one(&server.deps.pool)
        .await
        .expect("one user");
    assert_eq!(email, "new@mail.test");
    sqlx::query("update users set created_by_app_id = 1")
        .execute(&server.deps.pool)
        .await
        .expect("updates");
    let foreign = server.form(path, Some(&token), &[]).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let own = server.form(path, Some(&app.token), &[]).await;
    assert_eq!(own.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_mode_decides_and_is_switched_at_run_time() {
    let server = Server::with(ApiOptions {
        registrations: Registrations::Approval,
        ..quick()
    })
    .await;
    let app = server.app("read write").await;
    let path = "/api/v1/accounts";
    let silent = server
        .call("POST", path, Some(&app.token), Some(newcomer("ada")))
        .await;
    assert_eq!(silent.json()["details"]["reason"][0]["error"], "ERR_BLANK");
    let mut body = newcomer("ada");
    body["reason"] = json!("friends are here");
    let answer = server
        .call("POST", path, Some(&app.token), Some(body))
        .await;
    let token = answer.json()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let refused = server
        .get_as("/api/v1/accounts/verify_credentials", &token)
        .await;
    assert_eq!(
        refused.json()["error"],
        "Your login is currently pending approval"
    );
    let mut connection = server.deps.pool.acquire().await.expect("a connection");
    settings::set(&mut connection, settings::REGISTRATION_MODE, &"closed")
        .await
        .expect("sets");
    tokio::time::sleep(std::time::Duration::from_millis(4_500)).await;
    let closed = server
        .call("POST", path, Some(&app.token), Some(newcomer("bob")))
        .await;
    assert_eq!(closed.status, StatusCode::FORBIDDEN);
    assert!(
        server
            .get("/")
            .await
            .text()
            .contains("Registration is closed")
    );
}

#[tokio::test]
async fn the_web_form_makes_an_account_and_keeps_what_was_typed() {
    let server = Server::start().await;
    let mut browser = Browser::new(&server);
    let csrf = field(&browser.get("/auth/sign_up").await, "csrf");
    let wrong = [
        ("username", "a\"><b>"),
        ("email", "a@mail.test"),
        ("password", "correct horse"),
        ("agreement", "1"),
        ("csrf", csrf.as_str()),
    ];
    let answer = browser.post("/auth/sign_up", &wrong).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text().contains("must contain only letters") && !answer.text().contains("<b>"));
    assert!(
        !answer.text().contains("correct horse"),
        "never the password"
    );
    let right = [
        ("username", "ada"),
        ("email", "ada@mail.test"),
        ("password", "correct horse"),
        ("agreement", "1"),
        ("csrf", csrf.as_str()),
    ];
    assert_eq!(
        browser.post("/auth/sign_up", &right).await.status,
        StatusCode::OK
    );
    let forged = [
        ("username", "eve"),
        ("email", "eve@mail.test"),
        ("password", "correct horse"),
        ("agreement", "1"),
        ("csrf", "x"),
    ];
    assert_eq!(
        browser.post("/auth/sign_up", &forged).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        browser
            .sign_in("ada@mail.test", "correct horse")
            .await
            .status,
        StatusCode::SEE_OTHER
    );
    let home = browser.get("/").await;
    assert!(home.text().contains("@ada"));
    let out = browser
        .post("/auth/sign_out", &[("csrf", &field(&home, "csrf"))])
        .await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert_eq!(server.count("web_sessions").await, 0);
}

#[tokio::test]
async fn unknown_people_and_wrong_passwords_look_alike() {
    let server = Server::start().await;
    crate::common::member(&server, "ada").await;
    let mut browser = Browser::new(&server);
    let wrong = browser.sign_in("ada@mail.test", "wrong password").await;
    let unknown = browser.sign_in("eve@mail.test", "wrong password").await;
    assert_eq!(wrong.status, unknown.status);
    assert_eq!(wrong.text().replace("ada@", "eve@"), unknown.text());
    assert_eq!(server.count("web_sessions").await, 0);
}
