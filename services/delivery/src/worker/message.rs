//! One message: up to 100 inboxes of one activity, worked on side by side and acknowledged when
//! every row has left `queued`.

use std::sync::Arc;
use std::time::Duration;

use tidegate_model::{Lane, time_of};
use tidegate_store::StoreError;
use tokio::task::JoinSet;

use super::activity::{Activities, Activity};
use super::attempt::Sender;
use super::in_hand::InHand;
use super::recorder::{Record, Recorder};
use super::slots::Slots;
use super::snapshot::{Row, Snapshots};
use super::verdict::{Fate, Outcome, Reply, judge};
use super::window::Windows;
use crate::metrics::{LAG, PANICS};
use crate::options::DeliveryOptions;
use crate::signer::{Scheme, SignError};
use crate::watermarks::Watermarks;

/// What the queue is told about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// Nothing of it is queued any more.
    Ack,
    /// The database was away for some of it.
    Again,
}

/// Everything that the rows of one lane share. Clones share it too.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) lane: Lane,
    pub(super) pool: sqlx::PgPool,
    pub(super) activities: Activities,
    pub(super) sender: Sender,
    pub(super) recorder: Recorder,
    pub(super) windows: Windows,
    pub(super) in_hand: InHand,
    pub(super) slots: Slots,
    pub(super) watermarks: Watermarks,
    pub(super) options: Arc<DeliveryOptions>,
}

/// Why a row was left as it is.
#[derive(Debug)]
struct Left;

impl From<StoreError> for Left {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a delivery waits for the database");
        Self
    }
}

impl From<SignError> for Left {
    fn from(error: SignError) -> Self {
        tracing::warn!(%error, "a delivery waits for its key");
        Self
    }
}

impl Workshop {
    /// Works on all rows of a message.
    pub(super) async fn message(&self, activity_id: i64, shard: u32, inbox_ids: Vec<i64>) -> Done {
        let Ok(activity) = self.activities.get(activity_id).await else {
            return Done::Again;
        };
        let Some(activity) = activity else {
            return self.without_activity(activity_id, &inbox_ids).await;
        };
        let snapshots = Arc::new(Snapshots::new(
            self.pool.clone(),
            activity_id,
            inbox_ids.clone(),
        ));
        let Ok(first) = snapshots.fresh().await else {
            return Done::Again;
        };
        // A row that was published again says a later time than its message: the earliest counts.
        if let Some(published_at) = first.values().filter_map(|row| row.published_at).min() {
            self.watermarks.taken(self.lane, shard, published_at);
        }
        let mut rows = JoinSet::new();
        let mut done = Done::Ack;
        for inbox_id in inbox_ids {
            let Some(row) = first.get(&inbox_id).filter(|row| row.state == "queued") else {
                continue;
            };
            let Some(held) = self.in_hand.take(activity_id, inbox_id) else {
                continue;
            };
            let (shop, activity, snapshots) =
                (self.clone(), Arc::clone(&activity), Arc::clone(&snapshots));
            let host = row.host.clone();
            rows.spawn(async move {
                let _held = held;
                shop.guarded(activity, inbox_id, host, snapshots).await
            });
        }
        while let Some(result) = rows.join_next().await {
            if !matches!(result, Ok(true)) {
                done = Done::Again;
            }
        }
        done
    }

