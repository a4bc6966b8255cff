//! Events of which nothing came are handed to the queue once more: activities that nobody
//! planned, and local statuses whose local fan-out left no trace (design section 5.8). Both
//! messages absorb a repeat. Normally there are none.

use tidegate_model::{Message, id_at};
use tidegate_queue::Outgoing;
use tidegate_store::StoreError;
use tidegate_telemetry::Stop;

use crate::Delivery;
use crate::metrics::REPUBLISHED_EVENTS;

/// Events of either kind that one look hands over: with a look a minute, a queue that is merely
/// long grows by little.
const PER_ROUND: i64 = 250;

/// How far back local statuses are looked for: an older post in a home timeline helps nobody,
/// and lists that are rebuilt have it anyway.
const STATUSES_SINCE: time::Duration = time::Duration::DAY;

/// Looks of the reconciler for one of these.
const LOOKS: u32 = 4;

/// Looks until stopped.
pub(crate) async fn run(delivery: &Delivery, stop: &Stop) {
    let interval = delivery.options.reconcile_interval * LOOKS;
    while stop
        .sleep(interval.mul_f64(0.75 + 0.5 * rand::random::<f64>()))
        .await
    {
        if let Err(error) = round(delivery).await {
            tracing::warn!(%error, "lost events cannot be looked for yet");
        }
    }
}

async fn round(delivery: &Delivery) -> Result<(), StoreError> {
    let deps = &delivery.deps;
    let lost: Vec<(String, i64)> = sqlx::query_as(TAKE)
        .bind(delivery.options.republish_event_after.as_secs_f64())
        .bind(id_at(deps.clock.now() - STATUSES_SINCE))
        .bind(PER_ROUND)
        .fetch_all(&deps.pool)
        .await?;
    // Longer than the longest interval of a repeat, so that none starts from the beginning.
    sqlx::query("delete from republished_events where republished_at < now() - interval '3 days'")
        .execute(&deps.pool)
        .await?;
    if lost.is_empty() {
        return Ok(());
    }
    let batch = lost.iter().map(|(kind, id)| match kind.as_str() {
        "plan" => Outgoing {
            queue: deps.queues.plan(),
            message: Message::Plan { activity_id: *id },
        },
        _ => Outgoing {
            queue: deps.queues.fanout(),
            message: Message::FanoutStatus { status_id: *id },
        },
    });
    let results = deps.queue.publish(batch.collect()).await;
    let mut taken = 0;
    for ((kind, _), result) in lost.iter().zip(results) {
        // What the queue refused is tried again after its next interval.
        if result.is_ok() {
            taken += 1;
            REPUBLISHED_EVENTS.with_label_values(&[kind]).inc();
        }
    }
    tracing::warn!(
        found = lost.len(),
        taken,
        "events of which nothing came were published again"
    );
    Ok(())
}

/// Each event waits twice as long as the last time, up to 256 times the first interval. The row
/// of its repeat keeps replicas from handing it over side by side. Fan-out of suspended authors
/// and of deleted statuses leaves no trace on purpose.
const TAKE: &str = "
with lost as (
    (select 'plan' as message, a.id from activities a
     where a.planned_at is null and a.created_at < now() - make_interval(secs => $1)
       and not exists (select 1 from republished_events r
                       where r.message = 'plan' and r.id = a.id
                         and r.republished_at > now() - make_interval(
                             secs => $1 * (1 << least(r.times, 8))))
     order by a.id limit $3)
    union all
    (select 'fanout_status', s.id from statuses s
     join accounts author on author.id = s.account_id and author.suspended_at is null
     where s.local and s.deleted_at is null and s.id > $2
       and s.created_at < now() - make_interval(secs => $1)
       and not exists (select 1 from fanout_done f
                       where f.event_id = s.id and f.range_start = 0)
       and not exists (select 1 from republished_events r
                       where r.message = 'fanout_status' and r.id = s.id
                         and r.republished_at > now() - make_interval(
                             secs => $1 * (1 << least(r.times, 8))))
     order by s.id limit $3)
)
insert into republished_events as e (message, id)
select message, id from lost order by message, id
on conflict (message, id) do update set times = e.times + 1, republished_at = now()
    where e.republished_at <= now() - make_interval(secs => $1 * (1 << least(e.times, 8)))
returning message, id";
