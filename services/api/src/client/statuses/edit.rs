//! `PUT /api/v1/statuses/{id}`: an edit.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::{create, own};
use crate::auth::{Scope, User};
use crate::client::actions::edit::{self, Edit};
use crate::client::entities::Status;
use crate::client::id::Id;
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    status: Option<String>,
    spoiler_text: Option<String>,
    sensitive: Option<bool>,
    language: Option<String>,
    media_ids: Vec<String>,
    media_attributes: Vec<Value>,
    poll: Option<Value>,
}

pub(crate) async fn edit(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    Params(body): Params<Body>,
) -> ApiResult<Json<Status>> {
    user.require(Scope::WriteStatuses)?;
    create::refuse_attachments(&body.media_ids, body.poll.as_ref())?;
    if !body.media_attributes.is_empty() {
        return Err(ApiError::not_offered("Media"));
    }
    let viewer = user.account_id();
    let instance = &app.deps.instance;
    let (author, before) = {
        let mut connection = app.deps.pool.acquire().await?;
        let before = own(&mut connection, viewer, id).await?;
        (load::account_of(&mut connection, viewer).await?, before)
    };
    let spoiler_text = body.spoiler_text.unwrap_or(before.spoiler_text);
    let wanted = Edit {
        text: body.status.unwrap_or(before.text),
        sensitive: body.sensitive.unwrap_or(before.sensitive) || !spoiler_text.is_empty(),
        spoiler_text,
        language: create::language(body.language)?.or(before.language),
    };
    let row = edit::edit(&app, &author, id, &wanted).await?;
    let mut connection = app.deps.pool.acquire().await?;
    let body = load::status(&mut connection, instance, Some(viewer), &row).await?;
    Ok(Json(body))
}
