//! What programs read to find the endpoints, and who a token's person is.

use axum::{Json, extract::State};
use serde_json::{Value, json};
use tidegate_store::accounts;

use crate::{
    auth::{Scope, User},
    error::{ApiError, ApiResult},
    state::App,
};

/// `GET /.well-known/oauth-authorization-server` (RFC 8414).
pub(super) async fn server(State(app): State<App>) -> Json<Value> {
    let base = app.deps.instance.base();
    let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    Json(json!({
        "issuer": format!("{base}/"),
        "authorization_endpoint": format!("{base}/oauth/authorize"),
        "token_endpoint": format!("{base}/oauth/token"),
        "revocation_endpoint": format!("{base}/oauth/revoke"),
        "userinfo_endpoint": format!("{base}/oauth/userinfo"),
        "app_registration_endpoint": format!("{base}/api/v1/apps"),
        "service_documentation": "https://docs.joinmastodon.org/",
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
    }))
}

/// `GET` and `POST /oauth/userinfo`.
pub(super) async fn userinfo(State(app): State<App>, user: User) -> ApiResult<Json<Value>> {
    user.require(Scope::Profile)?;
    let account = accounts::by_id(&app.deps.pool, user.account_id())
        .await?
        .ok_or_else(ApiError::not_found)?;
    Ok(Json(json!({
        "iss": format!("{}/", app.deps.instance.base()),
        "sub": account.uri,
        "name": account.display_name,
        "preferred_username": account.username,
        "profile": account.url,
        "picture": account.avatar_url,
    })))
}
