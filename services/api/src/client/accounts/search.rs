//! `GET /api/v1/accounts/search`: for the completion of names while typing.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::auth::{Scope, User};
use crate::client::actions::resolve;
use crate::client::entities::Account;
use crate::client::load;
use crate::client::search::accounts::{AccountQuery, find_accounts};
use crate::error::ApiResult;
use crate::pagination::Paging;
use crate::params::Params;
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    q: String,
    resolve: bool,
    following: bool,
}

pub(crate) async fn search(
    State(app): State<App>,
    user: User,
    paging: Paging,
    Params(query): Params<Query>,
) -> ApiResult<Json<Vec<Account>>> {
    user.require(Scope::ReadAccounts)?;
    if query.resolve {
        resolve::handle(&app, &query.q).await?;
    }
    let mut connection = app.deps.pool.acquire().await?;
    let found = find_accounts(
        &mut connection,
        &app.deps.instance,
        &AccountQuery {
            text: &query.q,
            viewer: Some(user.account_id()),
            following: query.following,
            limit: paging.limit(40, 80),
            offset: paging.offset,
        },
    )
    .await?;
    let body = load::accounts_in_order(&mut connection, &app.deps.instance, &found).await?;
    Ok(Json(body))
}
