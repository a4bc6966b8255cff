//! `GET /api/v1/statuses/{id}/context`: the thread around a post.

use axum::Json;
use axum::extract::State;

use super::seen;
use crate::auth::{MaybeUser, Scope};
use crate::client::entities::Context;
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn context(
    State(app): State<App>,
    viewer: MaybeUser,
    Id(id): Id,
) -> ApiResult<Json<Context>> {
    viewer.require(Scope::ReadStatuses)?;
    let viewer = viewer.account_id();
    let mut connection = app.deps.pool.acquire().await?;
    let row = seen(&mut connection, viewer, id).await?;
    let body = load::context(&mut connection, &app.deps.instance, viewer, &row).await?;
    Ok(Json(body))
}
