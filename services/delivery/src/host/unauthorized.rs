//! "401 from 3 hosts within 5 min is our fault too (clock, key)" (design section 6), unless as
//! many hosts took what we signed: then those that refuse have reasons of their own, as servers
//! have that block us for good (ADR 12).

use std::collections::HashMap;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

/// Hosts that refuse, at least.
const HOSTS: usize = 3;

/// Within this time.
const WITHIN: Duration = Duration::minutes(5);

/// Verdicts that are remembered: a sample shows what most hosts say.
const KEPT: usize = 1_000;

#[derive(Debug, Clone, Copy)]
struct Verdict {
    at: OffsetDateTime,
    is_refusal: bool,
}

/// What each host said last of a signature of ours.
#[derive(Debug, Default)]
pub(crate) struct Unauthorized(HashMap<Arc<str>, Verdict>);

impl Unauthorized {
    /// A host answered 401.
    pub(crate) fn refused(&mut self, host: &Arc<str>, now: OffsetDateTime) {
        self.said(host, now, true);
    }

    /// A host took something that we signed: its refusal is no longer ours.
    pub(crate) fn accepted(&mut self, host: &Arc<str>, now: OffsetDateTime) {
        self.said(host, now, false);
    }

    fn said(&mut self, host: &Arc<str>, at: OffsetDateTime, is_refusal: bool) {
        let verdict = Verdict { at, is_refusal };
        if let Some(last) = self.0.get_mut(host) {
            *last = verdict;
            return;
        }
        if self.0.len() >= KEPT {
            self.0.retain(|_, last| at - last.at <= WITHIN);
        }
        if self.0.len() < KEPT {
            self.0.insert(Arc::clone(host), verdict);
        }
    }

    /// Whether the fault is ours.
    pub(crate) fn is_ours(&self, now: OffsetDateTime) -> bool {
        let recent = self.0.values().filter(|last| now - last.at <= WITHIN);
        let (mut refusals, mut others) = (0, 0);
        for last in recent {
            *(if last.is_refusal {
                &mut refusals
            } else {
                &mut others
            }) += 1;
        }
        refusals >= HOSTS && refusals > others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn host(number: usize) -> Arc<str> {
        format!("h{number}.test").into()
    }

    #[test]
    fn three_hosts_within_five_minutes_are_our_fault() {
        let mut verdicts = Unauthorized::default();
        for _ in 0..10 {
            verdicts.refused(&host(0), NOW);
        }
        verdicts.refused(&host(1), NOW);
        assert!(!verdicts.is_ours(NOW));
        verdicts.refused(&host(2), NOW);
        assert!(verdicts.is_ours(NOW));
        assert!(!verdicts.is_ours(NOW + Duration::minutes(6)));
        verdicts.accepted(&host(0), NOW);
        assert!(!verdicts.is_ours(NOW));
    }

    #[test]
    fn those_who_block_us_are_outvoted_and_a_broken_key_is_not() {
        let mut verdicts = Unauthorized::default();
        for number in 0..4 {
            verdicts.refused(&host(number), NOW);
            verdicts.accepted(&host(10 + number), NOW);
        }
        assert!(!verdicts.is_ours(NOW), "as many take what we sign");
        // From now on nobody does: what they said before is not counted beside what they say.
        verdicts.refused(&host(10), NOW);
        assert!(verdicts.is_ours(NOW));
        // Nor is what was said long ago.
        let later = NOW + Duration::minutes(6);
        for number in 0..3 {
            verdicts.refused(&host(number), later);
        }
        assert!(verdicts.is_ours(later));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut verdicts = Unauthorized::default();
        for number in 0..2 * KEPT {
            verdicts.accepted(&host(number), NOW);
        }
        assert_eq!(verdicts.0.len(), KEPT);
        let later = NOW + Duration::minutes(6);
        verdicts.refused(&host(2 * KEPT), later);
        assert_eq!(verdicts.0.len(), 1, "old verdicts make room");
    }
}
