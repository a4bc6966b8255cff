//! `GET /api/v1/accounts/{id}`.

use axum::Json;
use axum::extract::State;

use crate::auth::{MaybeUser, Scope};
use crate::client::entities::{Account, account};
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn show(
    State(app): State<App>,
    viewer: MaybeUser,
    Id(id): Id,
) -> ApiResult<Json<Account>> {
    viewer.require(Scope::ReadAccounts)?;
    let mut connection = app.deps.pool.acquire().await?;
    let row = load::account_of(&mut connection, id).await?;
    Ok(Json(account(&row, &app.deps.instance)))
}
