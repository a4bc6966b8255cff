//! What is sent: one activity to one inbox, read together with its neighbours.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgPool;
use tidegate_model::{Clock, Lane};
use tidegate_queue::Delivered;
use tidegate_store::StoreError;
use tokio::sync::OwnedSemaphorePermit;

use super::reading::{Reading, Row, read};
use super::scheduler::Place;

/// Where an item came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Fresh, from a queue.
    Queue,
    /// Parked with a time that has come.
    Timed,
    /// Parked for its host, whose turn it is.
    Backlog,
    /// The one attempt that tells whether a failing host is back.
    Probe,
}

/// One activity for one inbox. Ids only: bodies are in a cache of bounded size.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) activity_id: i64,
    pub(crate) inbox_id: i64,
    pub(crate) place: Place,
    pub(crate) origin: Origin,
    pub(crate) batch: Arc<Batch>,
}

impl Item {
    /// What identifies its row.
    pub(crate) fn pair(&self) -> (i64, i64) {
        (self.activity_id, self.inbox_id)
    }

    /// What a message names although there is no such row, or no such activity.
    pub(crate) fn nameless(pair: (i64, i64), batch: &Arc<Batch>) -> Self {
        Self {
            activity_id: pair.0,
            inbox_id: pair.1,
            place: Place {
                host: "".into(),
                shard: 0,
                lane: Lane::Slow,
                order_key: "".into(),
                seq: 0,
                cost: 0,
            },
            origin: Origin::Queue,
            batch: Arc::clone(batch),
        }
    }

    /// The item of a row.
    pub(crate) fn new(row: &Row, origin: Origin, batch: &Arc<Batch>) -> Self {
        let place = Place {
            host: row.host.as_str().into(),
            shard: u32::try_from(row.shard).unwrap_or(0),
            // The schema knows these three lanes only.
            lane: Lane::parse(&row.lane).unwrap_or(Lane::Slow),
            order_key: row.order_key.as_str().into(),
            seq: row.seq,
            cost: u32::try_from(row.body_bytes).unwrap_or(0),
        };
        Self {
            activity_id: row.activity_id,
            inbox_id: row.inbox_id,
            place,
            origin,
            batch: Arc::clone(batch),
        }
    }
}

/// Rows that came together: a message of the queue, or what was read from the backlog. Dropped
/// before all of them have an outcome, its message goes back to the queue.
pub(crate) struct Batch {
    pub(crate) pairs: Vec<(i64, i64)>,
    left: AtomicUsize,
    message: Mutex<Option<Delivered>>,
    /// The shard of the queue that it came from.
    pub(crate) shard: Option<u32>,
    latest: tokio::sync::Mutex<Arc<Reading>>,
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Batch {
    /// Rows as just read from what waits in the database.
    pub(crate) fn new(pairs: Vec<(i64, i64)>, reading: Arc<Reading>) -> Self {
        Self {
            left: AtomicUsize::new(pairs.len()),
            pairs,
            message: Mutex::new(None),
            shard: None,
            latest: tokio::sync::Mutex::new(reading),
            room: Mutex::new(None),
        }
    }

    /// The rows of a message. `room` is what they take up of the shard's prefetch.
    pub(crate) fn of_message(
        pairs: Vec<(i64, i64)>,
        reading: Arc<Reading>,
        message: Delivered,
        shard: u32,
        room: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            message: Mutex::new(Some(message)),
            shard: Some(shard),
            room: Mutex::new(Some(room)),
            ..Self::new(pairs, reading)
        }
    }

    /// One row has its outcome written down. With the last one the message is handed out, to be
    /// acknowledged.
    pub(crate) fn one_done(&self) -> Option<Delivered> {
        // Its place in memory is free for the next, whatever its neighbours wait for.
        if let Some(room) = &mut *self.room.lock().unwrap_or_else(PoisonError::into_inner) {
            drop(room.split(1));
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return None;
        }
        let mut message = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        message.take()
    }

    /// A reading that is valid now and not older than `not_before`, taken anew when the last is.
    pub(crate) async fn fresh(
        &self,
        pool: &PgPool,
        clock: &Clock,
        not_before: Option<tokio::time::Instant>,
    ) -> Result<Arc<Reading>, StoreError> {
        let mut latest = self.latest.lock().await;
        let is_late_enough = not_before.is_none_or(|at| latest.read_at >= at);
        if latest.is_valid() && is_late_enough {
            return Ok(Arc::clone(&latest));
        }
        // What had its end has it for good: of a batch that lasts, little is read again.
        let is_closed = |pair: &(i64, i64)| latest.rows.get(pair).is_some_and(|row| !row.is_open());
        let open: Vec<(i64, i64)> = self
            .pairs
            .iter()
            .copied()
            .filter(|pair| !is_closed(pair))
            .collect();
        let mut reading = read(pool, &open, clock.now()).await?;
        let closed = latest.rows.iter().filter(|(_, row)| !row.is_open());
        reading
            .rows
            .extend(closed.map(|(pair, row)| (*pair, row.clone())));
        let reading = Arc::new(reading);
        *latest = Arc::clone(&reading);
        Ok(reading)
    }
}
