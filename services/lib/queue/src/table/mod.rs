//! The embedded queue: the table `queue_messages`, as durable as the database itself.
//!
//! A consumer takes messages by making them invisible for [`VISIBILITY`] and keeps renewing that
//! for what is still in hand; a consumer that died stops renewing, and its messages appear again.
//! No transaction and no connection is held while a message is worked on, and no session state
//! is needed, so that it works behind a pooler.

mod consumer;
mod settle;
mod sql;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::metrics::{PUBLISH_FAILURES, PUBLISHED};
use crate::{Consumer, Outgoing, Queue, QueueError, QueueStats, envelope};

/// How long a message stays with a consumer that no longer renews it. A crash delays what was in
/// hand by this much; a pause of the process or the database longer than this makes duplicates,
/// which every handler absorbs. Renewed every third of it.
pub const VISIBILITY: Duration = Duration::from_secs(30);

/// How often a process looks for what others published or for returned messages whose delay
/// ended, for all its consumers together. One indexed probe per queue: about 5 us each, so 100
/// queues cost 0.1 % of a core. What the same process publishes wakes consumers at once.
pub(crate) const POLL: Duration = Duration::from_millis(500);

/// How often a consumer looks by itself, in case that a wake-up was lost.
pub(crate) const FALLBACK: Duration = Duration::from_secs(10);

/// The longest that a statement of the queue may take, pool wait included; then the caller is
/// told that the queue is not reachable.
pub(crate) const STATEMENT_LIMIT: Duration = Duration::from_secs(5);

/// Rows per statement. PostgreSQL gains nothing above about 1,000 (measured), and each
/// statement stays below a few milliseconds.
const INSERT_ROWS: usize = 1_000;

/// The queue in PostgreSQL. Clones share their wake-ups.
#[derive(Clone)]
pub struct TableQueue {
    pool: PgPool,
    visibility: Duration,
    subscribers: Arc<Subscribers>,
}

impl TableQueue {
    /// A queue in the database of `pool`, whose migrations have run.
    pub fn new(pool: PgPool) -> Self {
        Self::with_visibility(pool, VISIBILITY)
    }

    /// The same with another visibility time-out, for tests that wait for it to end.
    pub fn with_visibility(pool: PgPool, visibility: Duration) -> Self {
        Self {
            pool,
            visibility,
            subscribers: Arc::default(),
        }
    }

    async fn insert(&self, queues: &[String], payloads: &[String]) -> Result<(), QueueError> {
        bounded(sql::insert(&self.pool, queues, payloads)).await?;
        for queue in queues {
            self.subscribers.wake(queue);
        }
        Ok(())
    }
}

#[async_trait]
impl Queue for TableQueue {
    /// Nothing to make: a queue is a word in a column.
    async fn declare(&self, _queues: &[String]) -> Result<(), QueueError> {
        Ok(())
    }

    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let mut results: Vec<Result<(), QueueError>> = Vec::with_capacity(batch.len());
        let (mut places, mut queues, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
        for (place, outgoing) in batch.into_iter().enumerate() {
            match envelope::encode(&outgoing.message) {
                Ok(payload) => {
                    places.push(place);
                    queues.push(outgoing.queue);
                    payloads.push(payload);
                    results.push(Ok(()));
                }
                Err(error) => results.push(Err(error)),
            }
        }
        for from in (0..places.len()).step_by(INSERT_ROWS) {
            let chunk = from..(from + INSERT_ROWS).min(places.len());
            if let Err(error) = self
                .insert(&queues[chunk.clone()], &payloads[chunk.clone()])
                .await
            {
                // One statement, one fate. After a failure the rest would wait as long again.
                let text = error.to_string();
                for place in &places[chunk.start..] {
                    results[*place] = Err(QueueError::Unavailable(text.clone()));
                }
                break;
            }
        }
        let failed = results.iter().filter(|result| result.is_err()).count();
        PUBLISHED.inc_by((results.len() - failed) as u64);
        PUBLISH_FAILURES.inc_by(failed as u64);
        results
    }

    async fn consume(
        &self,
        queues: &[String],
        prefetch: u16,
    ) -> Result<Box<dyn Consumer>, QueueError> {
        let wake = self.subscribers.add(queues);
        if !self.subscribers.is_polled.swap(true, Ordering::AcqRel) {
            tokio::spawn(poll(self.pool.clone(), Arc::downgrade(&self.subscribers)));
        }
        Ok(Box::new(consumer::start(self, queues, prefetch, wake)))
    }

    async fn stats(&self, queues: &[String]) -> Result<Vec<QueueStats>, QueueError> {
        bounded(sql::stats(&self.pool, queues)).await
    }
}

/// Runs a statement within [`STATEMENT_LIMIT`].
pub(crate) async fn bounded<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, QueueError> {
    match tokio::time::timeout(STATEMENT_LIMIT, statement).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(QueueError::Unavailable(error.to_string())),
        Err(_) => Err(QueueError::Unavailable(format!(
            "the database did not answer within {STATEMENT_LIMIT:?}"
        ))),
    }
}

/// The consumers of this process, by queue.
#[derive(Default)]
struct Subscribers {
    all: Mutex<Vec<Weak<Subscription>>>,
    /// Whether somebody looks for what other processes published.
    is_polled: AtomicBool,
}

/// Looks for messages of other processes, for all consumers of this one in one statement, and
/// wakes those that have some. Ends with the last consumer.
async fn poll(pool: PgPool, subscribers: Weak<Subscribers>) {
    loop {
        tokio::time::sleep(POLL).await;
        let Some(subscribers) = subscribers.upgrade() else {
            return;
        };
        let queues = subscribers.queues();
        if queues.is_empty() {
            subscribers.is_polled.store(false, Ordering::Release);
            // Who came in between found the flag set.
            if subscribers.queues().is_empty() || subscribers.is_polled.swap(true, Ordering::AcqRel)
            {
                return;
            }
            continue;
        }
        match bounded(sql::with_messages(&pool, &queues)).await {
            Ok(found) => found.iter().for_each(|queue| subscribers.wake(queue)),
            Err(error) => tracing::debug!(%error, "the queue cannot be looked at; trying again"),
        }
    }
}

/// One consumer's wish to be woken.
struct Subscription {
    queues: Vec<String>,
    wake: Notify,
}

impl Subscribers {
    fn add(&self, queues: &[String]) -> Arc<Subscription> {
        let subscription = Arc::new(Subscription {
            queues: queues.to_vec(),
            wake: Notify::new(),
        });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&subscription));
        subscription
    }

    /// The queues that somebody takes from.
    fn queues(&self) -> Vec<String> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queues: Vec<String> = all
            .iter()
            .filter_map(Weak::upgrade)
            .flat_map(|subscription| subscription.queues.clone())
            .collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    fn wake(&self, queue: &str) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for subscription in all.iter().filter_map(Weak::upgrade) {
            if subscription.queues.iter().any(|name| name == queue) {
                // Kept for the next wait when the consumer is busy just now.
                subscription.wake.notify_one();
            }
        }
    }
}
