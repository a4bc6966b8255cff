//! `POST /api/v1/accounts/{id}/mute` and `/unmute`.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use time::Duration;

use crate::auth::{Scope, User};
use crate::client::actions::block;
use crate::client::entities::Relationship;
use crate::client::id::Id;
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, blank_as_none};
use crate::state::App;

/// The longest mute with an end: a century is as good as for ever, and keeps the date valid.
const MAX_SECONDS: i64 = 100 * 365 * 24 * 60 * 60;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    notifications: Option<bool>,
    #[serde(deserialize_with = "blank_as_none")]
    duration: Option<i64>,
}

pub(crate) async fn mute(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    Params(body): Params<Body>,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteMutes)?;
    let until = match body.duration.unwrap_or(0) {
        0 => None,
        seconds @ 1..=MAX_SECONDS => Some(app.deps.clock.now() + Duration::seconds(seconds)),
        _ => return Err(ApiError::validation("Duration is out of range")),
    };
    let (viewer, target) = load::pair(&app, user.account_id(), id).await?;
    let notifications = body.notifications.unwrap_or(true);
    block::mute(&app, &viewer, &target, notifications, until).await?;
    load::relationship_to(&app, viewer.id, target.id).await
}

pub(crate) async fn unmute(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteMutes)?;
    let (viewer, target) = load::pair(&app, user.account_id(), id).await?;
    block::unmute(&app, &viewer, &target).await?;
    load::relationship_to(&app, viewer.id, target.id).await
}
