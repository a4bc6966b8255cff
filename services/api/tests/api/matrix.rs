//! F3: every route of this half of the role against every kind of token.

use axum::http::StatusCode;
use serde_json::json;
use tidegate_api::ApiOptions;

use crate::common::{App, Server};

struct Tokens {
    app_only: String,
    wrong_scope: String,
    unconfirmed: String,
    unapproved: String,
    disabled: String,
    suspended: String,
    revoked: String,
    confirmed: String,
}

async fn set(server: &Server, name: &str, statement: &'static str) {
    sqlx::query(statement)
        .bind(name)
        .execute(&server.deps.pool)
        .await
        .expect("updates");
}

async fn tokens(server: &Server) -> Tokens {
    let app = server.app("read write profile").await;
    let narrow = server.app("push").await;
    let with_write: App = App {
        token: server.app("push write:accounts").await.token,
        ..server.app("push write:accounts").await
    };
    let confirm = "update users set confirmed_at = now() where email = $1 || '@mail.test'";
    let mut tokens = Tokens {
        app_only: app.token.clone(),
        wrong_scope: narrow.token,
        unconfirmed: server.user(&app, "fresh").await,
        unapproved: server.user(&app, "waiting").await,
        disabled: server.user(&app, "off").await,
        suspended: server.user(&app, "bad").await,
        revoked: server.user(&app, "left").await,
        confirmed: server.user(&app, "ada").await,
    };
    for name in ["waiting", "off", "bad", "left", "ada"] {
        set(server, name, confirm).await;
    }
    set(
        server,
        "waiting",
        "update users set approved = false where email = $1 || '@mail.test'",
    )
    .await;
    set(
        server,
        "off",
        "update users set disabled = true where email = $1 || '@mail.test'",
    )
    .await;
    set(
        server,
        "bad",
        "update accounts set suspended_at = now() where username = $1",
    )
    .await;
    server
        .form(
            "/oauth/revoke",
            None,
            &[
                ("client_id", &app.id),
                ("client_secret", &app.secret),
                ("token", &tokens.revoked),
            ],
        )
        .await;
    // A person's token without the scopes of any route here.
    let person = server.user(&with_write, "narrow").await;
    set(server, "narrow", confirm).await;
    sqlx::query("update tokens set scopes = '{push}' where user_id = (select id from users where email = 'narrow@mail.test')")
        .execute(&server.deps.pool)
        .await
        .expect("updates");
    tokens.wrong_scope = person;
    tokens
}

#[tokio::test]
async fn every_route_answers_every_token_as_the_table_says() {
    let server = Server::with(ApiOptions::default()).await;
    let tokens = tokens(&server).await;
    let kinds = [
        ("none", None),
        ("nonsense", Some("nonsense")),
        ("revoked", Some(tokens.revoked.as_str())),
        ("wrong scope", Some(&tokens.wrong_scope)),
        ("app only", Some(&tokens.app_only)),
        ("unconfirmed", Some(&tokens.unconfirmed)),
        ("unapproved", Some(&tokens.unapproved)),
        ("disabled", Some(&tokens.disabled)),
        ("suspended", Some(&tokens.suspended)),
        ("confirmed", Some(&tokens.confirmed)),
    ];
    // In the order of the kinds.
    let table: [(&str, &str, [u16; 10]); 6] = [
        (
            "GET",
            "/api/v1/apps/verify_credentials",
            [401, 401, 401, 200, 200, 200, 200, 200, 200, 200],
        ),
        (
            "POST",
            "/api/v1/accounts",
            [401, 401, 401, 403, 422, 403, 403, 403, 403, 403],
        ),
        (
            "POST",
            "/api/v1/emails/confirmations",
            [401, 401, 401, 403, 422, 200, 403, 403, 403, 403],
        ),
        (
            "GET",
            "/api/v1/emails/check_confirmation",
            [401, 401, 401, 403, 422, 200, 200, 200, 200, 200],
        ),
        (
            "GET",
            "/oauth/userinfo",
            [401, 401, 401, 403, 422, 403, 403, 403, 403, 200],
        ),
        (
            "POST",
            "/oauth/userinfo",
            [401, 401, 401, 403, 422, 403, 403, 403, 403, 200],
        ),
    ];
    for (method, path, expected) in table {
        for ((kind, token), status) in kinds.iter().zip(expected) {
            let body = (method == "POST").then(|| json!({}));
            let answer = server.call(method, path, *token, body).await;
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{method} {path} {kind}: {}",
                answer.text()
            );
            if status >= 400 {
                assert!(answer.json()["error"].is_string(), "{method} {path} {kind}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_not_taken() {
    let server = Server::start().await;
    let app = server.app("read").await;
    let path = format!("/api/v1/apps/verify_credentials?access_token={}", app.token);
    assert_eq!(server.get(&path).await.status, StatusCode::UNAUTHORIZED);
}
