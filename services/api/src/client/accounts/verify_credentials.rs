//! `GET /api/v1/accounts/verify_credentials`: who am I? The first call of every client.

use axum::Json;
use axum::extract::State;

use crate::auth::{Scope, User};
use crate::client::entities::CredentialAccount;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn verify_credentials(
    State(app): State<App>,
    user: User,
) -> ApiResult<Json<CredentialAccount>> {
    user.require_any(&[Scope::Profile, Scope::ReadAccounts])?;
    let mut connection = app.deps.pool.acquire().await?;
    let body = load::credentials(&mut connection, &app.deps.instance, user.account_id()).await?;
    Ok(Json(body))
}
