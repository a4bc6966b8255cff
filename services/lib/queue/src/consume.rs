//! The loop around every handler: take, handle side by side, and tell the queue the outcome.
//!
//! A handler never touches the message itself. It returns a [`Decision`], so that no path can
//! forget to acknowledge; a panic is caught here and buries the message, because a message that
//! crashes its handler would do so again, and must not take its neighbours with it.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tidegate_model::Message;
use tidegate_telemetry::Stop;
use tokio::task::JoinSet;

use crate::{Consumer, Delivered, Queue, QueueError};

/// How long to wait before asking again for a consumer that the queue could not give: short
/// enough that a broker's restart costs no more than its own time.
const RETRY_CONSUME: Duration = Duration::from_secs(1);

/// The longest reason that is written beside a buried message, in characters.
const MAX_REASON: usize = 500;

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// All its effects are durable, or it has none: forget it.
    Done,
    /// Something it needs is away: deliver it again after this long.
    Retry(Duration),
    /// It cannot be handled, now or ever: to the dead messages, with the reason.
    Bury(String),
}

/// A message as a handler sees it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where it came from.
    pub queue: String,
    /// What it says.
    pub message: Message,
    /// How often it was delivered before.
    pub redeliveries: u32,
}

/// Handles the messages of `queues`, at most `concurrency` at a time, until `stop`.
///
/// A soft stop takes no more and finishes what is in hand. A hard stop drops it, which gives it
/// back. Fails only when the queue refuses for good.
pub async fn consume<H, F>(
    queue: &dyn Queue,
    queues: &[String],
    concurrency: u16,
    stop: &Stop,
    handle: H,
) -> Result<(), QueueError>
where
    H: Fn(Job) -> F,
    F: Future<Output = Decision> + Send + 'static,
{
    let Some(mut consumer) = subscribe(queue, queues, concurrency, stop).await? else {
        return Ok(());
    };
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.soft.cancelled() => break,
            Some(_) = running.join_next(), if !running.is_empty() => {}
            delivered = consumer.next(), if running.len() < usize::from(concurrency.max(1)) => {
                let Some(delivered) = delivered else { break };
                let job = Job {
                    queue: delivered.queue.clone(),
                    message: delivered.message.clone(),
                    redeliveries: delivered.redeliveries,
                };
                running.spawn(run_one(delivered, handle(job)));
            }
        }
    }
    consumer.stop().await;
    loop {
        tokio::select! {
            biased;
            () = stop.hard.cancelled() => {
                running.shutdown().await;
                return Ok(());
            }
            ended = running.join_next() => if ended.is_none() {
                return Ok(());
            },
        }
    }
}

/// A consumer, or `None` when a stop came first.
async fn subscribe(
    queue: &dyn Queue,
    queues: &[String],
    concurrency: u16,
    stop: &Stop,
) -> Result<Option<Box<dyn Consumer>>, QueueError> {
    loop {
        match queue.consume(queues, concurrency).await {
            Ok(consumer) => return Ok(Some(consumer)),
            Err(QueueError::Unavailable(error)) => {
                tracing::warn!(error, "cannot take from the queue yet; trying again");
            }
            Err(error) => return Err(error),
        }
        if !stop.sleep(RETRY_CONSUME).await {
            return Ok(None);
        }
    }
}

