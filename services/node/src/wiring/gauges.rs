//! Gauges that belong to the whole node rather than to a role: its connection pool, and what
//! waits in the queues.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::PgPool;
use tidegate_queue::QueueStats;
use tidegate_telemetry::prometheus::IntGaugeVec;
use tidegate_telemetry::{Stop, gauge};

use super::node;
use super::services::Shared;
use crate::roles::Roles;

/// Between two looks; a third of the usual scrape interval.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

static CONNECTIONS: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_database_connections",
    "Connections of this process's pool to the database, by state.",
    ["state"]
);

static READY: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_queue_ready_messages",
    "Messages that wait in the queues; the shards of a delivery lane count together.",
    ["queue"]
);

static AGE: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_queue_oldest_age_seconds",
    "Age of the oldest message in the queues of the database; RabbitMQ does not tell.",
    ["queue"]
);

/// Keeps the gauges up to date until stopped. The queues are looked at only where they are
/// consumed: all replicas see the same.
pub(super) async fn run(shared: Shared, roles: Roles, stop: Stop) -> anyhow::Result<()> {
    let consumes = roles.fanout || roles.delivery;
    if consumes {
        node::declare_queues(&shared, &stop).await?;
    }
    loop {
        connections(&shared.pool)?;
        if consumes && let Err(error) = queues(&shared).await {
            tracing::debug!("the queues cannot be counted: {error:#}");
        }
        if !stop.sleep(LOOK_AGAIN).await {
            return Ok(());
        }
    }
}

fn connections(pool: &PgPool) -> anyhow::Result<()> {
    let idle = i64::try_from(pool.num_idle())?;
    let busy = i64::from(pool.size()) - idle;
    CONNECTIONS.with_label_values(&["idle"]).set(idle);
    CONNECTIONS.with_label_values(&["busy"]).set(busy.max(0));
    Ok(())
}

async fn queues(shared: &Shared) -> anyhow::Result<()> {
    for (kind, ready) in by_kind(shared.queue.stats(&shared.queues.all()).await?) {
        READY.with_label_values(&[&kind]).set(ready);
        AGE.with_label_values(&[&kind]).set(0);
    }
    if shared.broker.is_some() {
        return Ok(());
    }
    let ages: Vec<(String, i64)> = sqlx::query_as(
        "select queue, extract(epoch from now() - min(created_at))::bigint
         from queue_messages group by queue",
    )
    .fetch_all(&shared.pool)
    .await?;
    let mut oldest: BTreeMap<String, i64> = BTreeMap::new();
    for (queue, age) in ages {
        let oldest = oldest.entry(kind(&queue)).or_default();
        *oldest = age.max(*oldest);
    }
    for (kind, age) in oldest {
        AGE.with_label_values(&[&kind]).set(age);
    }
    Ok(())
}

fn by_kind(stats: Vec<QueueStats>) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for one in stats {
        *sums.entry(kind(&one.queue)).or_default() += i64::try_from(one.ready).unwrap_or(i64::MAX);
    }
    sums
}

/// A queue's name without the instance's prefix and without the shard: a bounded label.
fn kind(queue: &str) -> String {
    let name = queue.split_once('.').map_or(queue, |(_prefix, name)| name);
    name.trim_end_matches(|c: char| c.is_ascii_digit())
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_of_a_lane_count_together() {
        let stats = ["t.deliver.now.0", "t.deliver.now.31", "t.plan"]
            .map(|queue| QueueStats {
                queue: queue.to_owned(),
                ready: 2,
                unacked: 0,
            })
            .to_vec();
        let sums = by_kind(stats);
        assert_eq!(sums["deliver.now"], 4);
        assert_eq!(sums["plan"], 2);
        assert_eq!(sums.len(), 2);
    }
}
