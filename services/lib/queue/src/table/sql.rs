//! The statements of the embedded queue. Each is one short transaction of its own.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use crate::QueueStats;

/// A message as claimed; the payload is still to be read.
#[derive(sqlx::FromRow)]
pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) queue: String,
    pub(super) payload: String,
    pub(super) deliveries: i32,
}

pub(super) async fn insert(
    pool: &PgPool,
    queues: &[String],
    payloads: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into queue_messages (queue, payload)
         select queue, payload::jsonb from unnest($1::text[], $2::text[]) as t (queue, payload)",
    )
    .bind(queues)
    .bind(payloads)
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes up to `limit` messages. Each queue is probed by its own index range, in the order
/// given and only until the limit is reached; one scan over all queues would have to sort the
/// whole backlog. The caller rotates the order, so that no queue starves the others.
pub(super) async fn claim(
    pool: &PgPool,
    queues: &[String],
    limit: i64,
    holder: Uuid,
    visibility: Duration,
) -> Result<Vec<Claimed>, sqlx::Error> {
    sqlx::query_as(
        "with ready as materialized (
             select message.id
             from unnest($1::text[]) with ordinality as wanted (queue, place)
             cross join lateral (
                 select id from queue_messages
                 where queue = wanted.queue and visible_at <= now()
                 order by visible_at, id
                 limit $2
                 for update skip locked
             ) as message
             limit $2
         )
         update queue_messages as message
         set holder = $3,
             visible_at = now() + make_interval(secs => $4),
             deliveries = message.deliveries + 1
         from ready
         where message.id = ready.id
         returning message.id, message.queue, message.payload::text as payload,
                   message.deliveries",
    )
    .bind(queues)
    .bind(limit)
    .bind(holder)
    .bind(visibility.as_secs_f64())
    .fetch_all(pool)
    .await
}

/// Which of the queues have a message that can be taken: one probe of an index each.
pub(super) async fn with_messages(
    pool: &PgPool,
    queues: &[String],
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select wanted.queue from unnest($1::text[]) as wanted (queue)
         where exists (select 1 from queue_messages
                       where queue = wanted.queue and visible_at <= now())",
    )
    .bind(queues)
    .fetch_all(pool)
    .await
}

/// Keeps messages in hand invisible.
pub(super) async fn extend(
    pool: &PgPool,
    ids: &[i64],
    holder: Uuid,
    visibility: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update queue_messages set visible_at = now() + make_interval(secs => $3)
         where id = any($1) and holder = $2",
    )
    .bind(ids)
    .bind(holder)
    .bind(visibility.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

/// Removes messages that are still the holder's.
pub(super) async fn ack(pool: &PgPool, ids: &[i64], holder: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from queue_messages where id = any($1) and holder = $2")
        .bind(ids)
        .bind(holder)
        .execute(pool)
        .await?;
    Ok(())
}

/// Returns messages, each after its own delay in seconds.
pub(super) async fn give_back(
    pool: &PgPool,
    ids: &[i64],
    delays: &[f64],
    holder: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update queue_messages as message
         set holder = null, visible_at = now() + make_interval(secs => t.delay)
         from unnest($1::bigint[], $2::float8[]) as t (id, delay)
         where message.id = t.id and message.holder = $3",
    )
    .bind(ids)
    .bind(delays)
    .bind(holder)
    .execute(pool)
    .await?;
    Ok(())
}

/// Moves messages to the dead ones; both changes or neither.
pub(super) async fn bury(
    pool: &PgPool,
    ids: &[i64],
    reasons: &[String],
    holder: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with gone as (
             delete from queue_messages where id = any($1) and holder = $3
             returning id, queue, payload
         )
         insert into dead_messages (queue, payload, reason)
         select gone.queue, gone.payload, t.reason
         from gone join unnest($1::bigint[], $2::text[]) as t (id, reason) on t.id = gone.id",
    )
    .bind(ids)
    .bind(reasons)
    .bind(holder)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn stats(
    pool: &PgPool,
    queues: &[String],
) -> Result<Vec<QueueStats>, sqlx::Error> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select wanted.queue,
                count(message.id) filter (where message.holder is null or message.visible_at <= now()),
                count(message.id) filter (where message.holder is not null and message.visible_at > now())
         from unnest($1::text[]) with ordinality as wanted (queue, place)
         left join queue_messages as message on message.queue = wanted.queue
         group by wanted.queue, wanted.place
         order by wanted.place",
    )
    .bind(queues)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(queue, ready, unacked)| QueueStats {
            queue,
            ready: ready.unsigned_abs(),
            unacked: unacked.unsigned_abs(),
        })
        .collect())
}
