//! "401 from 3 hosts within 5 min is our fault too (clock, key)" (design section 6).

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};

/// Hosts that refuse, at least.
const HOSTS: usize = 3;

/// Within this time.
const WITHIN: Duration = Duration::minutes(5);

/// Refusals that are remembered; three are enough.
const KEPT: usize = 1_000;

/// Hosts that refused our signature lately.
#[derive(Debug, Default)]
pub(crate) struct Unauthorized(HashMap<Box<str>, OffsetDateTime>);

impl Unauthorized {
    /// A host answered 401.
    pub(crate) fn refused(&mut self, host: &str, now: OffsetDateTime) {
        self.0.retain(|_, at| now - *at <= WITHIN);
        if self.0.len() < KEPT || self.0.contains_key(host) {
            self.0.insert(host.into(), now);
        }
    }

    /// A host took something that we signed: its refusal is no longer ours.
    pub(crate) fn accepted(&mut self, host: &str) {
        if !self.0.is_empty() {
            self.0.remove(host);
        }
    }

    /// Whether the fault is ours.
    pub(crate) fn is_ours(&self, now: OffsetDateTime) -> bool {
        self.0.values().filter(|at| now - **at <= WITHIN).count() >= HOSTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_hosts_within_five_minutes_are_our_fault() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut refusals = Unauthorized::default();
        for _ in 0..10 {
            refusals.refused("a.test", now);
        }
        refusals.refused("b.test", now);
        assert!(!refusals.is_ours(now));
        refusals.refused("c.test", now);
        assert!(refusals.is_ours(now));
        assert!(!refusals.is_ours(now + Duration::minutes(6)));
        refusals.accepted("a.test");
        assert!(!refusals.is_ours(now));
    }
}
