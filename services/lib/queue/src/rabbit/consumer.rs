//! One consumer over many queues, on one channel, for ever.
//!
//! A task subscribes, hands messages over, and subscribes anew whenever the channel is lost or
//! the broker cancelled a queue. Messages in hand at that moment are the broker's again; their
//! acks then do nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{SelectAll, select_all};
use futures::{Stream, StreamExt, stream};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Acker, Channel};
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::deferred;
use super::link::Link;
use super::publisher::{Item, Publisher};
use super::topology::{Topology, answer, open};
use crate::metrics::BURIED;
use crate::{Consumer, Delivered, Handle, QueueError, age};

/// The longest wait that is spent here, in hand, and not in the database: a blip.
const SHORT: Duration = Duration::from_secs(1);

/// The longest that a returned message is held here before the broker has it back, while the
/// database is away as well: holding uses up prefetch, and every return counts as a delivery.
const MAX_HOLD: Duration = Duration::from_secs(30);

/// The pause before subscribing anew. The link has its own, for a broker that is away.
const PAUSE: Duration = Duration::from_millis(500);

/// After so long without a message the broker is asked whether there is none.
const SILENCE: Duration = Duration::from_secs(10);

/// For cancelling and emptying a consumer that ends; what is not returned by then returns when
/// its channel closes.
const END_LIMIT: Duration = Duration::from_secs(2);

/// For one ack or return to be written out. On a connection that just died the library may
/// never answer; the message is the broker's again then, and nobody must wait for it.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// Characters of a reason in a header.
const MAX_REASON_CHARS: usize = 1_000;

type Arrivals = SelectAll<std::pin::Pin<Box<dyn Stream<Item = Option<Delivery>> + Send>>>;

/// What a consumer is made of.
pub(super) struct Source {
    pub(super) link: Arc<Link>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) topology: Arc<Topology>,
    /// Where messages wait for another try.
    pub(super) pool: PgPool,
    pub(super) queues: Vec<String>,
    pub(super) prefetch: u16,
}

/// A subscription that stands.
struct Session {
    channel: Channel,
    tags: Vec<ShortString>,
    arrivals: Arrivals,
}

pub(super) struct RabbitConsumer {
    messages: mpsc::Receiver<Delivered>,
    stop: CancellationToken,
    pump: Option<JoinHandle<()>>,
    _ends_with_us: DropGuard,
}

struct Pump {
    source: Source,
    /// One permit per message between here and its ack.
    capacity: Arc<Semaphore>,
    sender: mpsc::Sender<Delivered>,
    stop: CancellationToken,
}

impl Source {
    /// Fails only when waiting would not help; a broker that is away is waited for.
    pub(super) async fn start(self) -> Result<RabbitConsumer, QueueError> {
        let first = match self.subscribe().await {
            Ok(session) => Some(session),
            Err(QueueError::Unavailable(error)) => {
                tracing::warn!(%error, "consuming starts when RabbitMQ is there");
                None
            }
            Err(error) => return Err(error),
        };
        let (sender, messages) = mpsc::channel(usize::from(self.prefetch));
        let stop = CancellationToken::new();
        let pump = Pump {
            capacity: Arc::new(Semaphore::new(usize::from(self.prefetch))),
            source: self,
            sender,
            stop: stop.clone(),
        };
        Ok(RabbitConsumer {
            messages,
            pump: Some(tokio::spawn(pump.run(first))),
            _ends_with_us: stop.clone().drop_guard(),
            stop,
        })
    }

