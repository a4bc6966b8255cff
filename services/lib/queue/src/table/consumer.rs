//! One consumer of the embedded queue: a task that claims, a task that renews.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::settle::{Hand, Settler};
use super::{FALLBACK, Subscription, TableQueue, bounded, sql};
use crate::{Consumer, Delivered, envelope};

/// Messages per claim. Small enough that two consumers share a short queue, large enough that
/// the statement costs little per message.
const CLAIM_ROWS: usize = 100;

pub(super) struct TableConsumer {
    messages: mpsc::Receiver<Delivered>,
    stop: CancellationToken,
    claimer: Option<JoinHandle<()>>,
    _ends_with_us: DropGuard,
}

pub(super) fn start(
    queue: &TableQueue,
    queues: &[String],
    prefetch: u16,
    subscription: Arc<Subscription>,
) -> TableConsumer {
    let hand = Arc::new(Hand::new(
        queue.pool.clone(),
        queue.visibility,
        Arc::clone(&queue.subscribers),
    ));
    let prefetch = usize::from(prefetch.max(1));
    let (sender, messages) = mpsc::channel(prefetch);
    let stop = CancellationToken::new();
    tokio::spawn(renew(Arc::downgrade(&hand), queue.visibility));
    let claimer = Claimer {
        settler: Settler::start(Arc::clone(&hand)),
        hand,
        queues: queues.to_vec(),
        capacity: Arc::new(Semaphore::new(prefetch)),
        sender,
        subscription,
    };
    let claimer = tokio::spawn(claimer.run(stop.clone()));
    TableConsumer {
        messages,
        _ends_with_us: stop.clone().drop_guard(),
        stop,
        claimer: Some(claimer),
    }
}

#[async_trait]
impl Consumer for TableConsumer {
    async fn next(&mut self) -> Option<Delivered> {
        self.messages.recv().await
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.messages.close();
        while let Some(message) = self.messages.recv().await {
            message.give_back(Duration::ZERO).await;
        }
        if let Some(claimer) = self.claimer.take() {
            let _ended = claimer.await;
        }
    }
}

struct Claimer {
    hand: Arc<Hand>,
    settler: Settler,
    queues: Vec<String>,
    /// One permit per message that may be in hand.
    capacity: Arc<Semaphore>,
    sender: mpsc::Sender<Delivered>,
    subscription: Arc<Subscription>,
}

impl Claimer {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let permits = tokio::select! {
                () = stop.cancelled() => return,
                permits = self.permits() => permits,
            };
            let wanted = permits.len();
            // Not cancelled half-way: what was claimed must reach the consumer or go back.
            let claimed = match self.claim(permits).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::warn!(%error, "the queue cannot be read; trying again");
                    0
                }
            };
            // A full claim means that there is probably more.
            if claimed < wanted {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.subscription.wake.notified() => {}
                    () = tokio::time::sleep(FALLBACK) => {}
                }
            }
        }
    }

    /// Waits for room for one message and takes what else there is, up to a claim's worth.
    async fn permits(&self) -> Vec<OwnedSemaphorePermit> {
        let first = Arc::clone(&self.capacity).acquire_owned().await;
        let mut permits = vec![first.expect("the semaphore is never closed")];
        while permits.len() < CLAIM_ROWS {
            match Arc::clone(&self.capacity).try_acquire_owned() {
                Ok(permit) => permits.push(permit),
                Err(_) => break,
            }
        }
        permits
    }

    async fn claim(
        &mut self,
        mut permits: Vec<OwnedSemaphorePermit>,
    ) -> Result<usize, crate::QueueError> {
        // Another queue goes first each time.
        let step = self.queues.len().min(1);
        self.queues.rotate_left(step);
        let rows = bounded(sql::claim(
            &self.hand.pool,
            &self.queues,
            permits.len() as i64,
            self.hand.holder,
            self.hand.visibility,
        ))
        .await?;
        let claimed = rows.len();
        for row in rows {
            // Claimed a second time because renewing was late: it is in hand still.
            if !self.hand.take(row.id) {
                continue;
            }
            let permit = permits.pop().expect("no more rows than permits");
            let handle = self
                .settler
                .handle(&self.hand, row.id, row.queue.clone(), permit);
            let handle: Arc<dyn crate::Handle> = Arc::new(handle);
            match envelope::decode(row.payload.as_bytes()) {
                Ok(message) => {
                    let redeliveries = u32::try_from(row.deliveries - 1).unwrap_or(0);
                    let delivered = Delivered::new(row.queue, message, redeliveries, handle);
                    if let Err(refused) = self.sender.send(delivered).await {
                        refused.0.give_back(Duration::ZERO).await;
                    }
                }
                Err(error) => {
                    tracing::error!(queue = %row.queue, id = row.id, %error, "buried a message");
                    handle.bury(&error.to_string()).await;
                }
            }
        }
        Ok(claimed)
    }
}

/// Renews what is in hand as long as somebody holds a message or the consumer.
async fn renew(hand: Weak<Hand>, visibility: Duration) {
    loop {
        tokio::time::sleep(visibility / 3).await;
        let Some(hand) = hand.upgrade() else { return };
        let held = hand.held();
        if held.is_empty() {
            continue;
        }
        if let Err(error) =
            bounded(sql::extend(&hand.pool, &held, hand.holder, hand.visibility)).await
        {
            tracing::warn!(%error, held = held.len(), "messages in hand could not be renewed");
        }
    }
}
