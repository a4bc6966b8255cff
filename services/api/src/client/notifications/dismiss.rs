//! `POST /api/v1/notifications/{id}/dismiss`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::auth::{Scope, User};
use crate::client::id::Id;
use crate::error::{ApiError, ApiResult};
use crate::state::App;

pub(crate) async fn dismiss(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Value>> {
    user.require(Scope::WriteNotifications)?;
    let removed = sqlx::query("delete from notifications where id = $1 and account_id = $2")
        .bind(id)
        .bind(user.account_id())
        .execute(&app.deps.pool)
        .await?
        .rows_affected();
    if removed == 0 {
        return Err(ApiError::not_found());
    }
    Ok(Json(json!({})))
}
