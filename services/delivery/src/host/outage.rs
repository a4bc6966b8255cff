//! Our own outage: "when more than half of the hosts that succeeded in the last hour (at least
//! 5) fail at network level within 30 s" (design section 6).

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};

/// How long a success counts.
const SUCCESS: Duration = Duration::HOUR;

/// How close together the failures are.
const TOGETHER: Duration = Duration::seconds(30);

/// Hosts that succeeded, at least; fewer say nothing about us.
const AT_LEAST: usize = 5;

/// Hosts that are remembered: half of this many failing within 30 s is out of reach for anything
/// but an outage, and a sample is enough to see it.
const KEPT: usize = 2_000;

/// How often those that are too old make room: above as many healthy hosts every success of
/// another would look through all of them.
const PRUNE: Duration = Duration::MINUTE;

#[derive(Debug, Clone, Copy)]
struct Seen {
    succeeded_at: OffsetDateTime,
    failed_at: Option<OffsetDateTime>,
}

/// The watch over our own way out.
#[derive(Debug, Default)]
pub(crate) struct OwnOutage {
    hosts: HashMap<Box<str>, Seen>,
    is_on: bool,
    pruned_at: Option<OffsetDateTime>,
}

impl OwnOutage {
    /// Whether the fault is ours at the moment.
    pub(crate) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// A host took something.
    pub(crate) fn success(&mut self, host: &str, now: OffsetDateTime) {
        if let Some(seen) = self.hosts.get_mut(host) {
            seen.succeeded_at = now;
            seen.failed_at = None;
        } else {
            self.meet(host, now, now);
        }
        if self.is_on {
            self.judge(now);
        }
    }

    /// A host took something at a time before this process began: a restart in the middle of an
    /// outage does not make it the hosts' fault.
    pub(crate) fn succeeded_before(&mut self, host: &str, at: OffsetDateTime, now: OffsetDateTime) {
        if now - at < SUCCESS && !self.hosts.contains_key(host) {
            self.meet(host, at, now);
        }
    }

    /// Whoever was here before had no way out: the outage goes on until something succeeds.
    pub(crate) const fn goes_on(&mut self) {
        self.is_on = true;
    }

    fn meet(&mut self, host: &str, succeeded_at: OffsetDateTime, now: OffsetDateTime) {
        if self.hosts.len() >= KEPT && self.pruned_at.is_none_or(|at| now - at >= PRUNE) {
            self.pruned_at = Some(now);
            self.hosts
                .retain(|_, seen| now - seen.succeeded_at < SUCCESS);
        }
        if self.hosts.len() < KEPT {
            let seen = Seen {
                succeeded_at,
                failed_at: None,
            };
            self.hosts.insert(host.into(), seen);
        }
    }

    /// A host could not be reached: refused, no name, no answer.
    pub(crate) fn network_failure(&mut self, host: &str, now: OffsetDateTime) {
        let Some(seen) = self.hosts.get_mut(host) else {
            return;
        };
        // Its first failure since it worked is the one that counts; an outage goes on while
        // what is tried still fails.
        if seen.failed_at.is_none() || self.is_on {
            seen.failed_at = Some(now);
            self.judge(now);
        }
    }

    /// It begins when most fail together. It is over when within 30 s more hosts succeed than
    /// fail.
    fn judge(&mut self, now: OffsetDateTime) {
        let together = |at: OffsetDateTime| now - at <= TOGETHER;
        let failed = self
            .hosts
            .values()
            .filter(|seen| seen.failed_at.is_some_and(together));
        let failed = failed.count();
        if self.is_on {
            let succeeded = self
                .hosts
                .values()
                .filter(|seen| seen.failed_at.is_none() && together(seen.succeeded_at));
            self.is_on = succeeded.count() <= failed;
        } else {
            let known = self
                .hosts
                .values()
                .filter(|seen| now - seen.succeeded_at < SUCCESS)
                .count();
            self.is_on = known >= AT_LEAST && failed * 2 > known;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worked(count: usize, now: OffsetDateTime) -> OwnOutage {
        let mut outage = OwnOutage::default();
        for n in 0..count {
            outage.success(&format!("h{n}.test"), now);
        }
        outage
    }

    #[test]
    fn more_than_half_of_five_that_fail_together_are_our_own_outage() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut outage = worked(5, now);
        for n in 0..2 {
            outage.network_failure(&format!("h{n}.test"), now + Duration::seconds(n));
            assert!(!outage.is_on());
        }
        outage.network_failure("h2.test", now + Duration::seconds(2));
        assert!(outage.is_on());
    }

    #[test]
    fn four_hosts_or_slow_failures_or_strangers_say_nothing() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut few = worked(4, now);
        for n in 0..4 {
            few.network_failure(&format!("h{n}.test"), now);
        }
        assert!(!few.is_on());
        let mut slow = worked(10, now);
        for n in 0..10 {
            slow.network_failure(&format!("h{n}.test"), now + Duration::seconds(20 * n));
            assert!(!slow.is_on());
        }
        let mut strangers = worked(10, now);
        for n in 0..100 {
            strangers.network_failure(&format!("dead{n}.test"), now);
        }
        assert!(!strangers.is_on());
    }

    #[test]
    fn it_is_over_when_more_succeed_than_fail() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut outage = worked(6, now);
        for n in 0..6 {
            outage.network_failure(&format!("h{n}.test"), now);
        }
        assert!(outage.is_on());
        let later = now + Duration::hours(2);
        outage.network_failure("h0.test", later);
        outage.success("h1.test", later);
        assert!(outage.is_on(), "one of each");
        outage.success("h2.test", later);
        assert!(!outage.is_on());
    }

    #[test]
    fn what_worked_before_a_restart_counts_for_an_hour() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for (ago, is_on) in [
            (Duration::minutes(59), true),
            (Duration::minutes(61), false),
        ] {
            let mut outage = OwnOutage::default();
            for n in 0..5 {
                let host = format!("h{n}.test");
                outage.succeeded_before(&host, now - ago, now);
                outage.network_failure(&host, now);
            }
            assert_eq!(outage.is_on(), is_on, "{ago}");
        }
    }

    #[test]
    fn an_outage_that_another_process_saw_goes_on_until_something_succeeds() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut outage = OwnOutage::default();
        outage.goes_on();
        outage.network_failure("h0.test", now);
        assert!(outage.is_on());
        outage.success("h1.test", now);
        assert!(!outage.is_on());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let outage = worked(KEPT * 3, now);
        assert_eq!(outage.hosts.len(), KEPT);
    }
}
