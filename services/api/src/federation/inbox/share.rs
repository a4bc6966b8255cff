//! How much of this process one origin may occupy: what it has on the way to the queue.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Activities of one origin between their verification and their confirmation by the queue. A
/// large instance sends through some 20 to 40 connections at once; above this it is asked to
/// wait, so that no origin fills the way for the others.
const PER_ORIGIN: usize = 64;

/// Counts by canonical host. It holds only origins with something on the way, so it is bounded
/// by the requests of the process.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<String, usize>>);

/// One place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share<'a> {
    shares: &'a Shares,
    host: String,
}

impl Shares {
    /// A place for `host`, unless it has all of its own.
    pub(super) fn take(&self, host: String) -> Option<Share<'_>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(host.clone()).or_insert(0);
        if *count >= PER_ORIGIN {
            return None;
        }
        *count += 1;
        Some(Share { shares: self, host })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut counts = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_at_its_limit_costs_the_others_nothing() {
        let shares = Shares::default();
        let held: Vec<_> = (0..PER_ORIGIN)
            .map(|_| {
                shares
                    .take("loud.test".to_owned())
                    .expect("below the limit")
            })
            .collect();
        assert!(shares.take("loud.test".to_owned()).is_none());
        assert!(shares.take("quiet.test".to_owned()).is_some());
        drop(held);
        assert!(shares.take("loud.test".to_owned()).is_some());
        assert!(shares.0.lock().expect("not poisoned").is_empty());
    }
}
