//! The outbox relay: publishes what was committed (design section 5.2).
//!
//! Each process with an outbox runs one. It claims rows in a short transaction, publishes them
//! holding no connection, and deletes what was confirmed. It takes what its own process just
//! committed, and any row whose lease has run out: that row's process is gone or cannot publish.
//! A row that was tried belongs to its last process for a lease that doubles with every attempt,
//! so that rows which the queue refuses step back and let others pass. Messages whose time in
//! `deferred_messages` is over become rows as well.
//!
//! When a queue is away its rows stay, posting goes on, and one row at a time is tried until it
//! gets through; then this process's rows follow at once, whatever their lease. The rows of
//! other queues pass meanwhile. A row may be published twice (a crash between confirm and
//! delete), never not at all.

mod rows;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tidegate_model::Message;
use tidegate_store::OutboxHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::rows::{Row, limited};
use crate::metrics::{OUTBOX_AGE, OUTBOX_FAILURES, OUTBOX_PUBLISHED};
use crate::{Outgoing, Queue, QueueError};

/// Rows per claim: the publisher's window of confirms, so that one claim fills it once.
const CLAIM_ROWS: i64 = 500;

/// How often the relay looks without being woken: for rows of dead processes, for a wake-up that
/// was lost with a crash between commit and publish, and for what was deferred. Also how often
/// queues that are away are tried.
const POLL: Duration = Duration::from_secs(1);

/// The pause between rounds while a queue is away: commits must not turn into a storm of looks
/// at all the rows that wait.
const PAUSE_WHILE_AWAY: Duration = Duration::from_millis(200);

/// How often the age of the oldest row is measured: finer than any alert on it.
const MEASURE: Duration = Duration::from_secs(5);

/// Publishes the outbox of one instance from one process.
pub struct Relay {
    pool: PgPool,
    queue: Arc<dyn Queue>,
    outbox: OutboxHandle,
    /// Queues whose last row could not be published, for one row of each to be tried in turn.
    away: Vec<String>,
    /// Queues that came back: take this process's tried rows too, until none is left.
    catching_up: BTreeSet<String>,
    /// When deferred messages and queues that are away were last looked at.
    looked_at: Option<Instant>,
    /// Published, but not yet deleted because the database was away at that moment.
    undeleted: Vec<i64>,
}

/// What a round did.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// A full claim: there is probably more.
    Full,
    /// Everything that could be claimed was tried.
    Drained,
}

impl Relay {
    /// A relay of `outbox`, the same handle that the process's writers use.
    pub fn new(pool: PgPool, queue: Arc<dyn Queue>, outbox: OutboxHandle) -> Self {
        Self {
            pool,
            queue,
            outbox,
            away: Vec::new(),
            catching_up: BTreeSet::new(),
            looked_at: None,
            undeleted: Vec::new(),
        }
    }

