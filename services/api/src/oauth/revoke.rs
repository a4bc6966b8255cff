//! Giving a token back.

use axum::{Json, extract::State, http::HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{app_by_secret, token::credentials};
use crate::{
    auth::hash_token,
    error::{ApiResult, OAuthError},
    params::Params,
    state::App,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Revocation {
    client_id: String,
    client_secret: String,
    token: String,
}

/// `POST /oauth/revoke`: `{}` also for a token that nobody knows; 403 for somebody else's.
pub(super) async fn revoke(
    State(app): State<App>,
    headers: HeaderMap,
    Params(given): Params<Revocation>,
) -> ApiResult<Json<Value>> {
    let (client_id, secret) = credentials(&headers, given.client_id, given.client_secret);
    let client = app_by_secret(&app.deps.pool, &client_id, &secret)
        .await?
        .ok_or_else(OAuthError::unauthorized_client)?;
    let hash = hash_token(&given.token);
    let owner: Option<i64> = sqlx::query_scalar("select app_id from tokens where token_hash = $1")
        .bind(&hash[..])
        .fetch_optional(&app.deps.pool)
        .await?;
    match owner {
        Some(owner) if owner != client.id => {
            return Err(OAuthError::unauthorized_client().into());
        }
        Some(_) => {
            sqlx::query(
                "update tokens set revoked_at = $2 where token_hash = $1 and revoked_at is null",
            )
            .bind(&hash[..])
            .bind(app.deps.clock.now())
            .execute(&app.deps.pool)
            .await?;
            app.tokens.forget(&hash).await;
        }
        None => {}
    }
    Ok(Json(json!({})))
}
