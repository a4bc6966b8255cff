//! OAuth 2: apps, the authorization code with PKCE, client credentials, revocation, metadata.
//!
//! Secrets, codes and tokens are stored as SHA-256 only. A person who approves an app again
//! therefore gets a new token; the old one, which nobody can print any more, stays valid until
//! it is revoked.

mod apps;
mod authorize;
mod metadata;
mod redirect;
mod revoke;
mod token;

use axum::{
    Router,
    routing::{get, post},
};
use sqlx::PgExecutor;
use tidegate_store::StoreError;

use crate::{auth::hash_token, state::App};

pub(crate) use token::TokenBody;

/// The routes of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/apps", post(apps::create))
        .route("/api/v1/apps/verify_credentials", get(apps::verify))
        .route(
            "/oauth/authorize",
            get(authorize::show)
                .post(authorize::decide)
                .delete(authorize::deny),
        )
        .route("/oauth/authorize/native", get(authorize::native))
        .route("/oauth/token", post(token::issue))
        .route("/oauth/revoke", post(revoke::revoke))
        .route(
            "/oauth/userinfo",
            get(metadata::userinfo).post(metadata::userinfo),
        )
        .route(
            "/.well-known/oauth-authorization-server",
            get(metadata::server),
        )
}

/// A registered app.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct OAuthApp {
    /// Row of `apps`.
    pub(crate) id: i64,
    /// As it calls itself.
    pub(crate) name: String,
    /// Its home page.
    pub(crate) website: Option<String>,
    /// Where codes may go; compared letter by letter.
    pub(crate) redirect_uris: Vec<String>,
    /// The most that its tokens may do.
    pub(crate) scopes: Vec<String>,
}

const COLUMNS_BY_CLIENT: &str =
    "select id, name, website, redirect_uris, scopes from apps where client_id = $1";

/// The app of this public name.
async fn app_by_client_id(
    executor: impl PgExecutor<'_>,
    client_id: &str,
) -> Result<Option<OAuthApp>, StoreError> {
    Ok(sqlx::query_as(COLUMNS_BY_CLIENT)
        .bind(client_id)
        .fetch_optional(executor)
        .await?)
}

/// The app of this public name, if the secret is right.
async fn app_by_secret(
    executor: impl PgExecutor<'_>,
    client_id: &str,
    secret: &str,
) -> Result<Option<OAuthApp>, StoreError> {
    // The secret has 256 random bits and is compared by its hash: the time that the comparison
    // takes tells nothing about the secret.
    Ok(sqlx::query_as(
        "select id, name, website, redirect_uris, scopes from apps
         where client_id = $1 and client_secret_hash = $2",
    )
    .bind(client_id)
    .bind(&hash_token(secret)[..])
    .fetch_optional(executor)
    .await?)
}
