//! `tidegate admin shards`.

use tidegate_model::Queues;

use crate::config::Config;
use crate::wiring::Database;

/// Changes the number of delivery shards and says what is left to do by hand.
pub(super) async fn set(config: &Config, count: u32) -> anyhow::Result<()> {
    let queues = Queues::new(config.queue.prefix.clone(), count);
    let database = Database::visit(config).await?;
    let done = database
        .during(async |pool| Ok(tidegate_delivery::change_shards(pool, &queues).await?))
        .await?;
    println!(
        "{} deliveries and {} hosts have another shard now.",
        done.rows, done.hosts
    );
    println!("Set queue.shards = {count} for every role and start them again.");
    if !config.queue.is_table() && !done.old_queues.is_empty() {
        println!("Nobody consumes these queues any more; delete them on the broker:");
        for queue in done.old_queues {
            println!("  rabbitmqctl delete_queue {queue}");
        }
    }
    Ok(())
}
