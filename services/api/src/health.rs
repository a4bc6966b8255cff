//! `GET /health` of the public port: up, or not. Details are for the port of the operator.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::{error::ApiResult, state::App};

/// The route of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/health", get(health))
}

/// 200 when the database answers, else 503.
async fn health(State(app): State<App>) -> ApiResult<Json<Value>> {
    sqlx::query("select 1").execute(&app.deps.pool).await?;
    Ok(Json(json!({ "status": "UP" })))
}
