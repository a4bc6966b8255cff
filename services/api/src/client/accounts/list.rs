//! `GET /api/v1/accounts?id[]=`: several accounts at once.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::auth::{MaybeUser, Scope};
use crate::client::entities::Account;
use crate::client::id::ids;
use crate::client::load;
use crate::error::ApiResult;
use crate::params::Params;
use crate::state::App;

/// Mastodon's number.
const MAX_IDS: usize = 40;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    id: Vec<String>,
}

pub(crate) async fn list(
    State(app): State<App>,
    viewer: MaybeUser,
    Params(query): Params<Query>,
) -> ApiResult<Json<Vec<Account>>> {
    viewer.require(Scope::ReadAccounts)?;
    let mut connection = app.deps.pool.acquire().await?;
    let ids = ids(&query.id, MAX_IDS);
    let body = load::accounts_in_order(&mut connection, &app.deps.instance, &ids).await?;
    Ok(Json(body))
}
