//! Confirmed publishing in a sliding window.
//!
//! A batch has a channel to itself: the broker says which message it could not route only in
//! passing, and the client library pins that on whichever confirm comes next. With one batch per
//! channel and a number in every message, the right one is found.
//!
//! Nothing is published on a blocked connection. After a blockade, and on every new connection,
//! one message goes first alone; only its confirm lets the others follow.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

use super::link::Link;
use super::topology::{Topology, answer, open};
use crate::QueueError;

/// Messages in flight per batch. Measured: confirms one by one 1.7 k/s, a window of 500 21 to
/// 44 k/s; wider gains nothing.
const WINDOW: usize = 500;

/// For the confirm of one message. A healthy broker takes milliseconds; one with an alarm says
/// nothing at all, and the caller must not hang with it.
const CONFIRM_LIMIT: Duration = Duration::from_secs(5);

/// Batches at a time, each on its own channel: the relay, and a few callers beside it.
const CHANNELS: usize = 4;

/// How long a blockade is taken at its word before a new connection is tried, in case the
/// notice of its end was lost.
const BLOCKED_PATIENCE: Duration = Duration::from_secs(30);

/// RabbitMQ's mark for "write to disk".
const PERSISTENT: u8 = 2;

/// A message as bytes.
pub(super) struct Item {
    queue: String,
    payload: Vec<u8>,
    headers: FieldTable,
}

impl Item {
    pub(super) fn new(queue: String, payload: Vec<u8>) -> Self {
        Self {
            queue,
            payload,
            headers: FieldTable::default(),
        }
    }

    /// With a text in its headers.
    pub(super) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .insert(name.into(), AMQPValue::LongString(value.into()));
        self
    }
}

pub(super) struct Publisher {
    link: Link,
    topology: Arc<Topology>,
    slots: Semaphore,
    free: SyncMutex<Vec<Lane>>,
    health: Mutex<Health>,
    /// Held by whoever sends the first message alone.
    canary: Mutex<()>,
}

#[derive(Default)]
struct Health {
    blocked_since: Option<Instant>,
    /// Whether a message was confirmed on this connection since it was made or last blocked.
    proven: Option<(Arc<Connection>, Arc<AtomicBool>)>,
}

/// A channel in confirm mode.
struct Lane {
    channel: Channel,
    connection: Arc<Connection>,
    /// Of the connection, shared by its channels.
    proven: Arc<AtomicBool>,
}

/// What the messages of one batch tell each other.
struct Flight {
    channel: Channel,
    connection: Arc<Connection>,
    /// Something is wrong: what has not left yet stays.
    halted: AtomicBool,
    /// Numbers of messages that no queue took.
    returned: SyncMutex<HashSet<String>>,
}

impl Publisher {
    pub(super) fn new(link: Link, topology: Arc<Topology>) -> Self {
        Self {
            link,
            topology,
            slots: Semaphore::new(CHANNELS),
            free: SyncMutex::default(),
            health: Mutex::default(),
            canary: Mutex::default(),
        }
    }

