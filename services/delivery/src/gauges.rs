//! How many rows are in which state, for the metrics.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_store::StoreError;
use tidegate_telemetry::Stop;

use crate::metrics::ROWS;

/// How often the rows are counted: finer than any alert on them.
const INTERVAL: Duration = Duration::from_secs(10);

/// Finished rows are counted with every sixth measurement: reading a million rows takes about a
/// tenth of a second.
const FINISHED_EVERY: u32 = 6;

/// Counts until stopped.
pub(crate) async fn run(pool: &PgPool, stop: &Stop) {
    let mut round = 0_u32;
    loop {
        let finished = round.is_multiple_of(FINISHED_EVERY);
        if let Err(error) = measure(pool, finished).await {
            tracing::warn!(%error, "deliveries could not be counted");
        }
        round = round.wrapping_add(1);
        if !stop.sleep(INTERVAL).await {
            return;
        }
    }
}

/// What partial indexes hold is counted up to a million each: above that the exact number tells
/// nobody anything. No index holds what is `finished`: that is counted among a million rows.
async fn measure(pool: &PgPool, finished: bool) -> Result<(), StoreError> {
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
    if finished {
        let (delivered, cancelled): (i64, i64) = sqlx::query_as(
            "select count(*) filter (where state = 'delivered'),
                    count(*) filter (where state = 'cancelled')
             from (select state from deliveries limit 1000000) r",
        )
        .fetch_one(pool)
        .await?;
        ROWS.with_label_values(&["delivered"]).set(delivered);
        ROWS.with_label_values(&["cancelled"]).set(cancelled);
    }
    Ok(())
}
