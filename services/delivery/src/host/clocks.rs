//! Our own clock against those of the hosts that answer: a signature of the wrong time is refused
//! with 401, and whose fault that is shows before three hosts say so.

use std::collections::VecDeque;
use std::sync::Arc;

use time::Duration;

/// Hosts whose answers are compared, the latest: enough for a majority, and a clock that was set
/// right is believed again after as many answers.
const KEPT: usize = 15;

/// Hosts that must have answered: two clocks that differ do not say which is wrong.
const AT_LEAST: usize = 3;

/// Machines that ask for the time differ by fractions of a second, and the slowest answer takes
/// ten; no server refuses a signature for less than this.
const TOLERATED: Duration = Duration::minutes(1);

/// What the `Date` of the latest answers said, one per host.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    told: VecDeque<(Arc<str>, Duration)>,
    /// Of them the one in the middle; zero when too few have answered.
    ahead: Duration,
}

impl Clocks {
    /// A host answered, and its clock is ahead of ours by this much.
    pub(crate) fn told(&mut self, host: &Arc<str>, ahead: Duration) {
        self.told.retain(|(other, _)| other != host);
        if self.told.len() >= KEPT {
            self.told.pop_front();
        }
        self.told.push_back((Arc::clone(host), ahead));
        let mut all = [Duration::ZERO; KEPT];
        let all = &mut all[..self.told.len()];
        for (place, (_, ahead)) in all.iter_mut().zip(&self.told) {
            *place = *ahead;
        }
        all.sort_unstable();
        self.ahead = if all.len() < AT_LEAST {
            Duration::ZERO
        } else {
            all[all.len() / 2]
        };
    }

    /// By how much most of the hosts are ahead of us; zero when too few have answered.
    pub(crate) const fn ahead(&self) -> Duration {
        self.ahead
    }

    /// Whether our own clock is the one that is wrong.
    pub(crate) fn ours_is_wrong(&self) -> bool {
        self.ahead().abs() > TOLERATED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(skews: &[i64]) -> Clocks {
        let mut clocks = Clocks::default();
        for (n, seconds) in skews.iter().enumerate() {
            let host = Arc::from(format!("h{n}.test"));
            clocks.told(&host, Duration::seconds(*seconds));
        }
        clocks
    }

    #[test]
    fn what_most_hosts_say_is_the_time() {
        assert!(told(&[7200, 7201, 7199]).ours_is_wrong());
        assert!(told(&[-7200, -7201, -7199, 0]).ours_is_wrong());
        assert!(!told(&[7200, 0, 1]).ours_is_wrong(), "theirs is");
        assert!(!told(&[7200, 7200]).ours_is_wrong(), "two are too few");
        assert!(!told(&[59, 59, 59]).ours_is_wrong());
        assert!(!told(&[]).ours_is_wrong());
    }

    #[test]
    fn one_host_has_one_voice_and_a_clock_that_was_set_is_believed() {
        let host = Arc::from("a.test");
        let mut clocks = told(&[0, 0]);
        for _ in 0..10 {
            clocks.told(&host, Duration::hours(2));
        }
        assert!(!clocks.ours_is_wrong());
        let mut clocks = told(&[7200; KEPT]);
        for n in 0..KEPT {
            clocks.told(&Arc::from(format!("h{n}.test")), Duration::ZERO);
        }
        assert!(!clocks.ours_is_wrong());
        assert_eq!(clocks.told.len(), KEPT);
    }
}
