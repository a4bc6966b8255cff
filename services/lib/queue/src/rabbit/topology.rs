//! The queues as RabbitMQ has to have them.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use tokio::time::timeout;

use super::fault::{Doing, explain};
use crate::{QueueError, QueueStats};

/// For one answer of the broker. Declaring a quorum queue takes 40 ms when idle.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How often a message may come back before the broker moves it to the dead queue. It counts
/// every return, clean hand-overs included, so that it only stops what would circle for ever:
/// with 5, six crashes killed 185 of 300 healthy messages (design section 6). Waits for another
/// try do not count, because they are spent in the database. Set in any case, because 3.10 has
/// no limit and 4.x has 20.
const DELIVERY_LIMIT: i64 = 1_000;

/// The same for dead messages, which nothing lies behind: operators who look at one and put it
/// back must never lose it.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

pub(super) struct Topology {
    dead: String,
}

impl Topology {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            dead: format!("{prefix}.dead"),
        }
    }

    pub(super) fn dead_queue(&self) -> &str {
        &self.dead
    }

    /// Makes the queues and the dead queue; safe to repeat.
    pub(super) async fn declare(
        &self,
        connection: &Connection,
        queues: &[String],
    ) -> Result<(), QueueError> {
        let channel = open(connection).await?;
        self.declare_on(&channel, queues).await
    }

    /// The same on a channel that goes on being used when all is well.
    pub(super) async fn declare_on(
        &self,
        channel: &Channel,
        queues: &[String],
    ) -> Result<(), QueueError> {
        declare_one(channel, &self.dead, dead_arguments()).await?;
        for queue in queues.iter().filter(|queue| **queue != self.dead) {
            declare_one(channel, queue, self.arguments(queue)).await?;
        }
        Ok(())
    }

    pub(super) async fn stats(
        &self,
        connection: &Connection,
        queues: &[String],
    ) -> Result<Vec<QueueStats>, QueueError> {
        let mut stats = Vec::with_capacity(queues.len());
        let mut channel = open(connection).await?;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        for queue in queues {
            let asked =
                channel.queue_declare(queue.as_str().into(), passive, FieldTable::default());
            let ready = match answer("asking for a queue", asked).await {
                Ok(found) => u64::from(found.message_count()),
                Err(error) => {
                    // A queue that does not exist holds nothing; the question cost the channel.
                    if !connection.status().connected() {
                        return Err(error);
                    }
                    channel = open(connection).await?;
                    0
                }
            };
            stats.push(QueueStats {
                queue: queue.clone(),
                ready,
                unacked: 0,
            });
        }
        Ok(stats)
    }

    /// Replicated, and dead-lettering at least once, which needs `reject-publish`: the default
    /// drops the oldest message silently.
    fn arguments(&self, queue: &str) -> FieldTable {
        let mut table = FieldTable::default();
        insert(&mut table, "x-queue-type", "quorum");
        insert(&mut table, "x-overflow", "reject-publish");
        insert(&mut table, "x-dead-letter-strategy", "at-least-once");
        insert(&mut table, "x-dead-letter-exchange", "");
        insert(&mut table, "x-dead-letter-routing-key", &self.dead);
        table.insert(
            "x-delivery-limit".into(),
            AMQPValue::LongLongInt(DELIVERY_LIMIT),
        );
        if has_one_owner(queue) {
            table.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        }
        table
    }
}

/// Whether a queue is one of a delivery shard's, which have one owner by lease. That the broker
/// gives messages to one consumer only is the second belt (design section 6).
fn has_one_owner(queue: &str) -> bool {
    let mut parts = queue.rsplit('.');
    let is_numbered = parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
    is_numbered && parts.nth(1) == Some("deliver")
}

fn dead_arguments() -> FieldTable {
    let mut table = FieldTable::default();
    insert(&mut table, "x-queue-type", "quorum");
    table.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(DEAD_DELIVERY_LIMIT),
    );
    table
}

fn insert(table: &mut FieldTable, key: &str, value: &str) {
    table.insert(key.into(), AMQPValue::LongString(value.into()));
}

async fn declare_one(
    channel: &Channel,
    queue: &str,
    arguments: FieldTable,
) -> Result<(), QueueError> {
    let declaring = channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments);
    match timeout(ANSWER_LIMIT, declaring).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(explain(&error, Doing::Declaring { queue })),
        Err(_) => Err(late("declaring a queue")),
    }
}

/// A channel, within the time for an answer.
pub(super) async fn open(connection: &Connection) -> Result<Channel, QueueError> {
    answer("opening a channel", connection.create_channel()).await
}

/// One question to the broker, bounded in time.
pub(super) async fn answer<T>(
    what: &'static str,
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, QueueError> {
    match timeout(ANSWER_LIMIT, asked).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(explain(&error, Doing::Other(what))),
        Err(_) => Err(late(what)),
    }
}

fn late(what: &str) -> QueueError {
    QueueError::Unavailable(format!(
        "RabbitMQ did not answer within {ANSWER_LIMIT:?} ({what})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lanes_of_shards_have_one_owner() {
        let queues = tidegate_model::Queues::new("deliver", 2);
        let (shards, suspect) = (queues.for_delivery(), queues.suspect());
        for queue in shards.iter().filter(|queue| **queue != suspect) {
            assert!(has_one_owner(queue), "{queue}");
        }
        assert!(!has_one_owner(&suspect));
        // Even where the prefix looks like the word.
        for queue in queues.for_fanout() {
            assert!(!has_one_owner(&queue), "{queue}");
        }
    }
}
