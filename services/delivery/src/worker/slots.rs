//! The POST slots of one lane, and a separate pool for hosts that are slow: those that hang until
//! the time-out wait among themselves, not before everybody else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::window::Place;

/// A host that takes longer than this is slow: a healthy one answers in a fraction of it.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// The slots of one lane. Clones share them.
#[derive(Clone)]
pub(super) struct Slots {
    brisk: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    max_wait: Duration,
}

impl Slots {
    /// `size` slots, and half as many for hosts that are slow; a row waits for one of the latter
    /// no longer than `max_wait`.
    pub(super) fn new(size: usize, max_wait: Duration) -> Self {
        Self {
            brisk: Arc::new(Semaphore::new(size.max(1))),
            slow: Arc::new(Semaphore::new((size / 2).max(1))),
            max_wait,
        }
    }

    /// A slot for one POST to the host of `place`; `None` when the host is slow and too many
    /// such hosts hold slots already.
    pub(super) async fn take(&self, place: &Place) -> Option<OwnedSemaphorePermit> {
        if !place.is_slow() {
            let slot = Arc::clone(&self.brisk).acquire_owned().await.ok()?;
            // What was learnt while waiting counts.
            if !place.is_slow() {
                return Some(slot);
            }
        }
        let slot = Arc::clone(&self.slow).acquire_owned();
        tokio::time::timeout(self.max_wait, slot).await.ok()?.ok()
    }

    /// Runs an attempt in `slot`. Once it has taken long its host counts as slow, and it moves
    /// to a slot for slow hosts as soon as one is free.
    pub(super) async fn hold<T>(
        &self,
        slot: OwnedSemaphorePermit,
        place: &Place,
        attempt: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(attempt);
        tokio::select! {
            result = &mut attempt => {
                place.set_slow(false);
                return result;
            }
            () = tokio::time::sleep(SLOW_AFTER) => place.set_slow(true),
        }
        if Arc::ptr_eq(slot.semaphore(), &self.slow) {
            return attempt.await;
        }
        tokio::select! {
            result = &mut attempt => result,
            moved = Arc::clone(&self.slow).acquire_owned() => {
                drop(slot);
                let _moved = moved;
                attempt.await
            }
        }
    }
}
