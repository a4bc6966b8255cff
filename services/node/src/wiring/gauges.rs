//! Gauges that belong to the whole node rather than to a role: its connection pool.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::PgPool;
use tidegate_telemetry::prometheus::IntGaugeVec;
use tidegate_telemetry::{Stop, gauge};

/// Between two looks; a third of the usual scrape interval.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

static CONNECTIONS: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_database_connections",
    "Connections of this process's pool to the database, by state.",
    ["state"]
);

/// Keeps the gauges up to date until stopped.
pub(super) async fn run(pool: PgPool, stop: Stop) -> anyhow::Result<()> {
    loop {
        let idle = i64::try_from(pool.num_idle())?;
        let busy = i64::from(pool.size()) - idle;
        CONNECTIONS.with_label_values(&["idle"]).set(idle);
        CONNECTIONS.with_label_values(&["busy"]).set(busy.max(0));
        if !stop.sleep(LOOK_AGAIN).await {
            return Ok(());
        }
    }
}
