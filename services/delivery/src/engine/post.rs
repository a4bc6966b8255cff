//! One request: look once more, sign, send.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tidegate_store::StoreError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Context;
use super::event::{Event, Sent};
use super::item::Item;
use super::judge::{Fate, Outcome};
use super::reading::Row;
use crate::attempt::{Gate, Stage};
use crate::metrics::PANICS;
use crate::signer::{Scheme, SignError};

/// How long work waits after the database was away.
const AWAY: Duration = Duration::from_secs(1);

/// Sends an item and tells the engine. `turn` is its place among the signatures.
pub(super) async fn run(context: Context, id: u64, item: Item, turn: OwnedSemaphorePermit) {
    let work = AssertUnwindSafe(send(&context, &item, turn)).catch_unwind();
    let sent = work.await.unwrap_or_else(|_| {
        PANICS.inc();
        let (activity, inbox) = item.pair();
        tracing::error!(activity, inbox, "a panic while delivering; the row is dead");
        Sent::Panicked
    });
    let sent = Box::new(sent);
    context.tell(Event::Finished { id, item, sent }).await;
}

async fn send(context: &Context, item: &Item, turn: OwnedSemaphorePermit) -> Sent {
    match try_send(context, item, turn).await {
        Ok(sent) => sent,
        Err(Away) => Sent::Left(Some(AWAY)),
    }
}

async fn try_send(
    context: &Context,
    item: &Item,
    turn: OwnedSemaphorePermit,
) -> Result<Sent, Away> {
    let mut reading = item
        .batch
        .fresh(&context.pool, &context.clock, None)
        .await?;
    if let Some(row) = reading.rows.get(&item.pair())
        && row.behind_seconds.is_some()
    {
        // What it was behind of may have ended since.
        let now = Instant::now();
        reading = item
            .batch
            .fresh(&context.pool, &context.clock, Some(now))
            .await?;
    }
    let Some(row) = reading.rows.get(&item.pair()) else {
        return Ok(Sent::HeldBack(no_activity()));
    };
    if !row.is_open() {
        return Ok(Sent::NotOpen);
    }
    if let Some(outcome) = held_back(row) {
        return Ok(Sent::HeldBack(outcome));
    }
    let Some(activity) = context.activities.get(item.activity_id).await? else {
        return Ok(Sent::HeldBack(no_activity()));
    };
    let shard = item.place.shard;
    let gate = Gate::new(turn, {
        let leases = context.leases.clone();
        move |stage| match stage {
            Stage::Start => leases.holds(shard),
            Stage::UnderWay => leases.still_holds(shard),
        }
    });
    let scheme = Scheme::parse(&row.signature);
    let attempt = context
        .sender
        .attempt(&activity, &row.url, scheme, item.place.lane, gate);
    let Some(attempted) = attempt.await? else {
        return Ok(Sent::Left(None));
    };
    Ok(Sent::Attempted { attempted, reading })
}

/// The database did not answer.
struct Away;

impl From<StoreError> for Away {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a delivery waits for the database");
        Self
    }
}

impl From<SignError> for Away {
    fn from(error: SignError) -> Self {
        tracing::warn!(%error, "a delivery waits for its key");
        Self
    }
}

/// The outcome of a row that is not sent now: no longer wanted, or not its turn.
pub(super) fn held_back(row: &Row) -> Option<Outcome> {
    if let Some(reason) = &row.unwanted {
        return Some(Outcome::untried(Fate::Cancelled {
            reason: reason.clone(),
        }));
    }
    let after = Duration::try_from_secs_f64(row.behind_seconds?).unwrap_or(MAX_TURN_WAIT);
    Some(behind(after))
}

/// The longest that a row waits for its turn without looking: what goes before it may have
/// become final in a process that died before it could say so.
const MAX_TURN_WAIT: Duration = Duration::from_mins(10);

/// Waits for what goes before it, whose end brings it forward.
pub(super) fn behind(after: Duration) -> Outcome {
    Outcome::untried(Fate::Later {
        reason: "order",
        after: after.min(MAX_TURN_WAIT),
    })
}

/// A row whose activity is gone is nobody's: dead, so that it is seen.
pub(super) fn no_activity() -> Outcome {
    Outcome::untried(Fate::Dead {
        reason: "no_activity".to_owned(),
    })
}
