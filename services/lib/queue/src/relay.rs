//! The outbox relay: publishes what was committed (design section 5.2).
//!
//! Each process with an outbox runs one. It claims rows in a short transaction, publishes them
//! holding no connection, and deletes what was confirmed. It takes what its own process just
//! committed, and any row whose lease has run out: that row's process is gone or cannot publish.
//! A row that was tried belongs to its last process for a lease that doubles with every attempt,
//! so that rows which the queue refuses step back and let others pass.
//!
//! When the queue is away the rows stay, posting goes on, and one row at a time is tried until it
//! gets through; then this process's rows follow at once, whatever their lease. A row may be
//! published twice (a crash between confirm and delete), never not at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tidegate_model::Message;
use tidegate_store::{LEASE, OutboxHandle};
use tokio_util::sync::CancellationToken;

use crate::metrics::{OUTBOX_AGE, OUTBOX_FAILURES, OUTBOX_PUBLISHED};
use crate::{Outgoing, Queue, QueueError};

/// Rows per claim: the publisher's window of confirms, so that one claim fills it once.
const CLAIM_ROWS: i64 = 500;

/// How often the relay looks without being woken: for rows of dead processes, and for a wake-up
/// that was lost with a crash between commit and publish.
const POLL: Duration = Duration::from_secs(1);

/// After how many attempts a lease stops doubling: 5 s x 2^4 = 80 s. Longer would only delay
/// what a dead process left behind.
const LEASE_DOUBLINGS: i32 = 4;

/// How often the age of the oldest row is measured: finer than any alert on it.
const MEASURE: Duration = Duration::from_secs(5);

/// The longest that a statement may take before the round is given up.
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);

/// Publishes the outbox of one instance from one process.
pub struct Relay {
    pool: PgPool,
    queue: Arc<dyn Queue>,
    outbox: OutboxHandle,
    /// The last round could not publish: try a single row until one gets through.
    away: bool,
    /// The queue came back: take this process's tried rows too, until none is left.
    catching_up: bool,
    /// Published, but not yet deleted because the database was away at that moment.
    undeleted: Vec<i64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    queue: String,
    payload: serde_json::Value,
}

/// What a round did.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// A full claim: there is probably more.
    Full,
    /// Everything that could be claimed was.
    Drained,
    /// Something stayed because the queue did not take it.
    Stuck,
}

impl Relay {
    /// A relay of `outbox`, the same handle that the process's writers use.
    pub fn new(pool: PgPool, queue: Arc<dyn Queue>, outbox: OutboxHandle) -> Self {
        Self {
            pool,
            queue,
            outbox,
            away: false,
            catching_up: false,
            undeleted: Vec::new(),
        }
    }

    /// Publishes until `stop`; then publishes what is already committed, once, and returns.
    pub async fn run(mut self, stop: CancellationToken) {
        let measuring = tokio::spawn(measure(self.pool.clone(), stop.clone()));
        while !stop.is_cancelled() {
            if self.round_or_log().await == Round::Full {
                continue;
            }
            if self.away {
                // Commits during an outage must not turn into a storm of attempts.
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            } else {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.outbox.woken() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        }
        while self.round_or_log().await == Round::Full {}
        let _ended = measuring.await;
    }

    async fn round_or_log(&mut self) -> Round {
        match self.round().await {
            Ok(round) => round,
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read; trying again");
                Round::Stuck
            }
        }
    }

    /// Claim, publish, delete.
    async fn round(&mut self) -> Result<Round, QueueError> {
        self.delete().await?;
        let limit = if self.away { 1 } else { CLAIM_ROWS };
        let rows = limited(self.claim(limit)).await?;
        let claimed = rows.len() as i64;
        if claimed == 0 {
            // Nothing left to try with; the next commit finds out how the queue is.
            self.away = false;
            self.catching_up = false;
            return Ok(Round::Drained);
        }
        let (ids, batch) = self.readable(rows).await?;
        let results = self.queue.publish(batch).await;
        let failed = self.judge(&ids, results);
        self.delete().await?;
        if failed > 0 || claimed < limit {
            self.catching_up = false;
        }
        Ok(match failed {
            0 if claimed == limit => Round::Full,
            0 => Round::Drained,
            _ => Round::Stuck,
        })
    }

