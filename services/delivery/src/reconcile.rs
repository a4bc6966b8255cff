//! Queued rows whose message is gone are published again (design section 5.8): after a queue
//! lost its messages, or a planner died between writing rows and publishing them. Normally none.

use tidegate_store::StoreError;
use tidegate_telemetry::Stop;

use crate::Delivery;
use crate::metrics::REPUBLISHED;
use crate::publish::{Due, publish};

/// Rows a minute at most, all processes together being few: a queue that is merely long must
/// not be made longer.
const ROWS_PER_MINUTE: f64 = 1_000.0;

/// Looks until stopped.
pub(crate) async fn run(delivery: &Delivery, stop: &Stop) {
    let interval = delivery.options.reconcile_interval;
    let share = (ROWS_PER_MINUTE * interval.as_secs_f64() / 60.0).ceil() as i64;
    // Spread over replicas, and not before the first consumers have had their chance.
    while stop
        .sleep(interval.mul_f64(0.75 + 0.5 * rand::random::<f64>()))
        .await
    {
        if let Err(error) = round(delivery, share.max(1)).await {
            tracing::warn!(%error, "queued deliveries cannot be reconciled yet");
        }
    }
}

async fn round(delivery: &Delivery, limit: i64) -> Result<(), StoreError> {
    let options = &delivery.options;
    let rows: Vec<Due> = sqlx::query_as(TAKE)
        .bind(options.republish_after.as_secs_f64())
        .bind(options.republish_unpublished_after.as_secs_f64())
        .bind(limit)
        .fetch_all(&delivery.deps.pool)
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let refused = publish(delivery, &rows).await;
    let republished = rows.len() - refused.len();
    REPUBLISHED.inc_by(republished as u64);
    // What the queue refused stays queued and is taken again after its next interval.
    tracing::warn!(
        republished,
        "deliveries whose message was gone were published again"
    );
    Ok(())
}

/// Each row waits twice as long as the last time, up to 256 times the first interval: two days.
const TAKE: &str = "
with lost as materialized (
    select activity_id, inbox_id
    from deliveries
    where state = 'queued'
      and (published_at < now() - make_interval(secs => $1)
           and published_at < now() - make_interval(secs => $1 * (1 << least(republish_count, 8)))
           or published_at is null
              and created_at < now() - make_interval(secs => $2)
              and updated_at < now() - make_interval(secs => $2)
              -- While its activity is being planned a row has no message on purpose.
              and exists (select 1 from activities a
                          where a.id = activity_id and a.planned_at is not null))
    limit $3
    for update skip locked
)
update deliveries d
set published_at = now(), republish_count = d.republish_count + 1, updated_at = now()
from lost l
where d.activity_id = l.activity_id and d.inbox_id = l.inbox_id
returning d.activity_id, d.inbox_id, d.shard, d.lane";
