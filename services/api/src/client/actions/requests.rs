//! Answers to those who ask to follow, and the end of somebody else's follow.

use tidegate_model::Instance;
use tidegate_store::StoreError;
use tidegate_store::accounts::Account;
use tidegate_store::follows;
use tidegate_store::notifications::{self, NotificationKind};

use super::Unit;
use super::follow::{forget_timeline, withdraw_notifications};
use super::outgoing;
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// Lets `follower` follow `account`. 404 when nobody asked.
pub(crate) async fn authorize(app: &App, account: &Account, follower: &Account) -> ApiResult<()> {
    let us = &app.deps.instance;
    let mut unit = Unit::begin(app).await?;
    let row = follows::between(&mut *unit, follower.id, account.id)
        .await?
        .filter(|row| !row.is_accepted())
        .ok_or_else(ApiError::not_found)?;
    if follows::accept(&mut unit, &row).await? {
        notifications::withdraw(&mut unit, NotificationKind::FollowRequest, row.id).await?;
        notifications::add(
            &mut unit,
            account.id,
            NotificationKind::Follow,
            row.id,
            follower.id,
            None,
        )
        .await?;
        if !follower.is_local() {
            unit.send(&outgoing::accept(us, account, follower, &row))
                .await?;
        }
    }
    unit.commit().await?;
    forget_timeline(app, follower.id).await;
    Ok(())
}

/// Turns `follower` away. 404 when nobody asked.
pub(crate) async fn reject(app: &App, account: &Account, follower: &Account) -> ApiResult<()> {
    let mut unit = Unit::begin(app).await?;
    follows::between(&mut *unit, follower.id, account.id)
        .await?
        .filter(|row| !row.is_accepted())
        .ok_or_else(ApiError::not_found)?;
    end(&mut unit, &app.deps.instance, account, follower).await?;
    unit.commit().await
}

/// Removes a follower, if it is one.
pub(crate) async fn remove_follower(
    app: &App,
    account: &Account,
    follower: &Account,
) -> ApiResult<()> {
    let mut unit = Unit::begin(app).await?;
    end(&mut unit, &app.deps.instance, account, follower).await?;
    unit.commit().await?;
    forget_timeline(app, follower.id).await;
    Ok(())
}

/// Ends `follower`'s follow of a local account within a unit, and tells a remote follower.
pub(crate) async fn end(
    unit: &mut Unit<'_>,
    us: &Instance,
    account: &Account,
    follower: &Account,
) -> Result<(), StoreError> {
    let Some(row) = follows::remove(unit, follower.id, account.id).await? else {
        return Ok(());
    };
    withdraw_notifications(unit, row.id).await?;
    if !follower.is_local() {
        unit.send(&outgoing::reject(us, account, follower, &row))
            .await?;
    }
    Ok(())
}
