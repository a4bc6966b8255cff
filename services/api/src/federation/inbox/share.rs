//! How much of this process one origin may occupy: what it has on the way to the queue.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Activities of one origin between their verification and their confirmation by the queue. A
/// large instance sends through some 20 to 40 connections at once; above this it waits, so that
/// no origin fills the way for the others.
const PER_ORIGIN: usize = 64;

/// Activities of one origin that wait for their turn; each holds its body. Four times what is on
/// the way, so that an honest burst is only slower and a flood is turned away at once.
const WAITING_PER_ORIGIN: usize = 4 * PER_ORIGIN;

/// The longest that one waits, as for its verification.
const WAIT: Duration = Duration::from_secs(5);

/// Places by canonical host. It holds only origins with something on the way or waiting, so it
/// is bounded by the requests of the process.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<String, Arc<Semaphore>>>);

/// One place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share<'a> {
    shares: &'a Shares,
    host: String,
    permit: Option<OwnedSemaphorePermit>,
}

impl Shares {
    /// A place for `host`; none when it has all of its own for long, or too many wait already.
    pub(super) async fn take(&self, host: String) -> Option<Share<'_>> {
        let places = self.places(&host)?;
        // Made before the wait: whoever gives up waiting is forgotten, too.
        let mut share = Share {
            shares: self,
            host,
            permit: None,
        };
        let permit = tokio::time::timeout(WAIT, places.acquire_owned()).await;
        share.permit = Some(permit.ok()?.ok()?);
        Some(share)
    }

    fn places(&self, host: &str) -> Option<Arc<Semaphore>> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(places) = hosts.get(host) else {
            let places = Arc::new(Semaphore::new(PER_ORIGIN));
            hosts.insert(host.to_owned(), Arc::clone(&places));
            return Some(places);
        };
        // One count is the map's, the others are of those on the way and of those that wait.
        let present = Arc::strong_count(places) - 1;
        (present < PER_ORIGIN + WAITING_PER_ORIGIN).then(|| Arc::clone(places))
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut hosts = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Counts grow under this lock only: nobody else is there and nobody comes.
        if hosts
            .get(&self.host)
            .is_some_and(|places| Arc::strong_count(places) == 1)
        {
            hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};

    use super::*;

    async fn all_of<'a>(shares: &'a Shares, host: &str) -> Vec<Share<'a>> {
        let places = join_all((0..PER_ORIGIN).map(|_| shares.take(host.to_owned()))).await;
        places.into_iter().collect::<Option<_>>().expect("room")
    }

    #[tokio::test]
    async fn an_origin_at_its_limit_waits_and_costs_the_others_nothing() {
        let shares = Shares::default();
        let mut held = all_of(&shares, "loud.test").await;
        let mut next = Box::pin(shares.take("loud.test".to_owned()));
        assert!(next.as_mut().now_or_never().is_none(), "it waits");
        let quiet = shares.take("quiet.test".to_owned()).now_or_never();
        assert!(quiet.expect("at once").is_some());
        held.pop();
        assert!(next.await.is_some(), "its turn came");
        drop(held);
        assert!(shares.0.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_stays_at_its_limit_is_turned_away() {
        let shares = Shares::default();
        let held = all_of(&shares, "loud.test").await;
        assert!(shares.take("loud.test".to_owned()).await.is_none());
        drop(held);
        assert!(shares.0.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test]
    async fn a_flood_is_turned_away_at_once_and_forgotten() {
        let shares = Shares::default();
        let held = all_of(&shares, "loud.test").await;
        let mut waiting: Vec<_> = (0..WAITING_PER_ORIGIN)
            .map(|_| Box::pin(shares.take("loud.test".to_owned())))
            .collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let more = shares.take("loud.test".to_owned()).now_or_never();
        assert!(more.expect("at once").is_none());
        // Requests whose clients went away.
        drop(waiting);
        drop(held);
        assert!(shares.0.lock().expect("not poisoned").is_empty());
    }
}
