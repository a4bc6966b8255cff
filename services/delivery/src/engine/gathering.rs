//! When outcomes are written down: together, and soon.

use std::time::Duration;

use tidegate_model::Lane;
use tokio::time::Instant;

/// Outcomes that are written down at once, however short they have waited.
const ENOUGH: usize = 50;

/// How long an outcome waits for others at most: one statement for all of them costs the database
/// a fraction of one each.
const LONGEST: Duration = Duration::from_millis(10);

/// The wait of the outcomes that are not written down yet.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    until: Option<Instant>,
}

impl Gathering {
    /// An outcome came. Somebody waits for those of `now`: they wait for no others.
    pub(super) fn came(&mut self, lane: Lane, now: Instant) {
        let until = match lane {
            Lane::Now => now,
            Lane::Bulk | Lane::Slow => now + LONGEST,
        };
        self.until = Some(self.until.map_or(until, |other| other.min(until)));
    }

    /// Whether what waits is written down now.
    pub(super) fn is_over(&self, waiting: usize, now: Instant) -> bool {
        waiting >= ENOUGH || self.until.is_none_or(|until| until <= now)
    }

    /// Nothing waits any more.
    pub(super) const fn end(&mut self) {
        self.until = None;
    }

    /// When it is over without another outcome, if anything waits.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_wait_for_others_and_not_for_long() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut gathering = Gathering::default();
        gathering.came(Lane::Bulk, at(0));
        assert!(!gathering.is_over(1, at(9)));
        gathering.came(Lane::Slow, at(9));
        assert!(gathering.is_over(2, at(10)), "the first has waited enough");
        assert_eq!(gathering.until(), Some(at(10)));
        gathering.end();
        assert_eq!(gathering.until(), None);
        gathering.came(Lane::Bulk, at(20));
        assert!(!gathering.is_over(1, at(29)), "a wait of its own");
    }

    #[test]
    fn enough_of_them_or_one_that_somebody_waits_for_are_written_at_once() {
        let now = Instant::now();
        let mut gathering = Gathering::default();
        gathering.came(Lane::Bulk, now);
        assert!(!gathering.is_over(ENOUGH - 1, now));
        assert!(gathering.is_over(ENOUGH, now));
        gathering.came(Lane::Now, now);
        assert!(gathering.is_over(2, now));
    }

    #[test]
    fn what_is_no_outcome_waits_for_nothing() {
        assert!(Gathering::default().is_over(0, Instant::now()));
    }
}
