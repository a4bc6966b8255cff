//! Local fan-out: home timelines and notifications.
//!
//! A post with at most one range of local followers is done by its own message. A larger one is
//! cut into at most [`STRIPES`] stripes of follower ids, each carried by one message at a time:
//! a range does its followers and then, in the transaction that records it as done, writes the
//! message of the next range of its stripe. So never more than four ranges of a post are
//! outstanding, however many followers it has, nobody keeps count, and a repeat of a done range
//! starts nothing.
//!
//! Appended is to everybody whom the follow itself does not exclude (boosts hidden, languages).
//! Blocks, mutes and replies to accounts that the follower does not follow are left to readers,
//! who must filter anyway because those change after the append.

mod audience;
mod notify;

pub(crate) use notify::mentioned;

use sqlx::PgConnection;
use tidegate_model::{FANOUT_RANGE_FOLLOWERS, Message, Visibility, time_of};
use tidegate_store::{accounts, statuses};

use crate::FanoutDeps;
use crate::metrics::{APPENDED, LAG, RANGES};
use crate::trouble::Trouble;

/// Ranges of one post that may be outstanding at once (design section 5.4): enough to keep the
/// store busy, few enough that a post of millions leaves room for others.
pub(crate) const STRIPES: i64 = 4;

/// Accounts per call to the store: what it pipelines comfortably within its time limit.
const APPEND_BATCH: usize = 1_000;

/// The key in `fanout_done` of a post's first message; account ids are larger.
const HEAD: i64 = 0;

/// The whole fan-out of a small post; own home, notifications and the cut of a large one.
pub(crate) async fn status(deps: &FanoutDeps, status_id: i64) -> Result<(), Trouble> {
    if is_done(deps, status_id, HEAD).await? {
        RANGES.with_label_values(&["already_done"]).inc();
        return Ok(());
    }
    let Some(status) = statuses::by_id(&deps.pool, status_id).await? else {
        return Ok(());
    };
    let Some(author) = accounts::by_id(&deps.pool, status.account_id).await? else {
        return Ok(());
    };
    if author.suspended_at.is_some() {
        return Ok(());
    }
    let own_home = if author.is_local() {
        append(deps, &[author.id], status.id).await
    } else {
        Ok(())
    };
    // Notifications live in the database and do not wait for the timeline store.
    notify::all(deps, &status, &author).await?;
    own_home?;

    if status.visibility() == Visibility::Direct {
        let readers = audience::mentioned_followers(&deps.pool, &status).await?;
        append(deps, &readers, status.id).await?;
        record_head(deps, status.id, &[]).await?;
    } else if status.pulled {
        record_head(deps, status.id, &[]).await?;
    } else {
        let all = 1..=i64::MAX;
        let limit = FANOUT_RANGE_FOLLOWERS + 1;
        let readers = audience::followers(&deps.pool, &status, all, limit).await?;
        if readers.len() as i64 <= FANOUT_RANGE_FOLLOWERS {
            append(deps, &readers, status.id).await?;
            record_head(deps, status.id, &[]).await?;
        } else {
            let stripes = audience::stripes(&deps.pool, status.account_id, STRIPES).await?;
            record_head(deps, status.id, &stripes).await?;
            return Ok(());
        }
    }
    observe_lag(deps, status.id, "small");
    Ok(())
}

/// One range of a large post's followers: those from `start` on, at most up to `end`.
pub(crate) async fn range(
    deps: &FanoutDeps,
    status_id: i64,
    start: i64,
    end: i64,
) -> Result<(), Trouble> {
    if is_done(deps, status_id, start).await? {
        RANGES.with_label_values(&["already_done"]).inc();
        return Ok(());
    }
    let Some(status) = statuses::by_id(&deps.pool, status_id).await? else {
        return Ok(());
    };
    let readers =
        audience::followers(&deps.pool, &status, start..=end, FANOUT_RANGE_FOLLOWERS).await?;
    append(deps, &readers, status.id).await?;
    let next = readers
        .last()
        .filter(|last| readers.len() as i64 == FANOUT_RANGE_FOLLOWERS && **last < end)
        .map(|last| (last + 1, end));
    let mut transaction = tidegate_store::begin(&deps.pool).await?;
    record(deps, &mut transaction, status_id, start, next.as_slice()).await?;
    transaction.commit().await?;
    deps.outbox.wake();
    RANGES.with_label_values(&["done"]).inc();
    observe_lag(deps, status_id, "range");
    Ok(())
}

async fn is_done(deps: &FanoutDeps, status_id: i64, start: i64) -> Result<bool, Trouble> {
    Ok(sqlx::query_scalar(
        "select exists (select 1 from fanout_done where event_id = $1 and range_start = $2)",
    )
    .bind(status_id)
    .bind(start)
    .fetch_one(&deps.pool)
    .await?)
}

async fn record_head(
    deps: &FanoutDeps,
    status_id: i64,
    stripes: &[(i64, i64)],
) -> Result<(), Trouble> {
    let mut transaction = tidegate_store::begin(&deps.pool).await?;
    record(deps, &mut transaction, status_id, HEAD, stripes).await?;
    transaction.commit().await?;
    deps.outbox.wake();
    RANGES.with_label_values(&["done"]).inc();
    Ok(())
}

/// Records a range as done and writes the messages that follow it; a range that somebody else
/// recorded meanwhile has its followers already.
async fn record(
    deps: &FanoutDeps,
    transaction: &mut PgConnection,
    status_id: i64,
    start: i64,
    next: &[(i64, i64)],
) -> Result<(), Trouble> {
    let recorded = sqlx::query(
        "insert into fanout_done (event_id, range_start) values ($1, $2) on conflict do nothing",
    )
    .bind(status_id)
    .bind(start)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    if recorded == 1 {
        for (start, end) in next.iter().copied() {
            let message = Message::FanoutRange {
                status_id,
                start,
                end,
            };
            let queue = deps.queues.fanout_ranges();
            deps.outbox.add(transaction, &queue, &message).await?;
        }
    }
    Ok(())
}

async fn append(deps: &FanoutDeps, readers: &[i64], status_id: i64) -> Result<(), Trouble> {
    for batch in readers.chunks(APPEND_BATCH) {
        deps.timelines.append(batch, status_id).await?;
        APPENDED.inc_by(batch.len() as u64);
    }
    Ok(())
}

fn observe_lag(deps: &FanoutDeps, status_id: i64, lane: &str) {
    let lag = deps.clock.now() - time_of(status_id);
    LAG.with_label_values(&[lane])
        .observe(lag.as_seconds_f64().max(0.0));
}