    async fn subscribe(&self) -> Result<Session, QueueError> {
        let connection = self.link.connection().await?;
        let channel = open(&connection).await?;
        self.topology.declare_on(&channel, &self.queues).await?;
        let share = usize::from(self.prefetch) / self.queues.len().max(1);
        let share = u16::try_from(share.max(1)).unwrap_or(u16::MAX);
        let qos = channel.basic_qos(share, BasicQosOptions::default());
        answer("setting prefetch", qos).await?;
        let (mut tags, mut streams) = (Vec::new(), Vec::new());
        for queue in &self.queues {
            let consuming = channel.basic_consume(
                queue.as_str().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            let consumer = answer("consuming", consuming).await?;
            tags.push(consumer.tag());
            // The end of one stream (its queue was deleted) must be seen, not swallowed.
            let arrivals = consumer.map(Result::ok).chain(stream::once(async { None }));
            streams.push(arrivals.boxed());
        }
        Ok(Session {
            channel,
            tags,
            arrivals: select_all(streams),
        })
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next(&mut self) -> Option<Delivered> {
        self.messages.recv().await
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.messages.close();
        while let Some(message) = self.messages.recv().await {
            message.give_back(Duration::ZERO).await;
        }
        if let Some(pump) = self.pump.take() {
            let _ended = pump.await;
        }
    }
}

impl Pump {
    async fn run(self, mut first: Option<Session>) {
        while !self.stop.is_cancelled() {
            let subscribed = match first.take() {
                Some(session) => Ok(session),
                None => self.source.subscribe().await,
            };
            match subscribed {
                Ok(mut session) => {
                    self.hand_over_all(&mut session).await;
                    session.end().await;
                }
                Err(error) => tracing::debug!(%error, "not consuming yet"),
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Returns on stop, or when the subscription is broken.
    async fn hand_over_all(&self, session: &mut Session) {
        loop {
            // Room first: what we have no room for stays with the broker or in its window.
            let permit = tokio::select! {
                () = self.stop.cancelled() => return,
                permit = Arc::clone(&self.capacity).acquire_owned() => permit,
            };
            let permit = permit.expect("the semaphore is never closed");
            let arrival = loop {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    arrival = session.arrivals.next() => break arrival.flatten(),
                    () = tokio::time::sleep(SILENCE) => if self.is_passed_over(&session.channel).await {
                        return;
                    },
                }
            };
            let Some(delivery) = arrival else { return };
            self.hand_over(&session.channel, delivery, permit).await;
        }
    }

    /// Whether messages are ready for us and none has come for [`SILENCE`] although there is room:
    /// what the broker or the client library holds for this subscription comes back with its end.
    /// Seen after a queue was deleted and made again. A queue that is gone ends it as well.
    async fn is_passed_over(&self, channel: &Channel) -> bool {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        for queue in &self.source.queues {
            let asking =
                channel.queue_declare(queue.as_str().into(), passive, FieldTable::default());
            match answer("looking at a queue", asking).await {
                Ok(found) if found.message_count() == 0 => {}
                Ok(found) => {
                    let ready = found.message_count();
                    tracing::warn!(%queue, ready, "messages do not come; subscribing again");
                    return true;
                }
                Err(_) => return true,
            }
        }
        false
    }

    async fn hand_over(&self, channel: &Channel, delivery: Delivery, permit: OwnedSemaphorePermit) {
        let queue = delivery.routing_key.to_string();
        let redeliveries = redeliveries(&delivery).saturating_add(deferred::count(&delivery));
        let decoded = age::decode_taken(&queue, &delivery.data);
        let handle = Arc::new(RabbitHandle {
            channel: channel.clone(),
            acker: delivery.acker,
            payload: delivery.data,
            queue: queue.clone(),
            redeliveries,
            pool: self.source.pool.clone(),
            dead_queue: self.source.topology.dead_queue().to_owned(),
            publisher: Arc::clone(&self.source.publisher),
            stop: self.stop.clone(),
            permit: std::sync::Mutex::new(Some(permit)),
        });
        match decoded {
            Ok(message) => {
                let delivered = Delivered::new(queue, message, redeliveries, handle);
                if let Err(refused) = self.sender.send(delivered).await {
                    refused.0.give_back(Duration::ZERO).await;
                }
            }
            Err(error) => {
                tracing::error!(%queue, %error, "buried a message");
                handle.bury(&error.to_string()).await;
            }
        }
    }
}

impl Session {
    /// Takes no more and returns what arrived but was not handed over. The channel stays open
    /// for the acks of what is in hand.
    async fn end(mut self) {
        let ending = async {
            for tag in &self.tags {
                let cancelling = self
                    .channel
                    .basic_cancel(tag.clone(), BasicCancelOptions::default());
                if cancelling.await.is_err() {
                    return;
                }
            }
            while let Some(arrival) = self.arrivals.next().await {
                if let Some(delivery) = arrival
                    && delivery.acker.nack(requeue()).await.is_err()
                {
                    return;
                }
            }
        };
        let _returned_with_the_channel = timeout(END_LIMIT, ending).await;
    }
}

/// Quorum queues count; the flag of the delivery itself knows only "before, at all".
fn redeliveries(delivery: &Delivery) -> u32 {
    let headers = delivery.properties.headers().as_ref();
    let counted = headers
        .and_then(|table| table.inner().get("x-delivery-count"))
        .and_then(|value| match value {
            AMQPValue::LongLongInt(count) => u32::try_from(*count).ok(),
            AMQPValue::LongInt(count) => u32::try_from(*count).ok(),
            AMQPValue::LongUInt(count) => Some(*count),
            AMQPValue::ShortShortInt(count) => u32::try_from(*count).ok(),
            AMQPValue::ShortShortUInt(count) => Some(u32::from(*count)),
            AMQPValue::ShortInt(count) => u32::try_from(*count).ok(),
            AMQPValue::ShortUInt(count) => Some(u32::from(*count)),
            _ => None,
        });
    counted.unwrap_or(0).max(u32::from(delivery.redelivered))
}

fn requeue() -> BasicNackOptions {
    BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    }
}

struct RabbitHandle {
    /// Kept so that the channel stays open until the last message of it is settled.
    channel: Channel,
    acker: Acker,
    payload: Vec<u8>,
    queue: String,
    redeliveries: u32,
    pool: PgPool,
    dead_queue: String,
    publisher: Arc<Publisher>,
    /// The consumer stops: nothing is held any longer.
    stop: CancellationToken,
    permit: std::sync::Mutex<Option<OwnedSemaphorePermit>>,
}

impl RabbitHandle {
    async fn ack_now(&self) {
        let ack = timeout(SETTLE_LIMIT, self.acker.ack(BasicAckOptions::default()));
        if !matches!(ack.await, Ok(Ok(true))) {
            tracing::debug!(queue = %self.queue, "an ack came too late; the message comes again");
        }
    }
}

#[async_trait]
impl Handle for RabbitHandle {
    async fn ack(&self) {
        self.ack_now().await;
    }

    /// At once when `delay` is zero. A short one is spent here, counted as in hand and no longer
    /// than the consumer lives. A longer one is spent in the database, and the broker forgets the
    /// message: a crash between makes two. While the database is away, at most [`MAX_HOLD`] here.
    async fn give_back(&self, delay: Duration) {
        if delay > SHORT {
            let told = self.redeliveries.saturating_add(1);
            match deferred::write(&self.pool, &self.queue, &self.payload, told, delay).await {
                Ok(()) => return self.ack_now().await,
                Err(error) => {
                    tracing::warn!(queue = %self.queue, %error, "a message waits in hand");
                }
            }
        }
        if delay.is_zero() || self.stop.is_cancelled() {
            let _lost_with_its_channel = timeout(SETTLE_LIMIT, self.acker.nack(requeue())).await;
            return;
        }
        let permit = self.permit.lock().map_or(None, |mut permit| permit.take());
        let (acker, channel, stop) = (self.acker.clone(), self.channel.clone(), self.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(delay.min(MAX_HOLD)) => {}
            }
            let _lost_with_its_channel = timeout(SETTLE_LIMIT, acker.nack(requeue())).await;
            drop((channel, permit));
        });
    }

    /// First to the dead queue, confirmed, then gone from its own: a crash between makes two.
    async fn bury(&self, reason: &str) {
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        let item = Item::new(self.dead_queue.clone(), self.payload.clone())
            .with_header("x-tidegate-queue", &self.queue)
            .with_header("x-tidegate-reason", &reason);
        if let Some(Ok(())) = self.publisher.publish(vec![item]).await.pop() {
            BURIED.inc();
            self.ack_now().await;
        } else {
            tracing::warn!(queue = %self.queue, "a message could not be buried; it comes again");
            self.give_back(PAUSE).await;
        }
    }
}
