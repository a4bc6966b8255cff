//! Following and unfollowing.

use std::sync::Arc;
use std::time::Duration;

use tidegate_federation::document;
use tidegate_store::accounts::{self, Account};
use tidegate_store::notifications::{self, NotificationKind};
use tidegate_store::{StoreError, blocks, follows};
use tokio::sync::Semaphore;

use super::Unit;
use super::limits;
use super::outgoing::{self, Deed};
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// What a follower wants to see; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) reblogs: Option<bool>,
    pub(crate) notify: Option<bool>,
    pub(crate) languages: Option<Vec<String>>,
}

/// Follows, or changes the wishes of a follow that there is. A remote account, and a local one
/// that approves by hand, is asked.
pub(crate) async fn follow(
    app: &App,
    follower: &Account,
    target: &Account,
    wishes: &Wishes,
) -> ApiResult<()> {
    if follower.id == target.id {
        return Err(ApiError::not_allowed());
    }
    if target.suspended_at.is_some() {
        return Err(ApiError::not_found());
    }
    let mut unit = Unit::begin(app).await?;
    if blocks::either_blocks(&mut *unit, follower.id, target.id).await? {
        return Err(ApiError::not_allowed());
    }
    let existing = follows::between(&mut *unit, follower.id, target.id).await?;
    if existing.is_none() && follower.following_count >= limits::FOLLOWS {
        return Err(ApiError::validation(
            "You cannot follow more accounts than you do",
        ));
    }
    let number = accounts::next_id(&mut *unit).await?;
    let us = &app.deps.instance;
    let uri = document::interaction_id(us, &follower.username, Deed::Follow.plural(), number);
    let at_once = target.is_local() && !target.locked;
    let (row, new) = follows::request(&mut unit, follower, target, &uri, at_once).await?;
    set_wishes(&mut unit, row.id, wishes).await?;
    if new && target.is_local() {
        let kind = if at_once {
            NotificationKind::Follow
        } else {
            NotificationKind::FollowRequest
        };
        notifications::add(&mut unit, target.id, kind, row.id, follower.id, None).await?;
    } else if new {
        unit.send(&outgoing::deed(Deed::Follow, follower, target, None, &uri))
            .await?;
    }
    unit.commit().await?;
    forget_timeline(app, follower.id).await;
    Ok(())
}

async fn set_wishes(
    unit: &mut Unit<'_>,
    follow_id: i64,
    wishes: &Wishes,
) -> Result<(), StoreError> {
    sqlx::query(
        "update follows set show_reblogs = coalesce($2, show_reblogs),
                            notify = coalesce($3, notify),
                            languages = case when $4::text[] is null then languages
                                             else nullif($4, '{}') end
         where id = $1",
    )
    .bind(follow_id)
    .bind(wishes.reblogs)
    .bind(wishes.notify)
    .bind(&wishes.languages)
    .execute(&mut **unit)
    .await?;
    Ok(())
}

/// Ends a follow, or takes a request back. Nothing happens when there is none.
pub(crate) async fn unfollow(app: &App, follower: &Account, target: &Account) -> ApiResult<()> {
    let mut unit = Unit::begin(app).await?;
    end(&mut unit, follower, target).await?;
    unit.commit().await?;
    forget_timeline(app, follower.id).await;
    Ok(())
}

/// Removes the follow of a local follower within a unit, and tells the target.
pub(crate) async fn end(
    unit: &mut Unit<'_>,
    follower: &Account,
    target: &Account,
) -> Result<(), StoreError> {
    let Some(row) = follows::remove(unit, follower.id, target.id).await? else {
        return Ok(());
    };
    withdraw_notifications(unit, row.id).await?;
    if !target.is_local() {
        unit.send(&outgoing::undo(
            Deed::Follow,
            follower,
            target,
            None,
            &row.uri,
        ))
        .await?;
    }
    Ok(())
}

/// Nobody needs to be told any more of a follow that is gone.
pub(crate) async fn withdraw_notifications(
    unit: &mut Unit<'_>,
    follow_id: i64,
) -> Result<(), StoreError> {
    for kind in [NotificationKind::Follow, NotificationKind::FollowRequest] {
        notifications::withdraw(unit, kind, follow_id).await?;
    }
    Ok(())
}

/// Tries at deleting one home timeline: with the waits between them two and a half minutes, longer
/// than a store takes to restart.
const FORGET_TRIES: u32 = 10;

/// The first wait between two of them; it doubles up to the other.
const FORGET_FIRST_WAIT: Duration = Duration::from_secs(1);
const FORGET_LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Timelines of this process whose deletion is tried again. Above this the store's outage takes
/// the lists with it anyway, and reads filter by the rules of the moment.
static FORGETTING: Semaphore = Semaphore::const_new(1_000);

/// Deletes somebody's home timeline, so that the next read builds it by the new rules. While its
/// store is away the deletion is tried again behind the answer; reads filter by the rules of the
/// moment meanwhile, so that nothing is shown that should not be.
pub(crate) async fn forget_timeline(app: &App, account_id: i64) {
    let Err(error) = app.deps.timelines.remove(&[account_id]).await else {
        return;
    };
    tracing::warn!(%error, "a home timeline was not deleted after a change of follows");
    let Ok(permit) = FORGETTING.try_acquire() else {
        return;
    };
    let timelines = Arc::clone(&app.deps.timelines);
    tokio::spawn(async move {
        let _permit = permit;
        let mut wait = FORGET_FIRST_WAIT;
        for _ in 1..FORGET_TRIES {
            tokio::time::sleep(wait).await;
            if timelines.remove(&[account_id]).await.is_ok() {
                return;
            }
            wait = (wait * 2).min(FORGET_LONGEST_WAIT);
        }
        tracing::warn!("a home timeline keeps what a change of follows left in it");
    });
}
