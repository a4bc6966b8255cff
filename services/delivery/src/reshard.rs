//! Another number of shards: every row that may still be sent, and every host, gets the shard
//! that the new number gives it. Only while nobody delivers (`docs/operating-shards.md`).
//!
//! Each step is a short statement and may be repeated: a change that was interrupted is finished
//! by the same command. Until then nobody starts.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tidegate_model::{Lane, Queues, shard_of};
use tidegate_store::StoreError;
use tidegate_store::shards::{self, Shards};

use crate::lease;

/// Hosts looked at together.
const HOSTS: i64 = 500;

/// Rows moved by one statement: half a second, well below the limit of a statement.
const ROWS: i64 = 5_000;

/// How long a worker that does not say so any more counts as alive: as long as a lease that it
/// took last, with which it may be sending. A longer one counts for itself, by its row.
const ALIVE: Duration = lease::LENGTH;

/// What was moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resharded {
    /// Rows of deliveries with another shard than before.
    pub rows: u64,
    /// Hosts with another shard than before.
    pub hosts: u64,
    /// Queues that nobody consumes any more.
    pub old_queues: Vec<String>,
}

/// Why the number was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ReshardError {
    /// Somebody may be sending.
    #[error(
        "{0} delivery workers are alive: end every process with the delivery role first; one that \
         was killed counts for {alive} s more",
        alive = ALIVE.as_secs()
    )]
    Busy(i64),
    /// The database did not do it; the same command goes on from there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ReshardError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Changes the number of shards to that of `queues`.
pub async fn change_shards(pool: &PgPool, queues: &Queues) -> Result<Resharded, ReshardError> {
    let count = queues.shards();
    begin(pool, count).await?;
    let mut done = Resharded {
        rows: move_all(pool, count, HOSTS_OF_ROWS, MOVE_ROWS).await?,
        hosts: move_all(pool, count, HOSTS_WITH_SHARDS, MOVE_HOSTS).await?,
        old_queues: Vec::new(),
    };
    let mut transaction = tidegate_store::begin(pool).await?;
    done.old_queues = drop_old_queues(&mut transaction, queues).await?;
    let shards = Shards {
        count,
        changing: false,
    };
    shards::set(&mut transaction, shards).await?;
    transaction.commit().await?;
    Ok(done)
}

/// Marks the change as begun; from then on nobody claims a lease or writes a row.
async fn begin(pool: &PgPool, count: u32) -> Result<(), ReshardError> {
    let mut transaction = tidegate_store::begin(pool).await?;
    shards::lock(&mut transaction).await?;
    let alive: i64 = sqlx::query_scalar(
        "select count(*) from (
             select id from delivery_workers where seen_at > now() - make_interval(secs => $1)
             union
             select holder from shard_leases where holder is not null and expires_at > now()) w",
    )
    .bind(ALIVE.as_secs_f64())
    .fetch_one(&mut *transaction)
    .await?;
    if alive > 0 {
        return Err(ReshardError::Busy(alive));
    }
    let shards = Shards {
        count,
        changing: true,
    };
    shards::set(&mut transaction, shards).await?;
    transaction.commit().await?;
    Ok(())
}

/// A page of host names after one; none: that was all.
async fn page(
    pool: &PgPool,
    statement: &'static str,
    after: &str,
) -> Result<Option<Vec<String>>, StoreError> {
    let hosts: Vec<String> = sqlx::query_scalar(statement)
        .bind(after)
        .bind(HOSTS)
        .fetch_all(pool)
        .await?;
    Ok((!hosts.is_empty()).then_some(hosts))
}

/// Does this for every page of hosts with their new shards, as often as it still moves something;
/// returns how much was moved.
async fn move_all(
    pool: &PgPool,
    count: u32,
    hosts: &'static str,
    statement: &'static str,
) -> Result<u64, StoreError> {
    let (mut after, mut moved) = (String::new(), 0);
    while let Some(hosts) = page(pool, hosts, &after).await? {
        let shards = numbers(&hosts, count);
        loop {
            let rows = sqlx::query(statement)
                .bind(&hosts)
                .bind(&shards)
                .bind(ROWS)
                .execute(pool)
                .await?
                .rows_affected();
            moved += rows;
            if rows == 0 {
                break;
            }
        }
        after = hosts.into_iter().next_back().unwrap_or_default();
    }
    Ok(moved)
}

/// Hosts of rows that are not over, by name.
const HOSTS_OF_ROWS: &str = "
select distinct host from deliveries
where host > $1 and coalesce(state in ('queued', 'parked', 'dead'), false)
order by host limit $2";

/// Rows whose message is with a queue of the old number become parked and due at once: their new
/// owner takes them from the database in order, at its own pace, and their messages find nothing
/// to do. A row without a message belongs to a planner that will go on and publish it.
const MOVE_ROWS: &str = "
with moving as materialized (
    select d.activity_id, d.inbox_id, t.shard,
           d.state = 'queued'
             and (d.published_at is not null or a.published_at is not null) as has_message
    from unnest($1::text[], $2::int[]) as t(host, shard)
    join deliveries d on d.host = t.host and d.shard <> t.shard
    join activities a on a.id = d.activity_id
    where coalesce(d.state in ('queued', 'parked', 'dead'), false)
    limit $3 for update of d)
update deliveries d
set shard = m.shard,
    state = case when m.has_message then 'parked' else d.state end,
    reason = case when m.has_message then 'shards' else d.reason end,
    not_before = case when m.has_message then now() else d.not_before end,
    updated_at = now()
from moving m
where d.activity_id = m.activity_id and d.inbox_id = m.inbox_id";

/// Hosts that have a shard, by name.
const HOSTS_WITH_SHARDS: &str = "
select host from hosts where host > $1 and shard is not null order by host limit $2";

const MOVE_HOSTS: &str = "
with moving as materialized (
    select t.host, t.shard from unnest($1::text[], $2::int[]) as t(host, shard)
    join hosts h on h.host = t.host and h.shard <> t.shard
    limit $3)
update hosts h set shard = m.shard, updated_at = now()
from moving m where h.host = m.host";

fn numbers(hosts: &[String], count: u32) -> Vec<i32> {
    let shards = hosts.iter().map(|host| shard_of(host, count));
    shards.map(u32::cast_signed).collect()
}

/// Names the queues above the new number and forgets what the database holds for them. The rows
/// of those messages have moved; on a broker the operator deletes the queues.
async fn drop_old_queues(
    connection: &mut PgConnection,
    queues: &Queues,
) -> Result<Vec<String>, StoreError> {
    let count = queues.shards();
    let old: Vec<i32> =
        sqlx::query_scalar("delete from shard_leases where shard >= $1 returning shard")
            .bind(count.cast_signed())
            .fetch_all(&mut *connection)
            .await?;
    let mut names: Vec<String> = old
        .into_iter()
        .filter_map(|shard| u32::try_from(shard).ok())
        .flat_map(|shard| Lane::ALL.map(|lane| queues.deliver(lane, shard)))
        .collect();
    names.sort_unstable();
    for statement in [
        "delete from queue_messages where queue = any($1)",
        "delete from deferred_messages where queue = any($1)",
        "delete from outbox where queue = any($1)",
    ] {
        sqlx::query(statement)
            .bind(&names)
            .execute(&mut *connection)
            .await?;
    }
    Ok(names)
}
