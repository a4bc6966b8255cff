//! `GET /api/v1/statuses/{id}`.

use axum::Json;
use axum::extract::State;

use super::seen;
use crate::auth::{MaybeUser, Scope};
use crate::client::entities::Status;
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn show(
    State(app): State<App>,
    viewer: MaybeUser,
    Id(id): Id,
) -> ApiResult<Json<Status>> {
    viewer.require(Scope::ReadStatuses)?;
    let viewer = viewer.account_id();
    let mut connection = app.deps.pool.acquire().await?;
    let row = seen(&mut connection, viewer, id).await?;
    let body = load::status(&mut connection, &app.deps.instance, viewer, &row).await?;
    Ok(Json(body))
}
