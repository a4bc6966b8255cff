//! One window per host: how many POSTs go to it at once, and how many more wait in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hosts whose windows are remembered; of more, those least used are forgotten first. A window
/// forgotten while in use opens once more beside the old one, for one round of POSTs.
const KEPT_HOSTS: u64 = 20_000;

/// How long the window of a host without work is remembered.
const IDLE: Duration = Duration::from_mins(10);

/// The windows of all hosts.
#[derive(Clone)]
pub(crate) struct Windows {
    hosts: Cache<String, Arc<Host>>,
    size: usize,
    max_waiting: usize,
    max_wait: Duration,
}

struct Host {
    window: Arc<Semaphore>,
    waiting: AtomicUsize,
    is_slow: AtomicBool,
}

/// A place in a host's window; dropped, it is free.
pub(crate) struct Place {
    host: Arc<Host>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Whether the host's last attempt failed or took long.
    pub(crate) fn is_slow(&self) -> bool {
        self.host.is_slow.load(Ordering::Acquire)
    }

    /// Remembers how the host's last attempt went.
    pub(crate) fn set_slow(&self, is_slow: bool) {
        self.host.is_slow.store(is_slow, Ordering::Release);
    }
}

/// Counts a waiting row for as long as it lives, however it stops waiting.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Windows {
    pub(crate) fn new(size: usize, max_waiting: usize, max_wait: Duration) -> Self {
        Self {
            hosts: Cache::builder()
                .max_capacity(KEPT_HOSTS)
                .time_to_idle(IDLE)
                .build(),
            size: size.max(1),
            max_waiting,
            max_wait,
        }
    }

    /// A place in the window of `host`; `None` when too many wait already, or none came free in
    /// time.
    pub(crate) async fn enter(&self, host: &str) -> Option<Place> {
        let host = self.hosts.get_with_by_ref(host, || {
            Arc::new(Host {
                window: Arc::new(Semaphore::new(self.size)),
                waiting: AtomicUsize::new(0),
                is_slow: AtomicBool::new(false),
            })
        });
        if let Ok(permit) = Arc::clone(&host.window).try_acquire_owned() {
            return Some(Place {
                host,
                _permit: permit,
            });
        }
        let already = host.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(&host.waiting);
        if already >= self.max_waiting {
            return None;
        }
        let place = Arc::clone(&host.window).acquire_owned();
        let permit = tokio::time::timeout(self.max_wait, place)
            .await
            .ok()?
            .ok()?;
        drop(waiting);
        Some(Place {
            host,
            _permit: permit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_window_turns_away_and_other_hosts_do_not_notice() {
        let windows = Windows::new(2, 1, Duration::from_secs(3));
        let first = windows.enter("a.test").await;
        let _second = windows.enter("a.test").await;
        assert!(first.is_some());
        let waiter = tokio::spawn({
            let windows = windows.clone();
            async move { windows.enter("a.test").await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(windows.enter("a.test").await.is_none(), "one waits already");
        assert!(windows.enter("b.test").await.is_some());
        drop(first);
        assert!(waiter.await.expect("no panic"), "the waiter gets the place");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_bound() {
        let windows = Windows::new(1, 8, Duration::from_secs(3));
        let _held = windows.enter("a.test").await;
        assert!(windows.enter("a.test").await.is_none());
        assert!(
            windows.enter("a.test").await.is_none(),
            "the count of the waiting went down"
        );
    }
}