async fn run_one(delivered: Delivered, work: impl Future<Output = Decision>) {
    let decision = AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Decision::Bury(format!("panic: {}", panic_text(&*panic))));
    match decision {
        Decision::Done => delivered.ack().await,
        Decision::Retry(delay) => delivered.give_back(delay).await,
        Decision::Bury(reason) => {
            let reason: String = reason.chars().take(MAX_REASON).collect();
            tracing::error!(queue = delivered.queue, ?reason, "buried a message");
            delivered.bury(&reason).await;
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{Handle, Outgoing, QueueStats};

    /// Hands out what it was given and writes down every fate.
    struct Scripted {
        messages: Mutex<Vec<i64>>,
        fates: mpsc::UnboundedSender<(i64, String)>,
    }

    struct Fate(i64, mpsc::UnboundedSender<(i64, String)>);

    #[async_trait]
    impl Handle for Fate {
        async fn ack(&self) {
            self.1.send((self.0, "ack".to_owned())).expect("listens");
        }
        async fn give_back(&self, delay: Duration) {
            let fate = format!("back {}", delay.as_secs());
            self.1.send((self.0, fate)).expect("listens");
        }
        async fn bury(&self, reason: &str) {
            self.1
                .send((self.0, format!("bury {reason}")))
                .expect("listens");
        }
    }

    #[async_trait]
    impl Queue for Scripted {
        async fn declare(&self, _: &[String]) -> Result<(), QueueError> {
            Ok(())
        }
        async fn publish(&self, _: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
            Vec::new()
        }
        async fn consume(&self, _: &[String], _: u16) -> Result<Box<dyn Consumer>, QueueError> {
            let messages = std::mem::take(&mut *self.messages.lock().expect("not poisoned"));
            Ok(Box::new(ScriptedConsumer(messages, self.fates.clone())))
        }
        async fn stats(&self, _: &[String]) -> Result<Vec<QueueStats>, QueueError> {
            Ok(Vec::new())
        }
    }

    struct ScriptedConsumer(Vec<i64>, mpsc::UnboundedSender<(i64, String)>);

    #[async_trait]
    impl Consumer for ScriptedConsumer {
        async fn next(&mut self) -> Option<Delivered> {
            let Some(id) = self.0.pop() else {
                return std::future::pending().await;
            };
            let handle = Arc::new(Fate(id, self.1.clone()));
            let message = Message::Plan { activity_id: id };
            Some(Delivered::new("plan".to_owned(), message, 0, handle))
        }
        async fn stop(&mut self) {}
    }

    async fn fates_of<F>(ids: Vec<i64>, handle: fn(i64) -> F) -> Vec<(i64, String)>
    where
        F: Future<Output = Decision> + Send + 'static,
    {
        let (fates, mut told) = mpsc::unbounded_channel();
        let count = ids.len();
        let queue = Scripted {
            messages: Mutex::new(ids),
            fates,
        };
        let stop = Stop::default();
        let names = ["plan".to_owned()];
        let consuming = consume(&queue, &names, 2, &stop, move |job| match job.message {
            Message::Plan { activity_id } => handle(activity_id),
            other => panic!("never published: {other:?}"),
        });
        let watching = async {
            let mut all = Vec::new();
            while all.len() < count {
                all.push(told.recv().await.expect("every message has a fate"));
            }
            stop.stop_softly();
            all.sort();
            all
        };
        let (consumed, all) = tokio::join!(consuming, watching);
        consumed.expect("the queue never refuses");
        all
    }

    #[tokio::test]
    async fn every_decision_reaches_the_queue_and_a_panic_buries_only_its_own_message() {
        let fates = fates_of(vec![1, 2, 3, 4], |id| async move {
            match id {
                1 => Decision::Done,
                2 => Decision::Retry(Duration::from_secs(7)),
                3 => Decision::Bury("cannot be read".to_owned()),
                _ => panic!("crashed on {id}"),
            }
        })
        .await;
        assert_eq!(
            fates,
            [
                (1, "ack".to_owned()),
                (2, "back 7".to_owned()),
                (3, "bury cannot be read".to_owned()),
                (4, "bury panic: crashed on 4".to_owned()),
            ]
        );
    }

    #[tokio::test]
    async fn a_soft_stop_finishes_what_is_in_hand_and_a_hard_one_does_not_wait() {
        let (fates, mut told) = mpsc::unbounded_channel();
        let queue = Scripted {
            messages: Mutex::new(vec![1]),
            fates,
        };
        let stop = Stop::default();
        let names = ["plan".to_owned()];
        let consuming = consume(&queue, &names, 1, &stop, |_| std::future::pending());
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            stop.stop_softly();
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(told.try_recv().is_err(), "still in hand");
            stop.stop_now();
        };
        let (consumed, ()) = tokio::join!(consuming, stopping);
        consumed.expect("ends");
        assert_eq!(told.recv().await.expect("given back").1, "back 1");
    }
}
