//! `POST /api/v1/notifications/clear`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::auth::{Scope, User};
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn clear(State(app): State<App>, user: User) -> ApiResult<Json<Value>> {
    user.require(Scope::WriteNotifications)?;
    sqlx::query("delete from notifications where account_id = $1")
        .bind(user.account_id())
        .execute(&app.deps.pool)
        .await?;
    Ok(Json(json!({})))
}
