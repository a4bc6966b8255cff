//! `GET /api/v1/statuses/{id}/source`: a post as its author typed it.

use axum::Json;
use axum::extract::State;
use tidegate_federation::html;

use super::seen;
use crate::auth::{Scope, User};
use crate::client::entities::StatusSource;
use crate::client::id::Id;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn source(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<StatusSource>> {
    user.require(Scope::ReadStatuses)?;
    let mut connection = app.deps.pool.acquire().await?;
    let row = seen(&mut connection, Some(user.account_id()), id).await?;
    Ok(Json(StatusSource {
        id: row.id.to_string(),
        // Of a remote post only the HTML is known.
        text: if row.local {
            row.text
        } else {
            html::plain_text(&row.content)
        },
        spoiler_text: row.spoiler_text,
    }))
}
