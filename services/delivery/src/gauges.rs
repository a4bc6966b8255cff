//! What the database says about all deliveries, for the metrics: rows by state, the oldest of each
//! lane, hosts by state, and the hosts that most wait for.

mod hosts;
mod rows;

use std::time::Duration;

use sqlx::PgPool;
use tidegate_store::StoreError;
use tidegate_telemetry::Stop;

use crate::metrics;

/// Hosts are measured with every sixth measurement: they change slowly, and a million waiting
/// rows take a few tenths of a second.
const HOSTS_EVERY: u32 = 6;

/// Finished rows are counted with every sixth measurement: reading a million rows takes about a
/// tenth of a second.
const FINISHED_EVERY: u32 = 6;

/// Measures until stopped.
pub(crate) async fn run(pool: &PgPool, every: Duration, stop: &Stop) {
    metrics::prepare();
    let mut worst = hosts::Worst::default();
    let mut round = 0_u32;
    loop {
        if let Err(error) = measure(pool, round, &mut worst).await {
            tracing::warn!(%error, "deliveries could not be counted");
        }
        round = round.wrapping_add(1);
        if !stop.sleep(every).await {
            return;
        }
    }
}

async fn measure(pool: &PgPool, round: u32, worst: &mut hosts::Worst) -> Result<(), StoreError> {
    let waiting = rows::waiting(pool).await?;
    if round.is_multiple_of(FINISHED_EVERY) {
        rows::finished(pool, waiting).await?;
    }
    if round.is_multiple_of(HOSTS_EVERY) {
        hosts::by_state(pool).await?;
        worst.measure(pool).await?;
    }
    Ok(())
}
