//! Writing outcomes down: many rows in one statement, conditional on `queued`, so that a late
//! or repeated outcome changes nothing. What is written releases what waited behind it.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sqlx::PgPool;
use tidegate_model::Lane;
use tidegate_store::StoreError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::verdict::{Fate, Outcome};
use crate::metrics::OUTCOMES;
use crate::signer::Scheme;

/// Rows of one statement. PostgreSQL gains nothing above about a thousand (measured).
const BATCH: usize = 500;

/// Outcomes that wait to be written; senders wait when it is full.
const WAITING: usize = 2_000;

/// The first and the longest pause after a statement that failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a statement is tried that fails for another reason than that the database is away.
/// After that the rows stay queued and their messages come again.
const TRIES: u32 = 10;

/// How often the same thing is written down about one host at most: a busy host's row would
/// otherwise be written with every delivery.
const NOTE_INTERVAL: Duration = Duration::from_mins(1);

/// Hosts whose last note is remembered.
const KEPT_NOTES: u64 = 20_000;

/// One row's outcome.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) activity_id: i64,
    pub(crate) inbox_id: i64,
    pub(crate) host: String,
    pub(crate) lane: Lane,
    pub(crate) outcome: Outcome,
    /// The scheme that the host took now, and whether that is news.
    pub(crate) accepted: Option<(Scheme, bool)>,
}

struct Entry {
    record: Record,
    written: oneshot::Sender<()>,
}

/// The way to the recorder. It ends when all of these are dropped.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::Sender<Entry>);

impl Recorder {
    /// Starts the task that writes. `wake` is told when rows were released; `hard` ends it even
    /// while the database is away.
    pub(crate) fn start(
        pool: PgPool,
        wake: Arc<Notify>,
        hard: CancellationToken,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let writer = Writer {
            pool,
            wake,
            noted: Cache::builder()
                .max_capacity(KEPT_NOTES)
                .time_to_live(NOTE_INTERVAL)
                .build(),
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = writer.run(receiver) => {}
                () = hard.cancelled() => {}
            }
        });
        (Self(sender), task)
    }

    /// Writes an outcome down; true once it is durable.
    pub(crate) async fn record(&self, record: Record) -> bool {
        let (written, done) = oneshot::channel();
        self.0.send(Entry { record, written }).await.is_ok() && done.await.is_ok()
    }
}

