//! Writing outcomes down: many rows in one statement, conditional on the row being open, so that
//! a late or repeated outcome changes nothing. What is written releases what waited behind it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tidegate_model::Clock;
use tidegate_store::{ReadOnly, StoreError, begin_steady};
use time::{Date, OffsetDateTime};

use super::dead_follows::{Post, withdraw};
use super::item::Item;
use super::judge::{Fate, Outcome};

/// Rows of one statement: what a crash between the answer and the note repeats at most, beside
/// what was under way.
pub(super) const BATCH: usize = 200;

/// The first and the longest pause after a statement that failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a statement is tried that fails for another reason than that the database is away.
/// After that the rows stay as they are and come again.
const TRIES: u32 = 10;

/// One row's outcome.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) item: Item,
    pub(crate) outcome: Outcome,
    /// Whether it holds its order key in the scheduler.
    pub(crate) scheduled: bool,
}

/// What is to be written about a host.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostNote {
    pub(crate) host: Arc<str>,
    pub(crate) shard: u32,
    /// The signature scheme that it took, when that is news.
    pub(crate) signature: Option<&'static str>,
    pub(crate) succeeded_at: Option<OffsetDateTime>,
    pub(crate) failed: Option<(OffsetDateTime, String)>,
    /// Its state, when that changed.
    pub(crate) state: Option<HostStanding>,
    pub(crate) rate: Option<(f64, OffsetDateTime)>,
    /// Until when it asked to be left alone.
    pub(crate) held_until: Option<OffsetDateTime>,
    /// Since when its shared inbox is gone; told with every success and failure.
    pub(crate) gone_since: Option<OffsetDateTime>,
}

/// The columns of a host's breaker, written together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HostStanding {
    pub(crate) state: &'static str,
    pub(crate) failing_since: Option<OffsetDateTime>,
    pub(crate) next_probe_at: Option<OffsetDateTime>,
    pub(crate) probe_interval: Option<f64>,
    pub(crate) failed_days: Vec<Date>,
    pub(crate) last_probe_activity_id: Option<i64>,
    pub(crate) unavailable_since: Option<OffsetDateTime>,
}

/// What one round of writing holds. Outcomes first, then hosts, then what is to be cleared. What a
/// host's new state means for its rows is done afterwards by another task: giving up a million of
/// them takes minutes, and nobody else's outcomes wait for that.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) records: Vec<Record>,
    pub(crate) hosts: Vec<HostNote>,
    /// Hosts whose backlog may be empty, with the engine's count of what it parked there.
    pub(crate) clear: Vec<(Arc<str>, u64)>,
}

impl Round {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.hosts.is_empty() && self.clear.is_empty()
    }
}

/// What came of a round.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) records: Vec<Record>,
    /// False: the rows stayed as they were.
    pub(crate) durable: bool,
    /// Waiting rows that became due.
    pub(crate) released: i64,
    /// Hosts without a backlog now, with the count they were asked with.
    pub(crate) cleared: Vec<(Arc<str>, u64)>,
    /// States of hosts that their rows are to follow now.
    pub(crate) standings: Vec<(Arc<str>, &'static str)>,
}

/// Writes a round down; tries again while the database is away.
pub(crate) async fn write(pool: &PgPool, clock: &Clock, post: &Post, mut round: Round) -> Written {
    // Always in the same order, so that two processes do not lock each other out.
    round.records.sort_by_key(|record| record.item.pair());
    let mut written = Written::default();
    if !round.records.is_empty() {
        let mut patience = Patience::new("outcomes", round.records.len());
        while !written.durable {
            match outcomes(pool, clock.now(), post, &round.records).await {
                Ok(released) => (written.durable, written.released) = (true, released),
                Err(error) if patience.lasts(&error).await => {}
                Err(_) => break,
            }
        }
    }
    if !round.hosts.is_empty() {
        let mut patience = Patience::new("notes about hosts", round.hosts.len());
        while let Err(error) = super::host_rows::note(pool, clock.now(), &round.hosts).await {
            if !patience.lasts(&error).await {
                break;
            }
        }
        let standings = round.hosts.iter().filter_map(|note| {
            let standing = note.state.as_ref()?;
            Some((Arc::clone(&note.host), standing.state))
        });
        written.standings = standings.collect();
    }
    if !round.clear.is_empty() {
        let mut patience = Patience::new("empty backlogs", round.clear.len());
        loop {
            match clear(pool, &round.clear).await {
                Ok(cleared) => break written.cleared = cleared,
                Err(error) if patience.lasts(&error).await => {}
                Err(_) => break,
            }
        }
    }
    written.records = round.records;
    written
}

