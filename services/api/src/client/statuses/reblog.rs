//! `POST /api/v1/statuses/{id}/reblog` and `/unreblog`.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tidegate_model::Visibility;
use tidegate_store::accounts::Account;
use tidegate_store::statuses::Status as Row;

use super::seen;
use crate::auth::{Scope, User};
use crate::client::actions::reblog;
use crate::client::entities::Status;
use crate::client::id::Id;
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, blank_as_none};
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    #[serde(deserialize_with = "blank_as_none")]
    visibility: Option<String>,
}

/// Answers with the boost, which holds its original.
pub(crate) async fn reblog(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    Params(body): Params<Body>,
) -> ApiResult<Json<Status>> {
    user.require(Scope::WriteStatuses)?;
    let wished = match body.visibility.as_deref() {
        Some(text) => Some(
            Visibility::parse(text)
                .ok_or_else(|| ApiError::validation("Visibility is not known"))?,
        ),
        None => None,
    };
    let (account, original) = sides(&app, user.account_id(), id).await?;
    let row = reblog::reblog(&app, &account, &original, wished).await?;
    let mut connection = app.deps.pool.acquire().await?;
    let body = load::status(&mut connection, &app.deps.instance, Some(account.id), &row).await?;
    Ok(Json(body))
}

/// Answers with the original.
pub(crate) async fn unreblog(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Status>> {
    user.require(Scope::WriteStatuses)?;
    let (account, original) = sides(&app, user.account_id(), id).await?;
    reblog::unreblog(&app, &account, &original).await?;
    let mut connection = app.deps.pool.acquire().await?;
    let row = seen(&mut connection, Some(account.id), original.id).await?;
    let body = load::status(&mut connection, &app.deps.instance, Some(account.id), &row).await?;
    Ok(Json(body))
}

/// Who boosts, and what; a boost of a boost is one of its original.
async fn sides(app: &App, viewer: i64, id: i64) -> ApiResult<(Account, Row)> {
    let mut connection = app.deps.pool.acquire().await?;
    let row = seen(&mut connection, Some(viewer), id).await?;
    let original = match row.reblog_of_id {
        Some(original) => seen(&mut connection, Some(viewer), original).await?,
        None => row,
    };
    Ok((load::account_of(&mut connection, viewer).await?, original))
}
