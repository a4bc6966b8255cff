//! Blocks and mutes.

use tidegate_federation::document;
use tidegate_store::accounts::{self, Account};
use tidegate_store::blocks;
use time::OffsetDateTime;

use super::Unit;
use super::follow::{self, forget_timeline};
use super::outgoing::{self, Deed};
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// Blocks: ends follows in both directions, forgets notifications, and tells a remote target.
pub(crate) async fn block(app: &App, account: &Account, target: &Account) -> ApiResult<()> {
    if account.id == target.id {
        return Err(ApiError::not_allowed());
    }
    let us = &app.deps.instance;
    let mut unit = Unit::begin(app).await?;
    follow::end(&mut unit, account, target).await?;
    super::requests::end(&mut unit, us, account, target).await?;
    let number = accounts::next_id(&mut *unit).await?;
    let uri = document::interaction_id(us, &account.username, Deed::Block.plural(), number);
    let new = blocks::block(&mut unit, account.id, target.id, &uri).await?;
    if new {
        sqlx::query("delete from notifications where account_id = $1 and from_account_id = $2")
            .bind(account.id)
            .bind(target.id)
            .execute(&mut *unit)
            .await?;
    }
    if new && !target.is_local() {
        unit.send(&outgoing::deed(Deed::Block, account, target, None, &uri))
            .await?;
    }
    unit.commit().await?;
    forget_timeline(app, account.id).await;
    if target.is_local() {
        forget_timeline(app, target.id).await;
    }
    Ok(())
}

/// Ends a block.
pub(crate) async fn unblock(app: &App, account: &Account, target: &Account) -> ApiResult<()> {
    let mut unit = Unit::begin(app).await?;
    let uri = blocks::unblock(&mut unit, account.id, target.id).await?;
    if let Some(uri) = uri.filter(|_| !target.is_local()) {
        unit.send(&outgoing::undo(Deed::Block, account, target, None, &uri))
            .await?;
    }
    unit.commit().await
}

/// Mutes, for ever or until a time. Nobody is told.
pub(crate) async fn mute(
    app: &App,
    account: &Account,
    target: &Account,
    notifications: bool,
    until: Option<OffsetDateTime>,
) -> ApiResult<()> {
    if account.id == target.id {
        return Err(ApiError::not_allowed());
    }
    let mut connection = app.deps.pool.acquire().await?;
    blocks::mute(&mut connection, account.id, target.id, notifications, until).await?;
    drop(connection);
    forget_timeline(app, account.id).await;
    Ok(())
}

/// Ends a mute.
pub(crate) async fn unmute(app: &App, account: &Account, target: &Account) -> ApiResult<()> {
    let mut connection = app.deps.pool.acquire().await?;
    blocks::unmute(&mut connection, account.id, target.id).await?;
    drop(connection);
    forget_timeline(app, account.id).await;
    Ok(())
}
