//! What becomes of messages in hand. Acks and returns of many handlers are written together:
//! whatever gathered while the last statement ran goes into the next one, so that a lone ack is
//! not delayed and a flood costs few statements.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use uuid::Uuid;

use super::{Subscribers, bounded, sql};
use crate::metrics::BURIED;
use crate::{Handle, QueueError};

/// Settlements per statement, and how many may wait: as many as the largest sensible prefetch.
const BATCH: usize = 1_000;

/// The longest reason that is stored, in characters; a reason may quote a remote server.
const MAX_REASON_CHARS: usize = 1_000;

/// The longest delay of a return. What must wait longer waits in a table of its own service.
const MAX_DELAY: Duration = Duration::from_hours(24);

/// What a consumer and the messages that it handed out share.
pub(super) struct Hand {
    pub(super) pool: PgPool,
    /// Who holds: one consumer of one process.
    pub(super) holder: Uuid,
    pub(super) visibility: Duration,
    pub(super) subscribers: Arc<Subscribers>,
    ids: Mutex<HashSet<i64>>,
}

impl Hand {
    pub(super) fn new(pool: PgPool, visibility: Duration, subscribers: Arc<Subscribers>) -> Self {
        Self {
            pool,
            holder: Uuid::new_v4(),
            visibility,
            subscribers,
            ids: Mutex::default(),
        }
    }

    fn ids(&self) -> std::sync::MutexGuard<'_, HashSet<i64>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` when it is in hand already.
    pub(super) fn take(&self, id: i64) -> bool {
        self.ids().insert(id)
    }

    /// What is in hand now.
    pub(super) fn held(&self) -> Vec<i64> {
        self.ids().iter().copied().collect()
    }
}

/// A decision about one message.
enum Fate {
    Done,
    Back(Duration),
    Dead(String),
}

struct Settlement {
    id: i64,
    queue: String,
    fate: Fate,
    written: oneshot::Sender<()>,
}

/// The way to the task that writes decisions.
#[derive(Clone)]
pub(super) struct Settler(mpsc::Sender<Settlement>);

impl Settler {
    /// Starts the task; it ends when the last handle is gone.
    pub(super) fn start(hand: Arc<Hand>) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH);
        tokio::spawn(write_all(hand, receiver));
        Self(sender)
    }

    /// The handle of a message in hand; `permit` is free again when its fate is written.
    pub(super) fn handle(
        &self,
        hand: &Arc<Hand>,
        id: i64,
        queue: String,
        permit: OwnedSemaphorePermit,
    ) -> TableHandle {
        TableHandle {
            hand: Arc::clone(hand),
            settler: self.clone(),
            id,
            queue,
            decided: AtomicBool::new(false),
            _permit: permit,
        }
    }
}

pub(super) struct TableHandle {
    hand: Arc<Hand>,
    settler: Settler,
    id: i64,
    queue: String,
    decided: AtomicBool,
    _permit: OwnedSemaphorePermit,
}

impl TableHandle {
    /// Not in hand any more, from now on: once its return is written this same consumer may
    /// claim it anew, and that must not look like a message that it already has.
    fn let_go(&self) {
        if !self.decided.swap(true, Ordering::AcqRel) {
            self.hand.ids().remove(&self.id);
        }
    }

    /// Returns when it is written, or was given up because the database is away: then the
    /// message is simply seen again once its visibility ends.
    async fn settle(&self, fate: Fate) {
        self.let_go();
        let (written, done) = oneshot::channel();
        let settlement = Settlement {
            id: self.id,
            queue: self.queue.clone(),
            fate,
            written,
        };
        if self.settler.0.send(settlement).await.is_ok() {
            let _given_up = done.await;
        }
    }
}

impl Drop for TableHandle {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[async_trait]
impl Handle for TableHandle {
    async fn ack(&self) {
        self.settle(Fate::Done).await;
    }

    async fn give_back(&self, delay: Duration) {
        self.settle(Fate::Back(delay)).await;
    }

    async fn bury(&self, reason: &str) {
        let reason = reason.replace('\0', " ");
        let reason = reason.chars().take(MAX_REASON_CHARS).collect();
        self.settle(Fate::Dead(reason)).await;
    }
}

async fn write_all(hand: Arc<Hand>, mut receiver: mpsc::Receiver<Settlement>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        if let Err(error) = write(&hand, std::mem::take(&mut batch)).await {
            tracing::warn!(%error, "messages could not be settled; they will be delivered again");
        }
    }
}

async fn write(hand: &Hand, batch: Vec<Settlement>) -> Result<(), QueueError> {
    let (mut done, mut written) = (Vec::new(), Vec::new());
    let (mut back, mut delays, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    let (mut dead, mut reasons) = (Vec::new(), Vec::new());
    for settlement in batch {
        match settlement.fate {
            Fate::Done => done.push(settlement.id),
            Fate::Back(delay) => {
                back.push(settlement.id);
                delays.push(delay.min(MAX_DELAY).as_secs_f64());
                if delay.is_zero() {
                    ready.push(settlement.queue);
                }
            }
            Fate::Dead(reason) => {
                dead.push(settlement.id);
                reasons.push(reason);
            }
        }
        written.push(settlement.written);
    }
    if !done.is_empty() {
        bounded(sql::ack(&hand.pool, &done, hand.holder)).await?;
    }
    if !back.is_empty() {
        bounded(sql::give_back(&hand.pool, &back, &delays, hand.holder)).await?;
    }
    if !dead.is_empty() {
        bounded(sql::bury(&hand.pool, &dead, &reasons, hand.holder)).await?;
        BURIED.inc_by(dead.len() as u64);
    }
    for queue in &ready {
        hand.subscribers.wake(queue);
    }
    for written in written {
        let _nobody_waits = written.send(());
    }
    Ok(())
}
