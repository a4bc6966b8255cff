//! The statements of the relay. Each is one short transaction of its own. Claims and deletions do
//! not wait for the disk: forgotten in a crash, they make a message that is published twice, as a
//! crash of the relay does.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_store::{LEASE, unwaited};
use uuid::Uuid;

use crate::QueueError;

/// After how many attempts a lease stops doubling: 5 s x 2^4 = 80 s. Longer would only delay
/// what a dead process left behind.
const LEASE_DOUBLINGS: i32 = 4;

/// The longest that a statement may take before the round is given up.
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);

/// A claimed row; its payload is still to be read.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) queue: String,
    pub(super) payload: serde_json::Value,
    pub(super) redeliveries: i32,
}

/// Up to `limit` rows of queues that are not `away`: new ones of `owner`, all of it whose queue
/// is `catching_up`, and any whose lease ran out.
pub(super) async fn claim(
    pool: &PgPool,
    owner: Uuid,
    limit: i64,
    away: &[String],
    catching_up: &[String],
) -> Result<Vec<Row>, sqlx::Error> {
    let mut rows: Vec<Row> = sqlx::query_as(concat!(
        "with mine as materialized (
             select id from outbox
             where (leased_until <= now()
                    or (lease_owner = $1 and (attempts = 0 or queue = any($6))))
               and queue <> all($5)
             order by id
             limit $2
             for update skip locked
         )
         update outbox
         set lease_owner = $1,
             attempts = attempts + 1,
             leased_until = now() + make_interval(secs => $3 * power(2, least(attempts, $4)))
         from mine where outbox.id = mine.id and ",
        unwaited!(),
        " returning outbox.id, outbox.queue, outbox.payload, outbox.redeliveries",
    ))
    .bind(owner)
    .bind(limit)
    .bind(LEASE.as_secs_f64())
    .bind(LEASE_DOUBLINGS)
    .bind(away)
    .bind(catching_up)
    .fetch_all(pool)
    .await?;
    // UPDATE returns in any order; publish roughly in the order of commits.
    rows.sort_by_key(|row| row.id);
    Ok(rows)
}

/// The first row of a queue that is away, tried before or not.
pub(super) async fn claim_one(
    pool: &PgPool,
    owner: Uuid,
    queue: &str,
) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as(concat!(
        "with mine as materialized (
             select id from outbox
             where queue = $2 and (leased_until <= now() or lease_owner = $1)
             order by id
             limit 1
             for update skip locked
         )
         update outbox
         set lease_owner = $1,
             attempts = attempts + 1,
             leased_until = now() + make_interval(secs => $3 * power(2, least(attempts, $4)))
         from mine where outbox.id = mine.id and ",
        unwaited!(),
        " returning outbox.id, outbox.queue, outbox.payload, outbox.redeliveries",
    ))
    .bind(owner)
    .bind(queue)
    .bind(LEASE.as_secs_f64())
    .bind(LEASE_DOUBLINGS)
    .fetch_optional(pool)
    .await
}

/// Makes rows of `owner` from up to `limit` deferred messages that are due, whoever deferred
/// them. Returns how many.
pub(super) async fn take_due(pool: &PgPool, owner: Uuid, limit: i64) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(
        "with due as materialized (
             select id from deferred_messages
             where due_at <= now()
             order by due_at, id
             limit $2
             for update skip locked
         ), taken as (
             delete from deferred_messages as deferred
             using due where deferred.id = due.id
             returning deferred.queue, deferred.payload, deferred.redeliveries
         )
         insert into outbox (queue, payload, redeliveries, lease_owner, leased_until)
         select queue, payload, redeliveries, $1, now() + make_interval(secs => $3) from taken",
    )
    .bind(owner)
    .bind(limit)
    .bind(LEASE.as_secs_f64())
    .execute(pool)
    .await?
    .rows_affected())
}

pub(super) async fn bury(pool: &PgPool, id: i64, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with gone as (delete from outbox where id = $1 returning queue, payload)
         insert into dead_messages (queue, payload, reason)
         select queue, payload, $2 from gone",
    )
    .bind(id)
    .bind(reason)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn delete(pool: &PgPool, ids: &[i64]) -> Result<(), sqlx::Error> {
    sqlx::query(concat!(
        "delete from outbox where id = any($1) and ",
        unwaited!()
    ))
    .bind(ids)
    .execute(pool)
    .await?;
    Ok(())
}

/// In seconds.
pub(super) async fn oldest_age(pool: &PgPool) -> Result<Option<f64>, sqlx::Error> {
    sqlx::query_scalar(
        "select extract(epoch from now() - created_at)::float8 from outbox order by id limit 1",
    )
    .fetch_optional(pool)
    .await
}

pub(super) async fn limited<T>(
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
