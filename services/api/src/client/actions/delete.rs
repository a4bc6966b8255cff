//! The deletion of a local post.

use tidegate_store::accounts::Account;
use tidegate_store::statuses::{self, Status};

use super::{Unit, compose, outgoing, reblog};
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// Deletes a post or boost of `author`, and tells everybody who got it.
pub(crate) async fn delete(app: &App, author: &Account, status: &Status) -> ApiResult<()> {
    let us = &app.deps.instance;
    let mut unit = Unit::begin(app).await?;
    if let Some(original_id) = status.reblog_of_id {
        let original = statuses::by_id(&mut *unit, original_id)
            .await?
            .ok_or_else(ApiError::not_found)?;
        reblog::remove(&mut unit, us, author, &original, status).await?;
        return unit.commit().await;
    }
    let mentions = compose::mention_ids(&mut unit, status.id).await?;
    let named = compose::named(status, &mentions);
    let deleted = statuses::delete(&mut unit, status.id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    unit.send(&outgoing::delete(us, author, &deleted, &named))
        .await?;
    unit.commit().await
}
