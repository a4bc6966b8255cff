//! When a host counts as failing: "5 failures in a row over at least 2 activities, or 80 % of
//! the last 20 attempts; refused connections, DNS and TLS errors count at once" (design
//! section 6).

/// Failures in a row.
const STREAK: u32 = 5;

/// Attempts that are remembered.
const REMEMBERED: u32 = 20;

/// Failures among these.
const OF_REMEMBERED: u32 = 16;

/// What an attempt says about the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// It answered as a server does that works.
    Success,
    /// It did not.
    Failure,
    /// Nothing answers there: no need to try again to believe it.
    AtOnce,
    /// Nothing: its pace, or our own fault.
    Neutral,
}

/// One host's recent attempts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    /// The last attempts, newest in the lowest bit; set bits are failures.
    recent: u32,
    /// How many of them there are.
    count: u32,
    streak: u32,
    first_of_streak: i64,
    is_over_two: bool,
}

impl Health {
    /// Takes in an attempt. True: the host is failing.
    pub(crate) fn record(&mut self, activity_id: i64, weight: Weight) -> bool {
        match weight {
            Weight::Neutral => return false,
            Weight::AtOnce => return true,
            Weight::Success => {
                self.push(false);
                self.streak = 0;
            }
            Weight::Failure => {
                self.push(true);
                if self.streak == 0 {
                    self.first_of_streak = activity_id;
                    self.is_over_two = false;
                }
                self.streak += 1;
                self.is_over_two |= activity_id != self.first_of_streak;
            }
        }
        let is_streak = self.streak >= STREAK && self.is_over_two;
        let is_share = self.count >= REMEMBERED && self.recent.count_ones() >= OF_REMEMBERED;
        weight == Weight::Failure && (is_streak || is_share)
    }

    /// Forgets everything: the host is back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, failed: bool) {
        let mask = (1 << REMEMBERED) - 1;
        self.recent = (self.recent << 1 | u32::from(failed)) & mask;
        self.count = (self.count + 1).min(REMEMBERED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_over_two_activities_are_needed() {
        let mut health = Health::default();
        for _ in 0..4 {
            assert!(!health.record(1, Weight::Failure));
        }
        assert!(!health.record(1, Weight::Failure), "one activity alone");
        assert!(health.record(2, Weight::Failure));
    }

    #[test]
    fn a_success_or_a_pause_does_not_count_as_a_failure() {
        let mut health = Health::default();
        for activity in 0..4 {
            assert!(!health.record(activity, Weight::Failure));
        }
        assert!(!health.record(9, Weight::Neutral));
        assert!(!health.record(9, Weight::Success));
        for activity in 0..4 {
            assert!(!health.record(activity, Weight::Failure));
        }
        assert!(health.record(4, Weight::Failure));
    }

    #[test]
    fn four_fifths_of_the_last_twenty_are_enough() {
        let mut health = Health::default();
        let mut is_failing = false;
        for attempt in 0..20 {
            // Every fifth succeeds: never five in a row.
            let weight = if attempt % 5 == 4 {
                Weight::Success
            } else {
                Weight::Failure
            };
            is_failing |= health.record(attempt, weight);
        }
        assert!(!is_failing, "the twentieth was a success");
        assert!(health.record(20, Weight::Failure));
    }

    #[test]
    fn nothing_that_answers_counts_at_once() {
        assert!(Health::default().record(1, Weight::AtOnce));
    }

    proptest::proptest! {
        #[test]
        fn a_host_that_mostly_works_is_never_failing(
            failures in proptest::collection::vec(proptest::bool::weighted(0.5), 1..300)
        ) {
            let mut health = Health::default();
            let mut last: Vec<bool> = Vec::new();
            for (n, failed) in failures.into_iter().enumerate() {
                let weight = if failed { Weight::Failure } else { Weight::Success };
                let is_failing = health.record(n as i64, weight);
                last.push(failed);
                let streak = last.iter().rev().take_while(|failed| **failed).count();
                let recent = last.iter().rev().take(20).filter(|failed| **failed).count();
                let expected = failed && (streak >= 5 || (last.len() >= 20 && recent >= 16));
                proptest::prop_assert_eq!(is_failing, expected);
            }
        }
    }
}
