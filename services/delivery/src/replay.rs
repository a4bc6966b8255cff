//! Parked rows that are due go back onto the queue; those that wait for their turn look whether
//! it has come.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tidegate_store::StoreError;
use tidegate_telemetry::Stop;
use tokio::sync::Notify;

use crate::Delivery;
use crate::metrics::REPLAYED;
use crate::publish::{Due, publish};

/// Rows that the queue did not take are due again after this.
const REFUSED_DELAY: Duration = Duration::from_secs(5);

/// The longest that a row waits for its turn without looking: what goes before it may have
/// become final in a process that died before it could say so.
const MAX_TURN_WAIT: Duration = Duration::from_mins(10);

/// Looks every interval, and at once when `wake` says that rows were released.
pub(crate) async fn run(delivery: &Delivery, wake: Arc<Notify>, stop: &Stop) {
    let interval = delivery.options.replay_interval;
    while !stop.is_stopping() {
        // A full batch means that there is more.
        let full = match round(delivery).await {
            Ok(rows) => rows >= delivery.options.replay_batch,
            Err(error) => {
                tracing::warn!(%error, "parked deliveries cannot be looked at yet");
                false
            }
        };
        if full {
            continue;
        }
        // Several processes look; jitter keeps them from looking at once.
        let pause = interval.mul_f64(0.75 + 0.5 * rand::random::<f64>());
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.soft.cancelled() => {}
        }
    }
}

/// One look; returns how many rows it moved.
async fn round(delivery: &Delivery) -> Result<i64, StoreError> {
    let pool = &delivery.deps.pool;
    let moved: Vec<Moved> = sqlx::query_as(TAKE)
        .bind(delivery.options.replay_batch)
        .bind(MAX_TURN_WAIT.as_secs_f64())
        .fetch_all(pool)
        .await?;
    let count = moved.len() as i64;
    let due: Vec<Due> = moved
        .into_iter()
        .filter(|row| row.state == "queued")
        .map(|row| row.due)
        .collect();
    if due.is_empty() {
        return Ok(count);
    }
    let refused = publish(delivery, &due).await;
    REPLAYED.inc_by((due.len() - refused.len()) as u64);
    if !refused.is_empty() {
        park_again(pool, &refused).await?;
        // The queue is away: no hurry for the rest.
        return Ok(0);
    }
    Ok(count)
}

#[derive(sqlx::FromRow)]
struct Moved {
    #[sqlx(flatten)]
    due: Due,
    state: String,
}

async fn park_again(pool: &PgPool, rows: &[(i64, i64)]) -> Result<(), StoreError> {
    let (activities, inboxes): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
    sqlx::query(
        "update deliveries d
         set state = 'parked', reason = 'queue_away', updated_at = now(),
             not_before = now() + make_interval(secs => $3)
         from unnest($1::bigint[], $2::bigint[]) as r(activity_id, inbox_id)
         where d.activity_id = r.activity_id and d.inbox_id = r.inbox_id and d.state = 'queued'",
    )
    .bind(activities)
    .bind(inboxes)
    .bind(REFUSED_DELAY.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

/// Whether it is a row's turn is judged by the same rule as right before a POST. What a row waits
/// for although its status was deleted becomes due: it will be cancelled, and must not hold the
/// Delete back until the end of its own retry ladder.
const TAKE: &str = "
with due as materialized (
    select activity_id, inbox_id, order_key, host, seq
    from deliveries
    where state = 'parked' and not_before <= now()
    order by not_before
    limit $1
    for update skip locked
), judged as (
    select due.activity_id, due.inbox_id,
           greatest(
               (select max(greatest(extract(epoch from p.not_before - now()), 0.0)::float8 + 0.5)
                from deliveries p
                where p.order_key = due.order_key and p.host = due.host and p.seq < due.seq
                  and p.state = 'parked'),
               (select 2.0::float8
                from deliveries p
                where p.order_key = due.order_key and p.host = due.host and p.seq < due.seq
                  and p.state = 'queued'
                limit 1),
               (select 1.0::float8
                from activities u
                where u.order_key = due.order_key and u.seq < due.seq and u.planned_at is null
                  and u.created_at > now() - interval '1 day'
                limit 1)
           ) as behind
    from due
), hastened as (
    update deliveries p
    set not_before = now(), updated_at = now()
    from due
    where p.order_key = due.order_key and p.host = due.host and p.seq < due.seq
      and p.state = 'parked' and p.not_before > now()
      and exists (select 1 from activities a join statuses s on s.id = a.status_id
                  where a.id = p.activity_id and s.deleted_at is not null
                    and a.kind in ('Create', 'Update', 'Announce'))
)
update deliveries d
set state = case when j.behind is null then 'queued' else 'parked' end,
    reason = case when j.behind is null then null else 'order' end,
    not_before = case when j.behind is null then null
                      else now() + make_interval(secs => least(j.behind, $2)) end,
    published_at = case when j.behind is null then now() else d.published_at end,
    updated_at = now()
from judged j
where d.activity_id = j.activity_id and d.inbox_id = j.inbox_id
returning d.activity_id, d.inbox_id, d.shard, d.lane, d.state";
