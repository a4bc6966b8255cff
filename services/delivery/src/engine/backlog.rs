//! What waits in PostgreSQL: rows whose time has come, rows whose host may take them again, and
//! the one row with which a failing host is tried. The owner of a shard reads them and sends
//! them as they are; they stay `parked` until they have an outcome, so that a crash loses
//! nothing and repeats nothing.

use sqlx::PgPool;
use tidegate_store::{ReadOnly, StoreError, begin_steady};
use time::OffsetDateTime;

/// Pairs of (activity, inbox).
pub(super) type Pairs = Vec<(i64, i64)>;

/// Parked rows of these shards whose time has come, oldest first, shard by shard and at most as
/// many as is said with it. What such a row waits for although its status was deleted becomes due
/// too: it will be cancelled, and must not hold the Delete back until the end of its own retries.
pub(super) async fn timed(
    pool: &PgPool,
    shards: &[(i32, i64)],
    now: OffsetDateTime,
) -> Result<Pairs, StoreError> {
    let (shards, limits): (Vec<i32>, Vec<i64>) = shards.iter().copied().unzip();
    let mut transaction = begin_steady(pool, ReadOnly::No).await?;
    let pairs = sqlx::query_as(
        "with due as materialized (
             select row.*
             from unnest($1::int[], $3::bigint[]) as wanted(shard, most)
             cross join lateral (
                 select activity_id, inbox_id, not_before, order_key, host, seq, reason
                 from deliveries
                 where shard = wanted.shard and state = 'parked' and not_before <= $2
                 order by not_before limit wanted.most
             ) as row
         ), hastened as (
             update deliveries p set not_before = $2
             from due
             where due.reason = 'order' and p.order_key = due.order_key and p.host = due.host
               and p.seq < due.seq and p.state <> 'queued' and p.not_before > $2
              and coalesce(p.state in ('queued', 'parked'), false)
               and exists (select 1 from activities a join statuses s on s.id = a.status_id
                           where a.id = p.activity_id and s.deleted_at is not null
                             and a.kind in ('Create', 'Update', 'Announce'))
             returning p.activity_id, p.inbox_id, p.not_before
         )
         select activity_id, inbox_id from (
             select activity_id, inbox_id, not_before from hastened
             union
             select activity_id, inbox_id, not_before from due) as found
         order by not_before, activity_id",
    )
    .bind(shards)
    .bind(now)
    .bind(limits)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(pairs)
}

/// The first rows that wait for each of these hosts, as many as is said with it: host by host,
/// urgent lanes first, within a lane in the order in which they were committed.
pub(super) async fn of_hosts(
    pool: &PgPool,
    limits: impl Iterator<Item = (&str, usize)>,
) -> Result<Pairs, StoreError> {
    let (hosts, limits): (Vec<&str>, Vec<i64>) = limits
        .map(|(host, limit)| (host, i64::try_from(limit).unwrap_or(i64::MAX)))
        .unzip();
    let mut snapshot = begin_steady(pool, ReadOnly::Yes).await?;
    let pairs = sqlx::query_as(OF_HOSTS)
        .bind(hosts)
        .bind(limits)
        .fetch_all(&mut *snapshot)
        .await?;
    snapshot.commit().await?;
    Ok(pairs)
}

/// Lane by lane from an index that has each in order, so that a host with a million rows costs
/// what one with a dozen does.
pub(super) const OF_HOSTS: &str = "
select found.activity_id, found.inbox_id
from unnest($1::text[], $2::bigint[]) with ordinality as wanted(host, most, place)
cross join lateral (
    select waiting.activity_id, waiting.inbox_id, lanes.place
    from unnest(array['now', 'bulk', 'slow']) with ordinality as lanes(lane, place)
    cross join lateral (
        select activity_id, inbox_id from deliveries
        where host = wanted.host and lane = lanes.lane and state = 'parked' and not_before is null
        order by activity_id limit wanted.most
    ) as waiting
    order by lanes.place, waiting.activity_id
    limit wanted.most
) as found
order by wanted.place, found.place, found.activity_id";

/// Rows with which a failing host may be tried: the first of each order key, urgent lanes first,
/// and the activity of the last probe only when there is no other.
pub(super) async fn for_probe(
    pool: &PgPool,
    host: &str,
    last_activity_id: Option<i64>,
) -> Result<Pairs, StoreError> {
    let mut snapshot = begin_steady(pool, ReadOnly::Yes).await?;
    let pairs = sqlx::query_as(
        "select waiting.activity_id, waiting.inbox_id
         from unnest(array['now', 'bulk', 'slow']) with ordinality as lanes(lane, place)
         cross join lateral (
             select activity_id, inbox_id, order_key, seq from deliveries
             where host = $1 and lane = lanes.lane and state = 'parked' and not_before is null
             order by activity_id limit 20
         ) as waiting
         where not exists (
             select 1 from deliveries p
             where p.order_key = waiting.order_key and p.host = $1 and p.seq < waiting.seq
               and coalesce(p.state in ('queued', 'parked'), false))
         order by waiting.activity_id is not distinct from $2, lanes.place, waiting.activity_id
         limit 5",
    )
    .bind(host)
    .bind(last_activity_id)
    .fetch_all(&mut *snapshot)
    .await?;
    snapshot.commit().await?;
    Ok(pairs)
}

