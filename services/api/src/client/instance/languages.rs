//! `GET /api/v1/instance/languages`: what this server's own pages are written in.

use axum::Json;
use serde_json::{Value, json};

pub(crate) async fn languages() -> Json<Value> {
    Json(json!([{ "code": "en", "name": "English" }]))
}
