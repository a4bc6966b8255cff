//! The trait that both backends implement, and the words it is spoken in.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_model::Message;

/// A message on its way in.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The queue's full name, from [`tidegate_model::Queues`].
    pub queue: String,
    /// What it says.
    pub message: Message,
}

/// Why a queue did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The broker is away, blocked, or did not confirm in time; try again later.
    #[error("the queue is not reachable: {0}")]
    Unavailable(String),
    /// The broker refused for good: no such queue, no rights. The text says what to do.
    #[error("the queue refused: {0}")]
    Refused(String),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// What a queue holds, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStats {
    /// The queue.
    pub queue: String,
    /// Messages ready to be taken.
    pub ready: u64,
    /// Messages in the hands of consumers.
    pub unacked: u64,
}

/// Durable messages. A message that was published successfully is delivered at least once to
/// some consumer, until one acknowledges it; nothing but an acknowledgement removes it.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Makes sure that the queues exist. Safe to repeat.
    async fn declare(&self, queues: &[String]) -> Result<(), QueueError>;

    /// Publishes a batch; the result at each place is that message's own. `Ok` means that it is
    /// durable. Bounded in time: a blocked broker gives `Unavailable`, it does not hang.
    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>>;

    /// The same for messages of which some were delivered before: what [`Delivered`] tells of
    /// each begins at its count. A backend that delays by itself has no use for that.
    async fn publish_again(&self, batch: Vec<(Outgoing, u32)>) -> Vec<Result<(), QueueError>> {
        self.publish(batch.into_iter().map(|(outgoing, _)| outgoing).collect())
            .await
    }

    /// Starts taking from `queues`, with at most `prefetch` unacknowledged messages in hand.
    /// The consumer survives reconnects; what was in hand then is delivered again.
    async fn consume(
        &self,
        queues: &[String],
        prefetch: u16,
    ) -> Result<Box<dyn Consumer>, QueueError>;

    /// What the queues hold now.
    async fn stats(&self, queues: &[String]) -> Result<Vec<QueueStats>, QueueError>;
}

/// A stream of messages.
#[async_trait]
pub trait Consumer: Send {
    /// The next message; waits for one. `None` after [`Consumer::stop`]. Cancel-safe.
    async fn next(&mut self) -> Option<Delivered>;

    /// Takes no more. Messages in hand stay valid until they are acknowledged, given back or
    /// dropped.
    async fn stop(&mut self);
}

/// A message in hand. Dropping it gives it back.
pub struct Delivered {
    /// Where it came from.
    pub queue: String,
    /// What it says.
    pub message: Message,
    /// How often it was delivered before.
    pub redeliveries: u32,
    handle: Option<Arc<dyn Handle>>,
}

impl Delivered {
    /// A message whose fate is told to `handle`; backends make these.
    pub fn new(
        queue: String,
        message: Message,
        redeliveries: u32,
        handle: Arc<dyn Handle>,
    ) -> Self {
        Self {
            queue,
            message,
            redeliveries,
            handle: Some(handle),
        }
    }

    /// Done: the queue forgets it. An ack that does not reach the queue means that it comes
    /// again, which every handler must absorb.
    pub async fn ack(mut self) {
        if let Some(handle) = self.handle.take() {
            handle.ack().await;
        }
    }

    /// Not now: it is delivered again, not before `delay`.
    pub async fn give_back(mut self, delay: Duration) {
        if let Some(handle) = self.handle.take() {
            handle.give_back(delay).await;
        }
    }

    /// Never: it goes to the dead messages with a reason, where an operator finds it.
    pub async fn bury(mut self, reason: &str) {
        if let Some(handle) = self.handle.take() {
            handle.bury(reason).await;
        }
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            // A panic or an early return must not lose the message, nor hold it until the
            // process ends.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { handle.give_back(Duration::from_secs(1)).await });
            }
        }
    }
}

/// What can be done with one message in hand. Each is called at most once.
#[async_trait]
pub trait Handle: Send + Sync {
    /// Removes the message.
    async fn ack(&self);
    /// Makes it available again after `delay`.
    async fn give_back(&self, delay: Duration);
    /// Moves it to the dead messages.
    async fn bury(&self, reason: &str);
}