    /// Notes which rows are published and whether the queue is there. Returns how many are not.
    fn judge(&mut self, ids: &[i64], results: Vec<Result<(), QueueError>>) -> usize {
        let mut failures: HashMap<String, usize> = HashMap::new();
        let mut unavailable = false;
        for (id, result) in ids.iter().zip(results) {
            match result {
                Ok(()) => self.undeleted.push(*id),
                Err(error) => {
                    unavailable |= matches!(error, QueueError::Unavailable(_));
                    *failures.entry(error.to_string()).or_default() += 1;
                }
            }
        }
        OUTBOX_PUBLISHED.inc_by(self.undeleted.len() as u64);
        for (error, rows) in &failures {
            OUTBOX_FAILURES.inc_by(*rows as u64);
            tracing::warn!(%error, rows, "outbox rows stay for now");
        }
        self.catching_up |= self.away && !unavailable;
        self.away = unavailable;
        failures.values().sum()
    }

    async fn claim(&self, limit: i64) -> Result<Vec<Row>, sqlx::Error> {
        let mut rows: Vec<Row> = sqlx::query_as(
            "with mine as materialized (
                 select id from outbox
                 where leased_until <= now() or (lease_owner = $1 and (attempts = 0 or $5))
                 order by id
                 limit $2
                 for update skip locked
             )
             update outbox
             set lease_owner = $1,
                 attempts = attempts + 1,
                 leased_until = now() + make_interval(secs => $3 * power(2, least(attempts, $4)))
             from mine where outbox.id = mine.id
             returning outbox.id, outbox.queue, outbox.payload",
        )
        .bind(self.outbox.owner())
        .bind(limit)
        .bind(LEASE.as_secs_f64())
        .bind(LEASE_DOUBLINGS)
        .bind(self.away || self.catching_up)
        .fetch_all(&self.pool)
        .await?;
        // UPDATE returns in any order; publish roughly in the order of commits.
        rows.sort_by_key(|row| row.id);
        Ok(rows)
    }

    /// Splits off rows that no build like this one wrote: to the dead messages, on first sight.
    async fn readable(&self, rows: Vec<Row>) -> Result<(Vec<i64>, Vec<Outgoing>), QueueError> {
        let (mut ids, mut batch) = (Vec::new(), Vec::new());
        for row in rows {
            match serde_json::from_value::<Message>(row.payload) {
                Ok(message) => {
                    ids.push(row.id);
                    batch.push(Outgoing {
                        queue: row.queue,
                        message,
                    });
                }
                Err(error) => {
                    tracing::error!(id = row.id, %error, "buried an unreadable outbox row");
                    limited(self.bury(row.id, &format!("malformed outbox row: {error}"))).await?;
                }
            }
        }
        Ok((ids, batch))
    }

    async fn bury(&self, id: i64, reason: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "with gone as (delete from outbox where id = $1 returning queue, payload)
             insert into dead_messages (queue, payload, reason)
             select queue, payload, $2 from gone",
        )
        .bind(id)
        .bind(reason)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn delete(&mut self) -> Result<(), QueueError> {
        if self.undeleted.is_empty() {
            return Ok(());
        }
        limited(
            sqlx::query("delete from outbox where id = any($1)")
                .bind(&self.undeleted)
                .execute(&self.pool),
        )
        .await?;
        self.undeleted.clear();
        Ok(())
    }
}

async fn limited<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, QueueError> {
    match tokio::time::timeout(STATEMENT_LIMIT, statement).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(QueueError::Other(error.into())),
        Err(_) => Err(QueueError::Unavailable(
            "the database did not answer in time".to_owned(),
        )),
    }
}

/// Keeps the age of the oldest row, whoever's it is.
async fn measure(pool: PgPool, stop: CancellationToken) {
    loop {
        let oldest = sqlx::query_scalar::<_, f64>(
            "select extract(epoch from now() - created_at)::float8
             from outbox order by id limit 1",
        )
        .fetch_optional(&pool);
        // While the database is away the last value stands; posting is down as well then.
        if let Ok(age) = limited(oldest).await {
            OUTBOX_AGE.set(age.unwrap_or(0.0).max(0.0));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(MEASURE) => {}
        }
    }
}
