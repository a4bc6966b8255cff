//! `GET /api/v1/accounts/relationships?id[]=`: asked beside every list of accounts.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::auth::{Scope, User};
use crate::client::entities::Relationship;
use crate::client::id::ids;
use crate::client::load;
use crate::error::ApiResult;
use crate::params::Params;
use crate::state::App;

/// The longest list of accounts that any endpoint gives.
const MAX_IDS: usize = 80;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    id: Vec<String>,
}

pub(crate) async fn relationships(
    State(app): State<App>,
    user: User,
    Params(query): Params<Query>,
) -> ApiResult<Json<Vec<Relationship>>> {
    user.require(Scope::ReadFollows)?;
    let mut connection = app.deps.pool.acquire().await?;
    let ids = ids(&query.id, MAX_IDS);
    let body = load::relationships(&mut connection, user.account_id(), &ids).await?;
    Ok(Json(body))
}