    /// Publishes until `stop`; then publishes what is already committed, once, and returns.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.round_or_log().await == Round::Full {
                continue;
            }
            if !self.away.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(PAUSE_WHILE_AWAY) => {}
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.outbox.woken() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        while self.round_or_log().await == Round::Full {}
    }

    async fn round_or_log(&mut self) -> Round {
        match self.round().await {
            Ok(round) => round,
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read; trying again");
                Round::Drained
            }
        }
    }

    /// Claim, publish, delete; now and then what is deferred or away.
    async fn round(&mut self) -> Result<Round, QueueError> {
        self.delete().await?;
        let looking = self.looked_at.is_none_or(|at| at.elapsed() >= POLL);
        let due = if looking {
            limited(rows::take_due(&self.pool, self.outbox.owner(), CLAIM_ROWS)).await?
        } else {
            0
        };
        let mut just_failed = Vec::new();
        if self.publish_ready(&mut just_failed).await? || due == CLAIM_ROWS as u64 {
            return Ok(Round::Full);
        }
        if looking {
            self.try_away(&just_failed).await?;
            self.looked_at = Some(Instant::now());
        }
        Ok(Round::Drained)
    }

    /// What belongs to queues that are there. `true` when there is probably more of it.
    async fn publish_ready(&mut self, just_failed: &mut Vec<String>) -> Result<bool, QueueError> {
        let catching_up: Vec<String> = self.catching_up.iter().cloned().collect();
        let claiming = rows::claim(
            &self.pool,
            self.outbox.owner(),
            CLAIM_ROWS,
            &self.away,
            &catching_up,
        );
        let rows = limited(claiming).await?;
        let full = rows.len() as i64 == CLAIM_ROWS;
        let before = self.away.clone();
        let failed = self.publish(rows).await?;
        just_failed.extend(
            self.away
                .iter()
                .filter(|queue| !before.contains(queue))
                .cloned(),
        );
        if !full {
            self.catching_up.clear();
        }
        Ok(full && failed == 0)
    }

    /// One row of each queue that is away, until one fails: when it is the whole broker, one
    /// attempt says so, and the next look begins with another queue. Not those that failed just
    /// now.
    async fn try_away(&mut self, just_failed: &[String]) -> Result<(), QueueError> {
        for queue in self.away.clone() {
            if just_failed.contains(&queue) {
                continue;
            }
            let row = limited(rows::claim_one(&self.pool, self.outbox.owner(), &queue)).await?;
            // Without a row there is nothing to try with; the next commit finds out.
            self.away.retain(|away| *away != queue);
            let Some(row) = row else { continue };
            if self.publish(vec![row]).await? > 0 {
                break;
            }
            self.catching_up.insert(queue);
            // What waited is published without waiting for a wake-up.
            self.outbox.wake();
        }
        Ok(())
    }

    /// Publishes claimed rows and deletes what was confirmed. Returns how many were not.
    async fn publish(&mut self, rows: Vec<Row>) -> Result<usize, QueueError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let (rows, batch) = self.readable(rows).await?;
        let results = self.queue.publish_again(batch).await;
        let failed = self.judge(rows, results);
        self.delete().await?;
        Ok(failed)
    }

    /// Notes which rows are published and which queues are away. Returns how many rows stay.
    fn judge(&mut self, rows: Vec<(i64, String)>, results: Vec<Result<(), QueueError>>) -> usize {
        let mut failures: HashMap<String, usize> = HashMap::new();
        for ((id, queue), result) in rows.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    self.undeleted.push(id);
                    OUTBOX_PUBLISHED.inc();
                }
                Err(error) => {
                    if matches!(error, QueueError::Unavailable(_)) && !self.away.contains(&queue) {
                        self.catching_up.remove(&queue);
                        self.away.push(queue);
                    }
                    *failures.entry(error.to_string()).or_default() += 1;
                }
            }
        }
        for (error, rows) in &failures {
            OUTBOX_FAILURES.inc_by(*rows as u64);
            tracing::warn!(%error, rows, "outbox rows stay for now");
        }
        failures.values().sum()
    }

    /// Splits off rows that no build like this one wrote: to the dead messages, on first sight.
    async fn readable(
        &self,
        rows: Vec<Row>,
    ) -> Result<(Vec<(i64, String)>, Vec<(Outgoing, u32)>), QueueError> {
        let (mut known, mut batch) = (Vec::new(), Vec::new());
        for row in rows {
            match serde_json::from_value::<Message>(row.payload) {
                Ok(message) => {
                    known.push((row.id, row.queue.clone()));
                    let outgoing = Outgoing {
                        queue: row.queue,
                        message,
                    };
                    batch.push((outgoing, u32::try_from(row.redeliveries).unwrap_or(0)));
                }
                Err(error) => {
                    tracing::error!(id = row.id, %error, "buried an unreadable outbox row");
                    let reason = format!("malformed outbox row: {error}");
                    limited(rows::bury(&self.pool, row.id, &reason)).await?;
                }
            }
        }
        Ok((known, batch))
    }

    async fn delete(&mut self) -> Result<(), QueueError> {
        if self.undeleted.is_empty() {
            return Ok(());
        }
        limited(rows::delete(&self.pool, &self.undeleted)).await?;
        self.undeleted.clear();
        Ok(())
    }
}

/// Keeps the age of the oldest row, whoever's it is, until `stop`; needs no queue. Messages that
/// are deferred are no rows yet.
pub async fn measure_outbox(pool: PgPool, stop: CancellationToken) {
    loop {
        // While the database is away the last value stands; posting is down as well then.
        if let Ok(age) = limited(rows::oldest_age(&pool)).await {
            OUTBOX_AGE.set(age.unwrap_or(0.0).max(0.0));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(MEASURE) => {}
        }
    }
}