struct Writer {
    pool: PgPool,
    wake: Arc<Notify>,
    noted: Cache<(String, bool), ()>,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<Entry>) {
        let mut batch = Vec::with_capacity(BATCH);
        // While one batch is being written the next one gathers.
        while receiver.recv_many(&mut batch, BATCH).await > 0 {
            self.write(std::mem::take(&mut batch)).await;
        }
    }

    async fn write(&self, mut batch: Vec<Entry>) {
        // Always in the same order, so that two processes do not lock each other out.
        batch.sort_by_key(|entry| (entry.record.activity_id, entry.record.inbox_id));
        let mut pause = PAUSE.0;
        let mut tries = 0;
        let released = loop {
            match self.outcomes(&batch).await {
                Ok(released) => break released,
                Err(error) => {
                    tracing::warn!(%error, rows = batch.len(), "outcomes could not be written yet");
                    tries += u32::from(!matches!(error, StoreError::Unavailable(_)));
                    if tries >= TRIES {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        };
        if released > 0 {
            self.wake.notify_one();
        }
        if let Err(error) = self.notes(&batch).await {
            tracing::warn!(%error, "what was learnt about hosts could not be written");
        }
        for entry in batch {
            let record = &entry.record;
            OUTCOMES
                .with_label_values(&[record.outcome.fate.state(), record.lane.as_str()])
                .inc();
            // Who does not wait any more does not need to know.
            let _gone = entry.written.send(());
        }
    }

    /// Writes all outcomes; returns how many waiting rows were released.
    async fn outcomes(&self, batch: &[Entry]) -> Result<i64, StoreError> {
        let rows = || batch.iter().map(|entry| &entry.record);
        let column = |read: fn(&Record) -> i64| rows().map(read).collect::<Vec<i64>>();
        let activities = column(|row| row.activity_id);
        let after = rows().map(|row| match &row.outcome.fate {
            Fate::Parked { after, .. } => Some(after.as_secs_f64()),
            _ => None,
        });
        let released = sqlx::query_scalar(WRITE)
            .bind(&activities)
            .bind(column(|row| row.inbox_id))
            .bind(
                rows()
                    .map(|row| row.outcome.fate.state())
                    .collect::<Vec<_>>(),
            )
            .bind(
                rows()
                    .map(|row| row.outcome.fate.reason())
                    .collect::<Vec<_>>(),
            )
            .bind(
                rows()
                    .map(|row| i32::from(row.outcome.attempted))
                    .collect::<Vec<_>>(),
            )
            .bind(after.collect::<Vec<_>>())
            .bind(
                rows()
                    .map(|row| row.outcome.status.map(i32::from))
                    .collect::<Vec<_>>(),
            )
            .bind(rows().map(|row| row.outcome.error).collect::<Vec<_>>())
            .bind(activities.first())
            .bind(activities.last())
            .fetch_one(&self.pool)
            .await?;
        Ok(released)
    }

    /// What the batch taught about hosts, if it is news.
    async fn notes(&self, batch: &[Entry]) -> Result<(), StoreError> {
        let mut notes: Vec<(&str, bool, Option<&str>, Option<&str>)> = Vec::new();
        for record in batch.iter().map(|entry| &entry.record) {
            if !record.outcome.attempted {
                continue;
            }
            let well = record.accepted.is_some();
            let scheme_is_news = record.accepted.is_some_and(|(_, news)| news);
            let key = (record.host.clone(), well);
            if self.noted.contains_key(&key) && !scheme_is_news {
                continue;
            }
            self.noted.insert(key, ());
            let scheme = record.accepted.map(|(scheme, _)| scheme.as_str());
            let error = record.outcome.fate.reason();
            notes.push((&record.host, well, scheme, error));
        }
        // One row per host and statement: success wins.
        notes.sort_by_key(|note| (note.0, !note.1));
        notes.dedup_by_key(|note| note.0);
        if notes.is_empty() {
            return Ok(());
        }
        sqlx::query(NOTE)
            .bind(notes.iter().map(|note| note.0).collect::<Vec<_>>())
            .bind(notes.iter().map(|note| note.1).collect::<Vec<_>>())
            .bind(notes.iter().map(|note| note.2).collect::<Vec<_>>())
            .bind(notes.iter().map(|note| note.3).collect::<Vec<_>>())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

const WRITE: &str = "
with outcome as (
    select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::int[],
                         $6::float8[], $7::int[], $8::text[])
        as o(activity_id, inbox_id, state, reason, attempted, after, status, error)
), written as (
    update deliveries d
    set state = o.state, reason = o.reason, attempts = d.attempts + o.attempted,
        not_before = now() + make_interval(secs => o.after),
        last_status = case when o.attempted = 1 then o.status else d.last_status end,
        last_error = case when o.attempted = 1 then o.error else d.last_error end,
        updated_at = now()
    from outcome o
    where d.activity_id = o.activity_id and d.inbox_id = o.inbox_id and d.state = 'queued'
      and d.activity_id between $9 and $10
    returning d.order_key, d.host, d.seq, d.state
), released as (
    update deliveries w set not_before = now(), updated_at = now()
    from (select order_key, host, min(seq) as seq from written
          where state <> 'parked' group by order_key, host) f
    where w.order_key = f.order_key and w.host = f.host and w.seq > f.seq
      and w.state = 'parked' and w.reason = 'order'
    returning 1
)
select count(*) from released";

const NOTE: &str = "
insert into hosts (host, signature, last_success_at, last_failure_at, last_error)
select host, coalesce(scheme, 'cavage'), case when well then now() end,
       case when not well then now() end, case when not well then error end
from unnest($1::text[], $2::boolean[], $3::text[], $4::text[]) as n(host, well, scheme, error)
order by host
on conflict (host) do update set
    signature = case when excluded.last_success_at is null then hosts.signature
                     else excluded.signature end,
    last_success_at = coalesce(excluded.last_success_at, hosts.last_success_at),
    last_failure_at = coalesce(excluded.last_failure_at, hosts.last_failure_at),
    last_error = coalesce(excluded.last_error, hosts.last_error),
    updated_at = now()";