    /// Each result at its message's place.
    pub(super) async fn publish(&self, items: Vec<Item>) -> Vec<Result<(), QueueError>> {
        if items.is_empty() {
            return Vec::new();
        }
        let count = items.len();
        let opened = async {
            // Whoever holds the slots gives them up within a few confirm limits.
            let slot = timeout(CONFIRM_LIMIT * 2, self.slots.acquire())
                .await
                .map_err(|_| QueueError::Unavailable("too much is being published".to_owned()))?;
            Ok((slot, self.lane().await?))
        };
        let (_slot, lane) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return same_for_all(count, &error),
        };
        let queues: Vec<String> = items.iter().map(|item| item.queue.clone()).collect();
        let flight = Arc::new(Flight {
            channel: lane.channel.clone(),
            connection: Arc::clone(&lane.connection),
            halted: AtomicBool::new(false),
            returned: SyncMutex::default(),
        });
        let mut results = self.fly(&flight, &lane.proven, items).await;
        if flight.halted.load(Ordering::Acquire) {
            self.give_up(&lane).await;
        } else {
            self.put_back(lane);
        }
        let returned = std::mem::take(&mut *lock(&flight.returned));
        for place in returned.iter().filter_map(|id| id.parse::<usize>().ok()) {
            if let Some(result) = results.get_mut(place) {
                *result = Err(self.remake(&flight.connection, &queues[place]).await);
            }
        }
        results
    }

    /// The first alone where that is due, then all others.
    async fn fly(
        &self,
        flight: &Arc<Flight>,
        proven: &AtomicBool,
        items: Vec<Item>,
    ) -> Vec<Result<(), QueueError>> {
        let count = items.len();
        let mut items = items.into_iter().enumerate();
        let mut results = Vec::with_capacity(count);
        if !proven.load(Ordering::Acquire) {
            let _alone = self.canary.lock().await;
            if !proven.load(Ordering::Acquire)
                && let Some((place, item)) = items.next()
            {
                match Arc::clone(flight).send(place, item).await {
                    Err(error) if flight.halted.load(Ordering::Acquire) => {
                        return same_for_all(count, &error);
                    }
                    result => results.push(result),
                }
                proven.store(true, Ordering::Release);
            }
        }
        let sending = items.map(|(place, item)| Arc::clone(flight).send(place, item));
        let rest: Vec<_> = stream::iter(sending).buffered(WINDOW).collect().await;
        results.extend(rest);
        results
    }

    /// A healthy channel, used before or new.
    async fn lane(&self) -> Result<Lane, QueueError> {
        let connection = self.link.connection().await?;
        let connection = if connection.status().blocked() {
            self.blocked(&connection).await?;
            self.link.connection().await?
        } else {
            connection
        };
        let proven = self.proven_on(&connection).await;
        let reusable = {
            let mut free = lock(&self.free);
            free.retain(|lane| {
                Arc::ptr_eq(&lane.connection, &connection) && lane.channel.status().connected()
            });
            free.pop()
        };
        if let Some(lane) = reusable {
            return Ok(lane);
        }
        let channel = open(&connection).await?;
        answer(
            "asking for confirms",
            channel.confirm_select(ConfirmSelectOptions::default()),
        )
        .await?;
        Ok(Lane {
            channel,
            connection,
            proven,
        })
    }

    /// The mark of an unblocked connection.
    async fn proven_on(&self, connection: &Arc<Connection>) -> Arc<AtomicBool> {
        let mut health = self.health.lock().await;
        health.blocked_since = None;
        match &health.proven {
            Some((known, proven)) if Arc::ptr_eq(known, connection) => Arc::clone(proven),
            _ => {
                let proven = Arc::default();
                health.proven = Some((Arc::clone(connection), Arc::clone(&proven)));
                proven
            }
        }
    }

    /// Refuses while the blockade is young; after that gives the connection up, so that one
    /// message on a new one finds out.
    async fn blocked(&self, connection: &Arc<Connection>) -> Result<(), QueueError> {
        let mut health = self.health.lock().await;
        // Whatever follows the blockade starts with one message.
        if let Some((_, proven)) = &health.proven {
            proven.store(false, Ordering::Release);
        }
        let since = *health.blocked_since.get_or_insert_with(Instant::now);
        if since.elapsed() < BLOCKED_PATIENCE {
            return Err(blocked());
        }
        *health = Health::default();
        self.link.discard(connection).await;
        Ok(())
    }

    fn put_back(&self, lane: Lane) {
        let mut free = lock(&self.free);
        if free.len() < CHANNELS && lane.channel.status().connected() {
            free.push(lane);
        }
    }

    /// After a failure the channel is never used again: late confirms must not meet the next
    /// batch. A connection that is silent without being blocked goes too.
    async fn give_up(&self, lane: &Lane) {
        lane.proven.store(false, Ordering::Release);
        if !lane.connection.status().blocked() {
            self.link.discard(&lane.connection).await;
        }
    }

    /// A message came back because its queue does not exist: make it, for the next attempt.
    async fn remake(&self, connection: &Connection, queue: &str) -> QueueError {
        let queues = [queue.to_owned()];
        match self.topology.declare(connection, &queues).await {
            Ok(()) => {
                tracing::warn!(%queue, "a queue was missing and has been declared");
                QueueError::Unavailable(format!("the queue {queue} was missing; it is made now"))
            }
            Err(error) => error,
        }
    }
}

impl Flight {
    /// Publishes one message and waits for its confirm.
    async fn send(self: Arc<Self>, place: usize, item: Item) -> Result<(), QueueError> {
        if self.halted.load(Ordering::Acquire) {
            return Err(QueueError::Unavailable(
                "another message of the batch was not confirmed".to_owned(),
            ));
        }
        if self.connection.status().blocked() {
            self.halted.store(true, Ordering::Release);
            return Err(blocked());
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into())
            .with_message_id(place.to_string().into())
            .with_headers(item.headers);
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirmed = timeout(CONFIRM_LIMIT, async {
            self.channel
                .basic_publish(
                    "".into(),
                    item.queue.as_str().into(),
                    mandatory,
                    &item.payload,
                    properties,
                )
                .await?
                .await
        })
        .await;
        match confirmed {
            Ok(Ok(Confirmation::Ack(returned))) => {
                self.note(returned);
                Ok(())
            }
            Ok(Ok(Confirmation::Nack(returned))) => {
                self.note(returned);
                Err(QueueError::Unavailable(
                    "the broker could not store the message".to_owned(),
                ))
            }
            Ok(Ok(Confirmation::NotRequested)) => {
                self.halted.store(true, Ordering::Release);
                Err(QueueError::Unavailable("no confirms here".to_owned()))
            }
            Ok(Err(error)) => {
                self.halted.store(true, Ordering::Release);
                let doing = super::fault::Doing::Other("publishing");
                Err(super::fault::explain(&error, doing))
            }
            Err(_) => {
                self.halted.store(true, Ordering::Release);
                Err(QueueError::Unavailable(format!(
                    "no confirm within {CONFIRM_LIMIT:?}"
                )))
            }
        }
    }

    fn note(&self, returned: Option<BasicReturnMessage>) {
        let id = returned.and_then(|message| message.delivery.properties.message_id().clone());
        if let Some(id) = id {
            lock(&self.returned).insert(id.to_string());
        }
    }
}

fn blocked() -> QueueError {
    QueueError::Unavailable("the broker blocks publishing (memory or disk alarm)".to_owned())
}

fn same_for_all(count: usize, error: &QueueError) -> Vec<Result<(), QueueError>> {
    let text = match error {
        QueueError::Unavailable(text) | QueueError::Refused(text) => text.clone(),
        QueueError::Other(error) => error.to_string(),
    };
    let one = || match error {
        QueueError::Refused(_) => QueueError::Refused(text.clone()),
        _ => QueueError::Unavailable(text.clone()),
    };
    (0..count).map(|_| Err(one())).collect()
}

fn lock<T>(mutex: &SyncMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
