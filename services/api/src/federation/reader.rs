//! Who reads: a remote actor whose signature on a GET is right under the key we know, or
//! nobody in particular. Nothing is fetched for it.

use axum::{extract::FromRequestParts, http::request::Parts};
use tidegate_federation::signature::{RequestParts, SignedRequest, verify};
use tidegate_store::accounts;

use super::inbox::path_and_query;
use crate::{error::ApiError, state::App};

/// The remote account that reads, if it proved who it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader(pub(super) Option<i64>);

impl FromRequestParts<App> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let request = RequestParts {
            method: &parts.method,
            path_and_query: path_and_query(&parts.uri),
            base: &app.base,
            headers: &parts.headers,
            body: &[],
        };
        let Ok(signed) = SignedRequest::parse(&request) else {
            return Ok(Self(None));
        };
        let Some(account) = accounts::by_key_id(&app.deps.pool, signed.key_id()).await? else {
            return Ok(Self(None));
        };
        if account.is_local() || account.suspended_at.is_some() {
            return Ok(Self(None));
        }
        let now = app.deps.clock.now();
        let id = account.id;
        let pem = account.public_key_pem;
        let is_right = app
            .inbox
            .on_verifier(move || verify(&signed, &pem, now).is_ok())
            .await?;
        Ok(Self(is_right.then_some(id)))
    }
}