/// Marks hosts of these shards for which rows wait although nothing says so, and gives those a
/// probe that fail and have none to come. Normally none: the mark is set in the statement that
/// parks. Costs one probe of an index per host.
pub(super) async fn mark_forgotten(
    pool: &PgPool,
    shards: &[i32],
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let unprobed = sqlx::query(
        "update hosts set next_probe_at = $2
         where shard = any($1) and state = 'failing' and next_probe_at is null and backlog",
    )
    .bind(shards)
    .bind(now)
    .execute(pool)
    .await?
    .rows_affected();
    let unmarked = sqlx::query(
        "with recursive waiting as (
             (select host from deliveries where state = 'parked' and not_before is null
              order by host limit 1)
             union all
             (select (select d.host from deliveries d
                      where d.state = 'parked' and d.not_before is null and d.host > w.host
                      order by d.host limit 1)
              from waiting w where w.host is not null)
         )
         insert into hosts (host, shard, backlog)
         select w.host, d.shard, true
         from waiting w
         cross join lateral (
             select shard from deliveries
             where host = w.host and state = 'parked' and not_before is null limit 1) d
         where w.host is not null and d.shard = any($1)
           and not exists (select 1 from hosts h
                           where h.host = w.host and h.backlog and h.shard = d.shard)
         on conflict (host) do update set backlog = true, shard = excluded.shard",
    )
    .bind(shards)
    .execute(pool)
    .await?
    .rows_affected();
    Ok(unprobed + unmarked)
}

/// Cancels pairs that wait for a host and undo each other (design section 6, "Cancelling
/// pairs"): what a waiting Delete or Undo takes back is cancelled; the Delete or Undo itself is
/// cancelled too when the host cannot know of what it takes back, because not a byte of it was
/// ever sent there. Returns how many rows were cancelled.
pub(super) async fn cancel_pairs(
    pool: &PgPool,
    host: &str,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let mut transaction = begin_steady(pool, ReadOnly::No).await?;
    let cancelled = sqlx::query(CANCEL_PAIRS)
        .bind(host)
        .bind(now)
        .bind(PAIRS)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    transaction.commit().await?;
    Ok(cancelled)
}

/// Withdrawals of one host that one statement looks at.
const PAIRS: i64 = 1_000;

/// A Delete takes back everything earlier in its order key; an Undo takes back the one activity
/// that it names. It is not needless when a byte of anything that is taken back may have reached
/// the host: because an attempt says so, because a process ended whose last attempts nobody wrote
/// down, or because it was sent before rows were kept.
const CANCEL_PAIRS: &str = "
with withdrawing as materialized (
    select d.activity_id, d.inbox_id, d.order_key, d.seq, a.kind, a.body
    from deliveries d join activities a on a.id = d.activity_id
    where d.host = $1 and d.state = 'parked' and a.kind in ('Delete', 'Undo')
      and coalesce(d.state in ('queued', 'parked', 'dead'), false)
    order by d.activity_id limit $3
), taken_back as materialized (
    select w.activity_id as by_activity, w.inbox_id as by_inbox, e.id as activity_id,
           ed.inbox_id, ed.state,
           ed.touched or coalesce(ed.created_at <= (select l.unclean_at from shard_leases l
                                                    where l.shard = ed.shard), false) as touched
    from withdrawing w
    join activities e on e.order_key = w.order_key and e.seq < w.seq
         and e.kind not in ('Delete', 'Undo')
         and (w.kind = 'Delete'
              or position(convert_to(to_json(e.uri)::text, 'UTF8') in w.body) > 0)
    left join lateral (
        select * from deliveries r where r.activity_id = e.id and r.host = $1 offset 0) ed on true
), needless as (
    select w.activity_id, w.inbox_id
    from withdrawing w
    where exists (select 1 from taken_back t
                  where t.by_activity = w.activity_id and t.by_inbox = w.inbox_id
                    and t.state is not null)
      and not exists (select 1 from taken_back t
                      where t.by_activity = w.activity_id and t.by_inbox = w.inbox_id
                        and (t.state is null or t.touched
                             or t.state not in ('parked', 'cancelled')))
)
update deliveries d
set state = 'cancelled', not_before = null, updated_at = $2,
    reason = case when c.needless then 'pair' else 'withdrawn' end
from (
    select activity_id, inbox_id, bool_or(needless) as needless from (
        select activity_id, inbox_id, true as needless from needless
        union all
        select activity_id, inbox_id, false from taken_back where state = 'parked'
    ) c group by activity_id, inbox_id
) c
where d.activity_id = c.activity_id and d.inbox_id = c.inbox_id and d.state = 'parked'";
