//! `tidegate admin dead-messages`: what nobody could handle, and another try.

use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Connection, PgPool};
use tidegate_model::{Lane, Message, Queues};
use tidegate_queue::envelope;
use tidegate_store::OutboxHandle;

use crate::cli::DeadMessages;
use crate::config::Config;
use crate::wiring::Database;

/// As many characters of a message as tell which one it is; bodies can be 64 kB.
const SHOWN: usize = 160;

/// What a terminal and its history must not get to see: addresses, one-time links, private posts.
const HIDDEN: [&str; 4] = ["to", "subject", "text", "body"];

pub(super) async fn execute(config: &Config, command: DeadMessages) -> anyhow::Result<()> {
    let database = Database::visit(config).await?;
    let queues = Queues::new(config.queue.prefix.clone(), config.queue.shards);
    database
        .during(async |pool| match command {
            DeadMessages::List { limit } => list(pool, limit).await,
            DeadMessages::Redrive { limit } => {
                let (moved, unreadable) = redrive(pool, &queues, limit).await?;
                println!("{moved} messages go back to their queues within seconds.");
                if unreadable > 0 {
                    println!("{unreadable} cannot be read by this version and stay.");
                }
                Ok(())
            }
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
    for (id, queue, reason, Json(payload)) in rows {
        // Queues, reasons and payloads may quote remote servers: escaped, so that they cannot
        // write control characters into the operator's terminal.
        println!(
            "{id}\t{}\t{}\t{}",
            queue.escape_debug(),
            reason.escape_debug(),
            shown(payload).escape_debug()
        );
    }
    println!("{total} dead messages.");
    Ok(())
}

/// Enough of a message to tell which one it is, without what is private in it.
fn shown(payload: Value) -> String {
    let mut message = without_envelope(payload);
    let Some(fields) = message.as_object_mut() else {
        return format!("unreadable, {} characters", message.to_string().len());
    };
    for name in HIDDEN {
        if let Some(value) = fields.get_mut(name) {
            let length = value.as_str().map_or(0, str::len);
            *value = Value::String(format!("({length} bytes hidden)"));
        }
    }
    message.to_string().chars().take(SHOWN).collect()
}

/// The queues bury what they carry, envelope included; the outbox has messages without one.
fn without_envelope(mut payload: Value) -> Value {
    match payload.get_mut("message") {
        Some(message) => message.take(),
        None => payload,
    }
}

fn read(payload: Value) -> anyhow::Result<Message> {
    if payload.get("v").is_some() {
        return Ok(envelope::decode(payload.to_string().as_bytes())?);
    }
    Ok(serde_json::from_value(payload)?)
}

/// Moves messages to the outbox, from where any running node publishes them; each is in one of
/// the two tables at every moment. What cannot be read stays and is counted apart.
async fn redrive(pool: &PgPool, queues: &Queues, limit: u16) -> anyhow::Result<(usize, usize)> {
    let outbox = OutboxHandle::default();
    let existing = queues.all();
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    let (mut moved, mut unreadable, mut after) = (Vec::new(), 0, 0);
    while moved.len() < usize::from(limit) {
        let rows: Vec<(i64, String, Json<Value>)> = sqlx::query_as(
            "select id, queue, payload from dead_messages where id > $1
             order by id limit $2 for update skip locked",
        )
        .bind(after)
        .bind(i64::from(limit) - i64::try_from(moved.len())?)
        .fetch_all(&mut *transaction)
        .await?;
        if rows.is_empty() {
            break;
        }
        for (id, queue, Json(payload)) in rows {
            after = id;
            let message = match read(payload) {
                Ok(message) => message,
                Err(error) => {
                    tracing::warn!(id, "this message cannot be read and stays: {error:#}");
                    unreadable += 1;
                    continue;
                }
            };
            // A queue that is no more (fewer shards, another prefix) would never take it.
            let queue = if existing.contains(&queue) {
                queue
            } else {
                queues.of(&message, Lane::Bulk)
            };
            outbox.add(&mut transaction, &queue, &message).await?;
            moved.push(id);
        }
    }
    sqlx::query("delete from dead_messages where id = any($1)")
        .bind(&moved)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok((moved.len(), unreadable))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_testkit::Postgres;

    use super::*;

    #[test]
    fn the_list_shows_neither_addresses_nor_links_nor_bodies() {
        let mail = json!({"v": 1, "message": {
            "type": "mail", "dedupe_key": "confirm:7:x", "to": "ada@example.org",
            "subject": "Confirm", "text": "https://example.org/confirm?token=abc"
        }});
        let text = shown(mail);
        assert!(text.contains("confirm:7:x"), "{text}");
        assert!(!text.contains("ada@") && !text.contains("token="), "{text}");
        let inbound = json!({"type": "inbound", "account_id": 3, "body": "{\"private\":1}"});
        let text = shown(inbound);
        assert!(text.contains('3') && !text.contains("private"), "{text}");
        assert!(!shown(json!("ada@example.org")).contains("ada@"));
    }

    #[tokio::test]
    async fn what_cannot_be_read_does_not_hold_back_what_can() {
        let database = Postgres::shared().await.fresh_database().await;
        let pool = &database.pool;
        for (queue, payload) in [
            ("t.plan", json!({"type": "of the future"})),
            ("t.plan", json!("no message at all")),
            ("t.plan", json!({"type": "plan", "activity_id": 1})),
            (
                "t.gone",
                json!({"v": 1, "message": {"type": "plan", "activity_id": 2}}),
            ),
        ] {
            sqlx::query("insert into dead_messages (queue, payload, reason) values ($1, $2, '?')")
                .bind(queue)
                .bind(Json(payload))
                .execute(pool)
                .await
                .expect("inserts");
        }
        let queues = Queues::new("t", 1);
        assert_eq!(redrive(pool, &queues, 1).await.expect("redrives"), (1, 2));
        assert_eq!(redrive(pool, &queues, 9).await.expect("redrives"), (1, 2));
        let outbox: Vec<(String, Json<Message>)> =
            sqlx::query_as("select queue, payload from outbox order by id")
                .fetch_all(pool)
                .await
                .expect("reads");
        let expected = [1, 2].map(|activity_id| ("t.plan".to_owned(), activity_id));
        let found: Vec<_> = outbox
            .into_iter()
            .map(|(queue, Json(message))| match message {
                Message::Plan { activity_id } => (queue, activity_id),
                other => panic!("not ours: {other:?}"),
            })
            .collect();
        assert_eq!(found, expected);
        let left: i64 = sqlx::query_scalar("select count(*) from dead_messages")
            .fetch_one(pool)
            .await
            .expect("counts");
        assert_eq!(left, 2);
    }
}
