//! `GET /api/v1/notifications/{id}`.

use axum::Json;
use axum::extract::State;

use crate::auth::{Scope, User};
use crate::client::entities::Notification;
use crate::client::id::Id;
use crate::client::load::{self, NotificationRow};
use crate::error::{ApiError, ApiResult};
use crate::state::App;

pub(crate) async fn show(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Notification>> {
    user.require(Scope::ReadNotifications)?;
    let viewer = user.account_id();
    let mut connection = app.deps.pool.acquire().await?;
    let row: Option<NotificationRow> = sqlx::query_as(
        "select id, kind, from_account_id, status_id, created_at from notifications
         where id = $1 and account_id = $2",
    )
    .bind(id)
    .bind(viewer)
    .fetch_optional(&mut *connection)
    .await?;
    let row = row.ok_or_else(ApiError::not_found)?;
    load::notifications(&mut connection, &app.deps.instance, viewer, &[row])
        .await?
        .pop()
        .map(Json)
        .ok_or_else(ApiError::not_found)
}
