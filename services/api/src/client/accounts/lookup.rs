//! `GET /api/v1/accounts/lookup?acct=`: a handle that is known here; nobody is asked.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tidegate_store::accounts;

use crate::auth::{MaybeUser, Scope};
use crate::client::entities::{Account, account};
use crate::client::handle::Handle;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    acct: String,
}

pub(crate) async fn lookup(
    State(app): State<App>,
    viewer: MaybeUser,
    Params(query): Params<Query>,
) -> ApiResult<Json<Account>> {
    viewer.require(Scope::ReadAccounts)?;
    let instance = &app.deps.instance;
    let handle = Handle::parse(&query.acct, instance).ok_or_else(ApiError::not_found)?;
    let row = accounts::by_handle(&app.deps.pool, &handle.username, handle.domain.as_deref())
        .await?
        .ok_or_else(ApiError::not_found)?;
    Ok(Json(account(&row, instance)))
}
