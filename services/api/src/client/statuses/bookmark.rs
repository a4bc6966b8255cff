//! `POST /api/v1/statuses/{id}/bookmark` and `/unbookmark`: kept for later, told to nobody.

use axum::Json;
use axum::extract::State;

use super::seen;
use crate::auth::{Scope, User};
use crate::client::entities::Status;
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn bookmark(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Status>> {
    const KEEP: &str = "insert into bookmarks (account_id, status_id) values ($1, $2)
                        on conflict (account_id, status_id) do nothing";
    set(&app, &user, id, KEEP).await
}

pub(crate) async fn unbookmark(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Status>> {
    const FORGET: &str = "delete from bookmarks where account_id = $1 and status_id = $2";
    set(&app, &user, id, FORGET).await
}

async fn set(app: &App, user: &User, id: i64, sql: &'static str) -> ApiResult<Json<Status>> {
    user.require(Scope::WriteBookmarks)?;
    let viewer = user.account_id();
    let mut connection = app.deps.pool.acquire().await?;
    let row = seen(&mut connection, Some(viewer), id).await?;
    let target = match row.reblog_of_id {
        Some(original) => seen(&mut connection, Some(viewer), original).await?,
        None => row,
    };
    sqlx::query(sql)
        .bind(viewer)
        .bind(target.id)
        .execute(&mut *connection)
        .await?;
    let body = load::status(&mut connection, &app.deps.instance, Some(viewer), &target).await?;
    Ok(Json(body))
}
