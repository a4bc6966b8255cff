//! `GET /api/v1/instance/rules`, `/extended_description` and `/privacy_policy`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tidegate_federation::html;

use super::instance_info;
use crate::client::entities::datetime;
use crate::state::App;

/// When the texts below last changed.
const TEXTS_CHANGED: time::OffsetDateTime = time::macros::datetime!(2026-11-22 0:00 UTC);

/// What happens to personal data here, as far as the software decides it.
pub(crate) const PRIVACY: &str = "<p>This server stores what you post and your profile, your address and \
    a hash of your password, and sends your posts to those you address them to, on this server \
    and on others, which keep copies of their own. Direct posts are not encrypted end to end. \
    Nothing is sold, and no third party counts your visits. Ask the operator for anything else.</p>";

pub(crate) async fn rules(State(app): State<App>) -> Json<Vec<Value>> {
    Json(instance_info::rules(&app.options.rules))
}

pub(crate) async fn extended_description(State(app): State<App>) -> Json<Value> {
    let content = html::format_status(&app.options.description, &[], &app.deps.instance);
    Json(json!({ "updated_at": datetime(TEXTS_CHANGED), "content": content }))
}

pub(crate) async fn privacy_policy() -> Json<Value> {
    Json(json!({ "updated_at": datetime(TEXTS_CHANGED), "content": PRIVACY }))
}
