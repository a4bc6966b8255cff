//! The rows of `hosts`: what the owner of a shard writes down, and what others want of it.

use std::sync::Arc;

use sqlx::PgPool;
use tidegate_store::{ReadOnly, StoreError, begin_steady};
use time::{Date, OffsetDateTime};

use super::dead_follows::{Post, withdraw};
use super::recorder::HostNote;

/// Writes what was learnt about hosts. What it means for their rows is done by [`follow`].
pub(super) async fn note(
    pool: &PgPool,
    now: OffsetDateTime,
    notes: &[HostNote],
) -> Result<(), StoreError> {
    let (plain, special): (Vec<&HostNote>, Vec<&HostNote>) = notes
        .iter()
        .partition(|note| note.state.is_none() && note.rate.is_none() && note.held_until.is_none());
    note_plain(pool, now, plain).await?;
    for note in special {
        let standing = note.state.as_ref();
        sqlx::query(NOTE)
            .bind(&*note.host)
            .bind(i32::try_from(note.shard).unwrap_or(0))
            .bind(note.signature)
            .bind(note.succeeded_at)
            .bind(note.failed.as_ref().map(|(at, _)| *at))
            .bind(note.failed.as_ref().map(|(_, error)| error.as_str()))
            .bind(standing.map(|standing| standing.state))
            .bind(standing.and_then(|standing| standing.failing_since))
            .bind(standing.and_then(|standing| standing.next_probe_at))
            .bind(standing.and_then(|standing| standing.probe_interval))
            .bind(standing.map_or(&[] as &[Date], |standing| &standing.failed_days))
            .bind(standing.and_then(|standing| standing.last_probe_activity_id))
            .bind(standing.and_then(|standing| standing.unavailable_since))
            .bind(note.rate.map(|(rate, _)| rate))
            .bind(note.rate.map(|(_, until)| until))
            .bind(now)
            .bind(note.held_until)
            .execute(pool)
            .await?;
    }
    Ok(())
}

