//! Brings the broker's dead messages into the database, where operators list, count and redrive
//! them: the same table as that of the embedded queue, so that there is one place to look.

use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use sqlx::PgPool;
use sqlx::types::Json;

use super::RabbitQueue;
use super::topology::{answer, open};
use crate::table::bounded;
use crate::{QueueError, envelope};

/// Dead messages that one call moves at most, so that a flood of them does not keep the caller
/// from looking whether it is to stop; the rest comes with the next call.
const BATCH: usize = 500;

impl RabbitQueue {
    /// Moves dead messages into the table `dead_messages` until there are none, or some hundred
    /// are moved; says how many. Each is acknowledged after its row is committed: a crash in
    /// between makes two rows, and redriving both is absorbed like any repeat.
    pub async fn drain_dead(&self, pool: &PgPool) -> Result<usize, QueueError> {
        let connection = self.consuming.connection().await?;
        let channel = open(&connection).await?;
        self.topology.declare_on(&channel, &[]).await?;
        let mut moved = 0;
        while moved < BATCH {
            let getting = channel.basic_get(self.dead_queue().into(), BasicGetOptions::default());
            let Some(message) = answer("taking a dead message", getting).await? else {
                break;
            };
            store(pool, &message).await?;
            let acking = message.ack(BasicAckOptions::default());
            answer("acknowledging a dead message", acking).await?;
            moved += 1;
        }
        let _closed_or_gone = channel.close(200, "".into()).await;
        Ok(moved)
    }
}

async fn store(pool: &PgPool, message: &BasicGetMessage) -> Result<(), QueueError> {
    let (queue, reason) = origin(message.delivery.properties.headers().as_ref());
    tracing::warn!(queue, reason, "a message died on RabbitMQ");
    let insert =
        sqlx::query("insert into dead_messages (queue, payload, reason) values ($1, $2, $3)")
            .bind(queue)
            .bind(Json(payload(&message.delivery.data)))
            .bind(reason)
            .execute(pool);
    bounded(insert).await?;
    Ok(())
}

/// JSON as it is, where a table can hold it; anything else as a text, to be looked at.
fn payload(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    match serde_json::from_str(&text) {
        Ok(value) if !envelope::holds_nul(&text) => value,
        _ => Value::String(text.replace('\0', "\u{fffd}")),
    }
}

/// The queue and the reason: ours where we buried the message, else the broker's own.
fn origin(headers: Option<&FieldTable>) -> (String, String) {
    let ours = |name| headers.and_then(|table| text(table, name));
    let brokers = |name| {
        headers
            .and_then(first_death)
            .and_then(|table| text(table, name))
    };
    let queue = ours("x-tidegate-queue").or_else(|| brokers("queue"));
    let reason = ours("x-tidegate-reason").or_else(|| brokers("reason"));
    let clean = |text: String| text.replace('\0', "\u{fffd}");
    (
        clean(queue.unwrap_or_else(|| "unknown".to_owned())),
        clean(reason.unwrap_or_else(|| "RabbitMQ gave no reason".to_owned())),
    )
}

fn text(table: &FieldTable, name: &str) -> Option<String> {
    match table.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The broker's newest entry on why it gave a message up.
fn first_death(headers: &FieldTable) -> Option<&FieldTable> {
    match headers.inner().get("x-death")? {
        AMQPValue::FieldArray(deaths) => match deaths.as_slice().first()? {
            AMQPValue::FieldTable(death) => Some(death),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(table: &mut FieldTable, key: &str, value: &str) {
        table.insert(key.into(), AMQPValue::LongString(value.into()));
    }

    #[test]
    fn what_the_broker_gave_up_keeps_its_queue_and_reason() {
        let (mut death, mut headers) = (FieldTable::default(), FieldTable::default());
        entry(&mut death, "queue", "t.plan");
        entry(&mut death, "reason", "delivery_limit");
        let deaths = vec![AMQPValue::FieldTable(death)];
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
        let expected = ("t.plan".to_owned(), "delivery_limit".to_owned());
        assert_eq!(origin(Some(&headers)), expected);
        assert_eq!(origin(None).0, "unknown");
    }

    #[test]
    fn what_is_no_json_for_a_table_becomes_a_text() {
        assert_eq!(payload(br#"{"v":1}"#)["v"], 1);
        assert_eq!(payload(b"\x00no json"), "\u{fffd}no json");
        assert_eq!(payload(br#"["a\u0000b"]"#), r#"["a\u0000b"]"#);
    }
}
