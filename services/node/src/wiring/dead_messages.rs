//! Brings what died on the broker into the database, where `tidegate admin dead-messages` lists
//! it and the gauges count it. The embedded queue writes there by itself.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_queue::RabbitQueue;
use tidegate_telemetry::Stop;

/// Between two looks; dead messages wait for a person.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Runs until stopped. Several processes may do so: each message goes to one of them.
pub(super) async fn drain(broker: RabbitQueue, pool: PgPool, stop: Stop) -> anyhow::Result<()> {
    loop {
        match broker.drain_dead(&pool).await {
            Ok(0) => {}
            // There may be more.
            Ok(_) if !stop.is_stopping() => continue,
            Ok(_) => return Ok(()),
            Err(error) => tracing::debug!(%error, "dead messages stay on the broker for now"),
        }
        if !stop.sleep(LOOK_AGAIN).await {
            return Ok(());
        }
    }
}