    /// Works on one row; a panic on the way is that row's end, not the process's. True when the
    /// row's outcome is written down.
    async fn guarded(
        &self,
        activity: Arc<Activity>,
        inbox_id: i64,
        host: String,
        snapshots: Arc<Snapshots>,
    ) -> bool {
        let shop = self.clone();
        let (body, name) = (Arc::clone(&activity), host.clone());
        let mut work = JoinSet::new();
        work.spawn(async move { shop.row(&body, inbox_id, &name, &snapshots).await });
        let (outcome, accepted) = match work.join_next().await {
            Some(Ok(Ok(Some(found)))) => found,
            Some(Ok(Ok(None))) => return true,
            Some(Err(error)) if error.is_panic() => {
                PANICS.inc();
                tracing::error!(
                    activity.id,
                    inbox_id,
                    "a panic while delivering; the row is dead"
                );
                (dead("poison"), None)
            }
            _ => return false,
        };
        let delivered = outcome.fate == Fate::Delivered;
        let record = Record {
            activity_id: activity.id,
            inbox_id,
            host,
            lane: self.lane,
            outcome,
            accepted,
        };
        let written = self.recorder.record(record).await;
        if written && delivered {
            let lag = self.sender.clock.now() - activity.created_at.min(time_of(activity.id));
            LAG.with_label_values(&[self.lane.as_str()])
                .observe(lag.as_seconds_f64().max(0.0));
        }
        written
    }

    /// One row, from its host's window to the verdict. `None` when it is not queued any more.
    async fn row(
        &self,
        activity: &Activity,
        inbox_id: i64,
        host: &str,
        snapshots: &Snapshots,
    ) -> Result<Option<(Outcome, Option<(Scheme, bool)>)>, Left> {
        let Some(place) = self.windows.enter(host).await else {
            return Ok(Some((self.too_slow(), None)));
        };
        let Some(slot) = self.slots.take(&place).await else {
            return Ok(Some((self.too_slow(), None)));
        };
        // Waiting took time; what is true now counts.
        let rows = snapshots.fresh().await?;
        let Some(row) = rows.get(&inbox_id).filter(|row| row.state == "queued") else {
            return Ok(None);
        };
        if let Some(outcome) = held_back(row) {
            return Ok(Some((outcome, None)));
        }
        let known = Scheme::parse(&row.signature);
        let attempt = self.sender.attempt(activity, &row.url, known, self.lane);
        let attempted = self.slots.hold(slot, &place, attempt).await?;
        if matches!(attempted.reply, Reply::Failed(_)) {
            place.set_slow(true);
        }
        let number = u32::try_from(row.attempts).unwrap_or(0) + 1;
        let ladder = &self.options.retry_ladder;
        let outcome = judge(&attempted.reply, number, ladder, rand::random());
        let accepted = attempted.accepted.map(|scheme| (scheme, scheme != known));
        Ok(Some((outcome, accepted)))
    }

    /// The outcome of a row whose host has as much in hand as it may.
    fn too_slow(&self) -> Outcome {
        let spread = 1.0 + 2.0 * rand::random::<f64>();
        parked("slow", self.options.slow_delay.mul_f64(spread))
    }

    /// Rows whose activity is gone are nobody's: dead, so that they are seen.
    async fn without_activity(&self, activity_id: i64, inbox_ids: &[i64]) -> Done {
        tracing::error!(
            activity_id,
            "a message names an activity that does not exist"
        );
        let mut done = Done::Ack;
        for inbox_id in inbox_ids {
            let record = Record {
                activity_id,
                inbox_id: *inbox_id,
                host: String::new(),
                lane: self.lane,
                outcome: dead("no_activity"),
                accepted: None,
            };
            if !self.recorder.record(record).await {
                done = Done::Again;
            }
        }
        done
    }
}

/// The outcome of a row that is not sent now: no longer wanted, or not its turn.
fn held_back(row: &Row) -> Option<Outcome> {
    if let Some(reason) = &row.unwanted {
        return Some(Outcome::untried(Fate::Cancelled {
            reason: reason.clone(),
        }));
    }
    let after = Duration::try_from_secs_f64(row.behind_seconds?).unwrap_or(Duration::from_mins(1));
    Some(parked("order", after))
}

fn parked(reason: &str, after: Duration) -> Outcome {
    Outcome::untried(Fate::Parked {
        reason: reason.to_owned(),
        after,
    })
}

fn dead(reason: &str) -> Outcome {
    Outcome::untried(Fate::Dead {
        reason: reason.to_owned(),
    })
}
