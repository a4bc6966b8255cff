//! What the database says about all deliveries, for the metrics: rows by state, the oldest of each
//! lane, hosts by state, and the hosts that most wait for.
//!
//! One process of the service measures at a time: the numbers are the same everywhere, and reading
//! them costs as much with every process more. The others show nothing waiting.

mod hosts;
mod rows;

use sqlx::PgPool;
use tidegate_store::StoreError;
use tidegate_telemetry::Stop;

use crate::lease::Leases;
use crate::{Delivery, metrics};

/// Hosts are measured with every sixth measurement: they change slowly, and a million waiting
/// rows take a few tenths of a second.
const HOSTS_EVERY: u32 = 6;

/// Finished rows are counted with every sixth measurement: reading a million rows takes about a
/// tenth of a second.
const FINISHED_EVERY: u32 = 6;

/// Measures until stopped, whenever this process speaks for all.
pub(crate) async fn run(delivery: &Delivery, leases: &Leases, stop: &Stop) {
    metrics::prepare();
    let mut worst = hosts::Worst::default();
    // The first measurement of who begins to speak is whole.
    let mut round = 0_u32;
    loop {
        if leases.speaks_for_all() {
            if let Err(error) = measure(&delivery.deps.pool, round, &mut worst).await {
                tracing::warn!(%error, "deliveries could not be counted");
            }
            round = round.wrapping_add(1);
        }
        if !leases.speaks_for_all() && round > 0 {
            // Another says it from now on: what is known here grows old.
            metrics::forget_service();
            worst.forget();
            round = 0;
        }
        if !stop.sleep(delivery.options.measure_interval).await {
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
