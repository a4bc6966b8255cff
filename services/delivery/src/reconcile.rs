//! Queued rows whose message is gone are published again (design section 5.8): after a queue
//! lost its messages, or a planner died between writing rows and publishing them. Normally none.
//!
//! A queue gives out messages in the order in which they came. A row is taken for lost when its
//! queue has given out something later, or has nothing left to give; one whose queue is merely
//! long is let be.
//!
//! Each process looks after the shards that it has: it alone knows how far their queues were
//! taken, and together the processes publish no more than one would.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_model::Lane;
use tidegate_store::StoreError;
use tidegate_telemetry::Stop;
use time::OffsetDateTime;

use crate::Delivery;
use crate::lease::Leases;
use crate::metrics::REPUBLISHED;
use crate::publish::{Due, publish};

/// Rows a minute at most, of all processes together: repeats must never become the load.
const ROWS_PER_MINUTE: f64 = 1_000.0;

/// Looks until stopped.
pub(crate) async fn run(delivery: &Delivery, leases: &Leases, stop: &Stop) {
    let interval = delivery.options.reconcile_interval;
    // Spread over replicas, and not before the first consumers have had their chance.
    while stop
        .sleep(interval.mul_f64(0.75 + 0.5 * rand::random::<f64>()))
        .await
    {
        if let Err(error) = round(delivery, leases).await {
            tracing::warn!(%error, "queued deliveries cannot be reconciled yet");
        }
    }
}

/// Rows of one look of a process that has this share of all shards; one at least, so that a
/// small share is not none.
fn rows_of(share: f64, interval: Duration) -> i64 {
    let rows = ROWS_PER_MINUTE * share * interval.as_secs_f64() / 60.0;
    (rows as i64).max(1)
}

async fn round(delivery: &Delivery, leases: &Leases) -> Result<(), StoreError> {
    let options = &delivery.options;
    let ours: Vec<i32> = leases.owned().into_iter().map(u32::cast_signed).collect();
    if ours.is_empty() {
        return Ok(());
    }
    let limit = rows_of(leases.share(), options.reconcile_interval);
    let horizons = Horizons::look(delivery, &ours).await?;
    let rows: Vec<Due> = sqlx::query_as(TAKE)
        .bind(options.republish_after.as_secs_f64())
        .bind(options.republish_unpublished_after.as_secs_f64())
        .bind(limit)
        .bind(&horizons.lanes)
        .bind(&horizons.shards)
        .bind(&horizons.before)
        .bind(&ours)
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

/// The queues in which something may be lost, and before when it was published if it is.
#[derive(Default)]
struct Horizons {
    lanes: Vec<String>,
    shards: Vec<i32>,
    /// Null: the queue is empty, everything is lost.
    before: Vec<Option<OffsetDateTime>>,
}

impl Horizons {
    async fn look(delivery: &Delivery, ours: &[i32]) -> Result<Self, StoreError> {
        let mut found = Self::default();
        let deps = &delivery.deps;
        let after = delivery.options.republish_after.as_secs_f64();
        let suspects = suspects(&deps.pool, after, ours).await?;
        if suspects.is_empty() {
            return Ok(found);
        }
        let mut names: Vec<String> = suspects
            .iter()
            .map(|(lane, shard)| deps.queues.deliver(*lane, *shard))
            .collect();
        let set_apart = deps.queues.suspect();
        names.push(set_apart.clone());
        let stats = match deps.queue.stats(&names).await {
            Ok(stats) => stats,
            Err(error) => {
                tracing::debug!(%error, "the queue does not say what it holds");
                return Ok(found);
            }
        };
        // What was set apart has left its lane and is not lost. Which rows those are nobody can
        // tell from here, and there are few: all wait until it has been gone through.
        if stats
            .iter()
            .any(|stats| stats.queue == set_apart && stats.ready > 0)
        {
            return Ok(found);
        }
        for ((lane, shard), name) in suspects.into_iter().zip(names) {
            let Some(stats) = stats.iter().find(|stats| stats.queue == name) else {
                continue;
            };
            let taken = delivery.watermarks.of(lane, shard);
            if stats.ready > 0 && taken.is_none() {
                continue;
            }
            found.lanes.push(lane.as_str().to_owned());
            found.shards.push(i32::try_from(shard).unwrap_or(0));
            found.before.push(taken.filter(|_| stats.ready > 0));
        }
        Ok(found)
    }
}

/// The queues of rows that wait for long, among those of our shards.
async fn suspects(pool: &PgPool, after: f64, ours: &[i32]) -> Result<Vec<(Lane, u32)>, StoreError> {
    let rows: Vec<(String, i32)> = sqlx::query_as(
        "select distinct lane, shard from (
             select lane, shard from deliveries
             where state = 'queued' and created_at < now() - make_interval(secs => $1)
               and shard = any($2)
             order by created_at limit 10000) r",
    )
    .bind(after)
    .bind(ours)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(lane, shard)| Some((Lane::parse(&lane)?, u32::try_from(shard).ok()?)))
        .collect())
}

/// A row was handed to the queue right after it was made, unless it says another time. Rows of a
/// large activity are made for some seconds before the first is handed over: a tenth of the wait
/// is allowed for that.
///
/// Each row waits twice as long as the last time, up to 256 times the first interval: two days.
const TAKE: &str = "
with lost as materialized (
    select d.activity_id, d.inbox_id
    from deliveries d
    left join unnest($4::text[], $5::int[], $6::timestamptz[]) as q(lane, shard, before)
        on q.lane = d.lane and q.shard = d.shard
    where d.state = 'queued' and d.shard = any($7)
      and (q.lane is not null
           and coalesce(d.published_at, d.created_at)
               < now() - make_interval(secs => $1 * (1 << least(d.republish_count, 8)))
           and (q.before is null
                or coalesce(d.published_at, d.created_at) < q.before - make_interval(secs => $1 / 10))
           or d.published_at is null
              and d.created_at < now() - make_interval(secs => $2)
              and d.updated_at < now() - make_interval(secs => $2)
              -- While its activity is being planned a row has no message on purpose.
              and exists (select 1 from activities a
                          where a.id = d.activity_id and a.planned_at is not null
                            and a.published_at is null))
    limit $3
    for update of d skip locked
)
update deliveries d
set published_at = now(), republish_count = d.republish_count + 1, updated_at = now()
from lost l
where d.activity_id = l.activity_id and d.inbox_id = l.inbox_id
returning d.activity_id, d.inbox_id, d.shard, d.lane";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn together_no_more_is_published_again_than_by_one() {
        let interval = Duration::from_secs(15);
        assert_eq!(rows_of(1.0, interval), 250);
        for processes in [2, 3, 5, 32] {
            let share = 1.0 / f64::from(processes);
            let a_minute = 4 * i64::from(processes) * rows_of(share, interval);
            assert!(a_minute <= 1_000, "{processes}: {a_minute}");
            assert!(a_minute >= 880, "{processes}: {a_minute}");
        }
        assert_eq!(rows_of(0.001, interval), 1);
    }
}
