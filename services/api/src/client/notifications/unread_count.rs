//! `GET /api/v1/notifications/unread_count`: how many there are above the reader's marker.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::auth::{Scope, User};
use crate::error::ApiResult;
use crate::pagination::Paging;
use crate::state::App;

pub(crate) async fn unread_count(
    State(app): State<App>,
    user: User,
    paging: Paging,
) -> ApiResult<Json<Value>> {
    user.require(Scope::ReadNotifications)?;
    let count: i64 = sqlx::query_scalar(
        "select count(*) from (
             select 1 from notifications
             where account_id = $1 and id > coalesce((select last_read_id from markers
                 where account_id = $1 and timeline = 'notifications'), 0)
             limit $2) as unread",
    )
    .bind(user.account_id())
    .bind(paging.limit(100, 1_000))
    .fetch_one(&app.deps.pool)
    .await?;
    Ok(Json(json!({ "count": count })))
}
