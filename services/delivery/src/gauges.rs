//! How many rows are in which state, for the metrics.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_store::StoreError;
use tidegate_telemetry::Stop;

use crate::metrics::ROWS;

/// How often the rows are counted: finer than any alert on them.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts until stopped.
pub(crate) async fn run(pool: &PgPool, stop: &Stop) {
    loop {
        if let Err(error) = measure(pool).await {
            tracing::warn!(%error, "deliveries could not be counted");
        }
        if !stop.sleep(INTERVAL).await {
            return;
        }
    }
}

/// Only what partial indexes hold is counted, and no more than a million each: above that the
/// exact number tells nobody anything.
async fn measure(pool: &PgPool) -> Result<(), StoreError> {
    let (queued, parked, dead): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from (select from deliveries where state = 'queued' limit 1000000) q),
                (select count(*) from (select from deliveries where state = 'parked' limit 1000000) p),
                (select count(*) from (select from deliveries where state = 'dead' limit 1000000) d)",
    )
    .fetch_one(pool)
    .await?;
    for (state, rows) in [("queued", queued), ("parked", parked), ("dead", dead)] {
        ROWS.with_label_values(&[state]).set(rows);
    }
    Ok(())
}