/// Has the rows of hosts follow their new states; tries again while the database is away.
pub(crate) async fn follow(
    pool: &PgPool,
    clock: &Clock,
    post: &Post,
    standings: &[(Arc<str>, &'static str)],
) {
    let mut patience = Patience::new("states of hosts", standings.len());
    while let Err(error) = super::host_rows::follow(pool, clock.now(), post, standings).await {
        if !patience.lasts(&error).await {
            return;
        }
    }
}

/// How often and when a write is tried again.
struct Patience {
    what: &'static str,
    rows: usize,
    pause: Duration,
    tries: u32,
}

impl Patience {
    const fn new(what: &'static str, rows: usize) -> Self {
        Self {
            what,
            rows,
            pause: PAUSE.0,
            tries: 0,
        }
    }

    /// Waits after an error. False: it failed too often for another reason than that the database
    /// is away.
    async fn lasts(&mut self, error: &StoreError) -> bool {
        tracing::warn!(%error, rows = self.rows, what = self.what, "cannot be written yet");
        self.tries += u32::from(!matches!(error, StoreError::Unavailable(_)));
        if self.tries >= TRIES {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        true
    }
}

async fn clear(
    pool: &PgPool,
    asked: &[(Arc<str>, u64)],
) -> Result<Vec<(Arc<str>, u64)>, StoreError> {
    let hosts: Vec<String> = asked.iter().map(|(host, _)| host.to_string()).collect();
    let empty = super::host_rows::clear_backlogs(pool, &hosts).await?;
    let is_empty = |host: &str| empty.iter().any(|name| **name == *host);
    Ok(asked
        .iter()
        .filter(|(host, _)| is_empty(host))
        .cloned()
        .collect())
}

/// Writes all outcomes; returns how many waiting rows were released.
async fn outcomes(
    pool: &PgPool,
    now: OffsetDateTime,
    post: &Post,
    records: &[Record],
) -> Result<i64, StoreError> {
    let mut transaction = begin_steady(pool, ReadOnly::No).await?;
    let (released, dead) = outcomes_in(&mut transaction, now, records).await?;
    let told = !dead.is_empty() && withdraw(&mut transaction, post, &dead).await?;
    transaction.commit().await?;
    if told {
        post.outbox.wake();
    }
    Ok(released)
}

/// Returns how many waiting rows were released, and the activities of which a row died: an outcome
/// that changes nothing, because the row had its end before or never was, takes nothing back.
async fn outcomes_in(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    records: &[Record],
) -> Result<(i64, Vec<i64>), StoreError> {
    let column = |read: fn(&Record) -> i64| records.iter().map(read).collect::<Vec<i64>>();
    let flag = |read: fn(&Outcome) -> bool| {
        let rows = records.iter().map(|record| read(&record.outcome));
        rows.collect::<Vec<bool>>()
    };
    let activities = column(|record| record.item.activity_id);
    let ended = first_ends(records);
    let not_before = records.iter().map(|record| match &record.outcome.fate {
        // What it waits for ends with this very statement, which releases only what was parked
        // before it.
        Fate::Later {
            reason: "order", ..
        } if is_behind(record, &ended) => Some(now),
        Fate::Later { after, .. } => Some(now + *after),
        _ => None,
    });
    let fates = || records.iter().map(|record| &record.outcome.fate);
    let written = sqlx::query_as(WRITE)
        .bind(&activities)
        .bind(column(|record| record.item.inbox_id))
        .bind(fates().map(Fate::state).collect::<Vec<_>>())
        .bind(fates().map(Fate::reason).collect::<Vec<_>>())
        .bind(flag(|outcome| outcome.attempted))
        .bind(flag(|outcome| outcome.own_failure))
        .bind(flag(|outcome| outcome.touched))
        .bind(not_before.collect::<Vec<_>>())
        .bind(
            records
                .iter()
                .map(|record| record.outcome.status.map(i32::from))
                .collect::<Vec<_>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| record.outcome.error.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(now)
        .fetch_one(connection)
        .await?;
    Ok(written)
}

/// The first place of each order key at each host that has its end among these.
fn first_ends(records: &[Record]) -> HashMap<(&str, &str), i64> {
    let mut ended = HashMap::new();
    for record in records {
        if record.outcome.fate.is_end() {
            let place = &record.item.place;
            let first = ended
                .entry((&*place.host, &*place.order_key))
                .or_insert(place.seq);
            *first = place.seq.min(*first);
        }
    }
    ended
}

fn is_behind(record: &Record, ended: &HashMap<(&str, &str), i64>) -> bool {
    let place = &record.item.place;
    ended
        .get(&(&*place.host, &*place.order_key))
        .is_some_and(|first| *first < place.seq)
}

/// Rows that are parked without a time mark their host in the same statement: no row can wait
/// for a host that nobody looks at.
pub(super) const WRITE: &str = "
with outcome as (
    select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::boolean[],
                         $6::boolean[], $7::boolean[], $8::timestamptz[], $9::int[], $10::text[])
        as o(activity_id, inbox_id, state, reason, attempted, own_failure, touched, not_before,
             status, error)
    -- Always true. The planner takes it for rare and looks up row by row; expecting many, it reads
    -- through the whole table of a young instance instead.
    where o.activity_id + 0 = o.activity_id
), written as (
    update deliveries d
    set state = o.state, reason = o.reason, attempts = d.attempts + o.attempted::int,
        own_failures = d.own_failures + o.own_failure::int, touched = d.touched or o.touched,
        -- What it waits for may have ended while this was on its way here: then its turn is now.
        not_before = case
            when coalesce(o.reason, '') = 'order' and o.not_before > $11 + interval '5 seconds'
                 and not exists (
                     select 1 from deliveries p
                     where p.order_key = d.order_key and p.host = d.host and p.seq < d.seq
                       and coalesce(p.state in ('queued', 'parked'), false))
            then $11 else o.not_before end,
        last_status = case when o.attempted then o.status else d.last_status end,
        -- Any other answer ends it, and so does waiting for the host.
        refused_since = case when o.state = 'parked' and o.not_before is null then null
                             when not o.attempted then d.refused_since
                             when o.status = 429 then coalesce(d.refused_since, $11) end,
        last_error = case when o.attempted then o.error else d.last_error end,
        updated_at = $11
    from outcome o
    where d.activity_id = o.activity_id and d.inbox_id = o.inbox_id
      and d.state in ('queued', 'parked')
    returning d.order_key, d.host, d.shard, d.seq, d.state, d.not_before, d.activity_id, d.reason
), released as (
    update deliveries w set not_before = $11, updated_at = $11
    from (
        select f.*, last.id as last_id
        from (select order_key, host, min(seq) as seq, min(activity_id) as first_id from written
              where state <> 'parked' group by order_key, host) f
        -- Mostly there is none, and then no partition is looked into (see the other statement).
        cross join lateral (
            select l.id from activities l where l.order_key = f.order_key and l.seq > f.seq
            order by l.seq desc limit 1) last
        offset 0) f
    where w.activity_id >= f.first_id - (3600000::bigint << 16)
      and w.activity_id <= f.last_id + (3600000::bigint << 16)
      and w.order_key = f.order_key and w.host = f.host and w.seq > f.seq
      and w.state <> 'queued' and w.reason = 'order' and w.not_before > $11
      and coalesce(w.state in ('queued', 'parked'), false)
    returning 1
), marked as (
    insert into hosts (host, shard, backlog)
    select distinct host, shard, true from written
    where state = 'parked' and not_before is null
    order by host
    on conflict (host) do update set backlog = true, shard = excluded.shard
        where not hosts.backlog or hosts.shard is distinct from excluded.shard
    returning 1
)
select (select count(*) from released) + 0 * (select count(*) from marked),
       array(select distinct activity_id from written where state = 'dead')";