/// Moves the rows of hosts whose state changed to where that puts them, unless it changed again.
pub(super) async fn follow(
    pool: &PgPool,
    now: OffsetDateTime,
    post: &Post,
    standings: &[(Arc<str>, &'static str)],
) -> Result<(), StoreError> {
    for (host, state) in standings {
        match *state {
            "failing" => wait_for_host(pool, host).await?,
            "unavailable" => give_up(pool, post, host, now).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Successes and failures of many hosts in one statement; of two about one host the later counts.
async fn note_plain(
    pool: &PgPool,
    now: OffsetDateTime,
    mut notes: Vec<&HostNote>,
) -> Result<(), StoreError> {
    if notes.is_empty() {
        return Ok(());
    }
    notes.reverse();
    notes.sort_by(|a, b| a.host.cmp(&b.host));
    notes.dedup_by(|a, b| a.host == b.host);
    sqlx::query(NOTE_PLAIN)
        .bind(notes.iter().map(|note| &*note.host).collect::<Vec<_>>())
        .bind(
            notes
                .iter()
                .map(|note| note.shard as i32)
                .collect::<Vec<_>>(),
        )
        .bind(notes.iter().map(|note| note.signature).collect::<Vec<_>>())
        .bind(
            notes
                .iter()
                .map(|note| note.succeeded_at)
                .collect::<Vec<_>>(),
        )
        .bind(
            notes
                .iter()
                .map(|note| note.failed.as_ref().map(|(at, _)| *at))
                .collect::<Vec<_>>(),
        )
        .bind(
            notes
                .iter()
                .map(|note| note.failed.as_ref().map(|(_, error)| error.as_str()))
                .collect::<Vec<_>>(),
        )
        .bind(now)
        .bind(notes.iter().map(|note| note.gone_since).collect::<Vec<_>>())
        .execute(pool)
        .await?;
    Ok(())
}

const NOTE_PLAIN: &str = "
insert into hosts as h (host, shard, signature, last_success_at, last_failure_at, last_error,
                        updated_at, gone_since)
select host, shard, coalesce(signature, 'cavage'), succeeded_at, failed_at, error, $7, gone_since
from unnest($1::text[], $2::int[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[],
            $8::timestamptz[])
    as n(host, shard, signature, succeeded_at, failed_at, error, gone_since)
order by host
on conflict (host) do update set
    shard = excluded.shard,
    signature = case when excluded.last_success_at is null then h.signature
                     else excluded.signature end,
    last_success_at = coalesce(excluded.last_success_at, h.last_success_at),
    last_failure_at = coalesce(excluded.last_failure_at, h.last_failure_at),
    last_error = coalesce(excluded.last_error, h.last_error),
    gone_since = excluded.gone_since,
    updated_at = excluded.updated_at";

const NOTE: &str = "
insert into hosts as h (host, shard, signature, last_success_at, last_failure_at, last_error, state,
                   failing_since, next_probe_at, probe_interval, failed_days,
                   last_probe_activity_id, unavailable_since, rate, rate_until, updated_at,
                   held_until)
values ($1, $2, coalesce($3, 'cavage'), $4, $5, $6, coalesce($7, 'ok'), $8, $9, $10, $11, $12,
        $13, $14, $15, $16, $17)
on conflict (host) do update set
    shard = excluded.shard,
    signature = coalesce($3, h.signature),
    last_success_at = coalesce($4, h.last_success_at),
    last_failure_at = coalesce($5, h.last_failure_at),
    last_error = coalesce($6, h.last_error),
    state = coalesce($7, h.state),
    failing_since = case when $7::text is null then h.failing_since else $8 end,
    next_probe_at = case when $7::text is null then h.next_probe_at else $9 end,
    probe_interval = case when $7::text is null then h.probe_interval else $10 end,
    failed_days = case when $7::text is null then h.failed_days else $11 end,
    last_probe_activity_id = case when $7::text is null then h.last_probe_activity_id else $12 end,
    -- The engine may not know it any more: a host that is given up once more was given up before.
    unavailable_since = case when $7::text is null then h.unavailable_since
                             when $7 = 'unavailable' then coalesce($13, h.unavailable_since) end,
    rate = case when $14::float8 is null then h.rate else $14 end,
    rate_until = case when $14::float8 is null then h.rate_until else $15 end,
    held_until = coalesce($17, h.held_until),
    updated_at = $16";

/// Everything that waits for a time of its own waits for the host instead.
async fn wait_for_host(pool: &PgPool, host: &str) -> Result<(), StoreError> {
    let mut transaction = begin_steady(pool, ReadOnly::No).await?;
    sqlx::query(
        "with moved as (
             update deliveries set not_before = null, reason = 'host', refused_since = null
             where host = $1 and state not in ('queued', 'dead') and not_before is not null
               and coalesce(state in ('queued', 'parked', 'dead'), false)
               and exists (select 1 from hosts h where h.host = $1 and h.state = 'failing')
             returning 1)
         update hosts set backlog = true
         where host = $1 and not backlog and exists (select 1 from moved)",
    )
    .bind(host)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Rows of one statement that gives up a host's work.
const GIVE_UP: i64 = 5_000;

/// What waits for an unavailable host becomes dead letters.
async fn give_up(
    pool: &PgPool,
    post: &Post,
    host: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    loop {
        let mut transaction = begin_steady(pool, ReadOnly::No).await?;
        let dead: Vec<i64> = sqlx::query_scalar(
            "with doomed as materialized (
                 select activity_id, inbox_id from deliveries
                 where host = $1 and state = 'parked'
                   and coalesce(state in ('queued', 'parked', 'dead'), false)
                   and exists (select 1 from hosts h
                               where h.host = $1 and h.state = 'unavailable')
                 limit $2)
             update deliveries d
             set state = 'dead', reason = 'unavailable', not_before = null, updated_at = $3
             from doomed
             where d.activity_id = doomed.activity_id and d.inbox_id = doomed.inbox_id
             returning d.activity_id",
        )
        .bind(host)
        .bind(GIVE_UP)
        .bind(now)
        .fetch_all(&mut *transaction)
        .await?;
        let told = withdraw(&mut transaction, post, &dead).await?;
        transaction.commit().await?;
        if told {
            post.outbox.wake();
        }
        if (dead.len() as i64) < GIVE_UP {
            break;
        }
    }
    clear_backlogs(pool, &[host.to_owned()]).await?;
    Ok(())
}

/// Takes the mark off hosts for which nothing waits any more; returns them.
pub(super) async fn clear_backlogs(
    pool: &PgPool,
    hosts: &[String],
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "update hosts h set backlog = false
         where h.host = any($1)
           and not exists (select 1 from deliveries d
                           where d.host = h.host and d.state = 'parked' and d.not_before is null)
         returning h.host",
    )
    .bind(hosts)
    .fetch_all(pool)
    .await?)
}

/// A host as its row says.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct HostRow {
    pub(crate) host: String,
    pub(crate) shard: i32,
    pub(crate) state: String,
    pub(crate) backlog: bool,
    pub(crate) paused: bool,
    pub(crate) failing_since: Option<OffsetDateTime>,
    pub(crate) next_probe_at: Option<OffsetDateTime>,
    pub(crate) probe_interval: Option<f64>,
    pub(crate) failed_days: Vec<Date>,
    pub(crate) last_probe_activity_id: Option<i64>,
    pub(crate) unavailable_since: Option<OffsetDateTime>,
    pub(crate) last_success_at: Option<OffsetDateTime>,
    pub(crate) steered_at: Option<OffsetDateTime>,
    pub(crate) gone_since: Option<OffsetDateTime>,
}

macro_rules! host_columns {
    ($rest:literal) => {
        concat!(
            "select host, coalesce(shard, -1) as shard, state, backlog, paused_at is not null as paused, failing_since,
                    next_probe_at, probe_interval, failed_days, last_probe_activity_id,
                    unavailable_since, last_success_at, steered_at, gone_since
             from hosts ",
            $rest
        )
    };
}

/// Failing and unavailable hosts of these shards that are due to be tried.
pub(super) async fn due(
    pool: &PgPool,
    shards: &[i32],
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<HostRow>, StoreError> {
    Ok(sqlx::query_as(host_columns!(
        "where shard = any($1) and next_probe_at <= $2 and state <> 'ok' and paused_at is null
         order by next_probe_at limit $3"
    ))
    .bind(shards)
    .bind(now)
    .bind(limit)
    .fetch_all(pool)
    .await?)
}

/// Healthy hosts of these shards for which rows wait, after `after` by name.
pub(super) async fn with_backlog(
    pool: &PgPool,
    shards: &[i32],
    after: &str,
    limit: i64,
) -> Result<Vec<HostRow>, StoreError> {
    Ok(sqlx::query_as(host_columns!(
        "where shard = any($1) and backlog and state = 'ok' and paused_at is null and host > $2
         order by host limit $3"
    ))
    .bind(shards)
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?)
}

/// A server whose state this is: the host itself, or one of those that share it.
pub(super) async fn server_of(pool: &PgPool, host: &str) -> Result<String, StoreError> {
    let sharing: Option<String> =
        sqlx::query_scalar("select host from inboxes where state_host = $1 limit 1")
            .bind(host)
            .fetch_optional(pool)
            .await?;
    Ok(sharing.unwrap_or_else(|| host.to_owned()))
}

/// What is read again with every look at steered hosts: a change is seen only when its
/// transaction has ended, which statements of 15 s at most take.
const STEERED_AGAIN: time::Duration = time::Duration::seconds(20);

/// Pages of one look at steered hosts: with 200 rows each, as many hosts as an engine remembers.
const STEERED_PAGES: usize = 100;

/// Hosts that somebody else touched since `since`, all by the database's clock; and its time. An
/// operator may touch thousands at once, so they are read in pages.
pub(super) async fn steered(
    pool: &PgPool,
    since: Option<OffsetDateTime>,
    page: i64,
) -> Result<(Vec<HostRow>, OffsetDateTime), StoreError> {
    let read_at: OffsetDateTime = sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(pool)
        .await?;
    let mut after = (since.unwrap_or(read_at) - STEERED_AGAIN, String::new());
    let mut rows: Vec<HostRow> = Vec::new();
    for _ in 0..STEERED_PAGES {
        let found: Vec<HostRow> = sqlx::query_as(host_columns!(
            "where steered_at >= $1 and (steered_at, host) > ($1, $2)
             order by steered_at, host limit $3"
        ))
        .bind(after.0)
        .bind(&after.1)
        .bind(page)
        .fetch_all(pool)
        .await?;
        let is_last = (found.len() as i64) < page;
        if let Some(last) = found.last() {
            after = (last.steered_at.unwrap_or(read_at), last.host.clone());
        }
        rows.extend(found);
        if is_last {
            break;
        }
    }
    Ok((rows, read_at))
}

/// The name as the engine holds it.
pub(super) fn name(row: &HostRow) -> Arc<str> {
    row.host.as_str().into()
}
