//! Gauges that belong to the whole node rather than to a role: its connection pool, and what
//! waits in the queues.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::PgPool;
use tidegate_queue::{QueueStats, age_of_last_taken};
use tidegate_telemetry::prometheus::{IntGauge, IntGaugeVec};
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
    "How long messages wait: the age of the oldest one in the database's queues; with RabbitMQ the \
     age of the one that this process took last, and 0 while none waits.",
    ["queue"]
);

static DEAD: LazyLock<IntGauge> = gauge!(
    "tidegate_dead_messages",
    "Messages that nobody could handle; `tidegate admin dead-messages` lists and redrives them."
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
    let dead = sqlx::query_scalar("select count(*) from dead_messages");
    DEAD.set(dead.fetch_one(&shared.pool).await?);
    let stats = shared.queue.stats(&shared.queues.all()).await?;
    let ages = if shared.broker.is_some() {
        taken_where_some_wait(&stats, &age_of_last_taken())
    } else {
        oldest_rows(&shared.pool).await?
    };
    for (kind, ready) in by_kind(stats) {
        let age = ages.get(&kind).copied().unwrap_or_default();
        READY.with_label_values(&[&kind]).set(ready);
        AGE.with_label_values(&[&kind]).set(age);
    }
    Ok(())
}

/// By kind: the age of the message last taken from a queue in which others still wait.
fn taken_where_some_wait(
    stats: &[QueueStats],
    taken: &BTreeMap<String, Duration>,
) -> BTreeMap<String, i64> {
    let mut ages = BTreeMap::new();
    for one in stats.iter().filter(|one| one.ready > 0) {
        let age = taken.get(&one.queue).map_or(0, Duration::as_secs);
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        let oldest: &mut i64 = ages.entry(kind(&one.queue)).or_default();
        *oldest = age.max(*oldest);
    }
    ages
}

async fn oldest_rows(pool: &PgPool) -> anyhow::Result<BTreeMap<String, i64>> {
    let ages: Vec<(String, i64)> = sqlx::query_as(
        "select queue, extract(epoch from now() - min(created_at))::bigint
         from queue_messages group by queue",
    )
    .fetch_all(pool)
    .await?;
    let mut oldest: BTreeMap<String, i64> = BTreeMap::new();
    for (queue, age) in ages {
        let oldest = oldest.entry(kind(&queue)).or_default();
        *oldest = age.max(*oldest);
    }
    Ok(oldest)
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
    fn the_age_of_a_kind_is_that_of_its_slowest_queue_and_none_where_nothing_waits() {
        let stats = [
            ("t.deliver.now.0", 2),
            ("t.deliver.now.1", 1),
            ("t.deliver.now.2", 0),
            ("t.plan", 0),
        ]
        .map(|(queue, ready)| QueueStats {
            queue: queue.to_owned(),
            ready,
            unacked: 0,
        });
        let taken = [
            ("t.deliver.now.0", 3),
            ("t.deliver.now.1", 40),
            ("t.deliver.now.2", 900),
            ("t.plan", 5),
        ]
        .map(|(queue, age)| (queue.to_owned(), Duration::from_secs(age)))
        .into();
        let ages = taken_where_some_wait(&stats, &taken);
        assert_eq!(ages, BTreeMap::from([("deliver.now".to_owned(), 40)]));
    }

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
