//! How many requests a host has in hand at once: what a polite sender is measured by.

use std::sync::atomic::{AtomicU32, Ordering};

/// Of one host.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    now: AtomicU32,
    most: AtomicU32,
}

/// One request in hand, until it is dropped.
pub(crate) struct Visit<'a>(&'a Visits);

impl Visits {
    /// A request came in.
    pub(crate) fn enter(&self) -> Visit<'_> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Visit(self)
    }

    /// The most that there ever were at once.
    pub(crate) fn most(&self) -> u32 {
        self.most.load(Ordering::Relaxed)
    }

    /// Counts the most from now on.
    pub(crate) fn forget(&self) {
        let now = self.now.load(Ordering::Relaxed);
        self.most.store(now, Ordering::Relaxed);
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_at_once_is_remembered() {
        let visits = Visits::default();
        {
            let _first = visits.enter();
            let _second = visits.enter();
        }
        let third = visits.enter();
        assert_eq!(visits.most(), 2);
        visits.forget();
        assert_eq!(visits.most(), 1);
        drop(third);
    }
}
