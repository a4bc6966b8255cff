//! `tidegate admin verify-deliveries`.

use anyhow::bail;

use crate::config::Config;
use crate::wiring::Database;

/// Prints the equation and every difference; an error when there is one.
pub(super) async fn verify(config: &Config) -> anyhow::Result<()> {
    let database = Database::visit(config).await?;
    let found = database
        .during(async |pool| Ok(tidegate_delivery::verify(pool).await?))
        .await?;
    let counts = &found.counts;
    println!(
        "planned {} = queued {} + parked {} + delivered {} + dead {} + cancelled {}: {}",
        counts.planned,
        counts.queued,
        counts.parked,
        counts.delivered,
        counts.dead,
        counts.cancelled,
        if counts.planned == counts.found() {
            "agrees"
        } else {
            "DIFFERS"
        },
    );
    println!(
        "activities whose planning is not finished: {}, of these overdue: {}",
        found.unplanned, found.overdue
    );
    for row in &found.miscounted {
        println!(
            "activity {}: planned {}, found {}",
            row.activity_id, row.planned, row.found
        );
    }
    for row in &found.missing {
        println!(
            "activity {}: no row for inbox {}",
            row.activity_id, row.inbox_id
        );
    }
    if !found.is_clean() {
        if found.overdue > 0 {
            bail!(
                "{} activities wait for their planning for over a quarter of an hour: is a fanout \
                 role running, and the queue reachable?",
                found.overdue
            );
        }
        bail!("the deliveries do not agree with what was planned");
    }
    println!("Every planned delivery is there.");
    Ok(())
}
