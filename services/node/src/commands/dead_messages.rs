//! `tidegate admin dead-messages`: what nobody could handle, and another try.

use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Connection, PgPool};
use tidegate_model::Message;
use tidegate_store::OutboxHandle;

use crate::cli::DeadMessages;
use crate::config::Config;
use crate::wiring::Database;

/// As many characters of a message as tell which one it is; bodies can be 64 kB.
const SHOWN: usize = 160;

pub(super) async fn execute(config: &Config, command: DeadMessages) -> anyhow::Result<()> {
    let database = Database::visit(config).await?;
    database
        .during(async |pool| match command {
            DeadMessages::List { limit } => list(pool, limit).await,
            DeadMessages::Redrive { limit } => redrive(pool, limit).await,
        })
        .await
}

async fn list(pool: &PgPool, limit: u16) -> anyhow::Result<()> {
    let total: i64 = sqlx::query_scalar("select count(*) from dead_messages")
        .fetch_one(pool)
        .await?;
    let rows: Vec<(i64, String, String, Json<Value>)> =
        sqlx::query_as("select id, queue, reason, payload from dead_messages order by id limit $1")
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?;
    for (id, queue, reason, payload) in rows {
        // Reasons and payloads may quote remote servers: escaped, so that they cannot write
        // control characters into the operator's terminal.
        let payload: String = payload.0.to_string().chars().take(SHOWN).collect();
        println!(
            "{id}\t{queue}\t{}\t{}",
            reason.escape_debug(),
            payload.escape_debug()
        );
    }
    println!("{total} dead messages.");
    Ok(())
}

/// Moves messages to the outbox, from where any running node publishes them; each is in one of
/// the two tables at every moment.
async fn redrive(pool: &PgPool, limit: u16) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    let rows: Vec<(String, Json<Value>)> = sqlx::query_as(
        "delete from dead_messages
         where id in (select id from dead_messages order by id limit $1 for update skip locked)
         returning queue, payload",
    )
    .bind(i64::from(limit))
    .fetch_all(&mut *transaction)
    .await?;
    let outbox = OutboxHandle::default();
    let count = rows.len();
    for (queue, Json(payload)) in rows {
        let message: Message = serde_json::from_value(payload)?;
        outbox.add(&mut transaction, &queue, &message).await?;
    }
    transaction.commit().await?;
    println!("{count} messages go back to their queues within seconds.");
    Ok(())
}
