//! Whether this process itself stood still: frozen, on a stalled machine, or without a core.

use std::time::Duration;

use tokio::time::Instant;

/// The engine's loop turns several times a second and waits for nobody. Eight missed ticks are
/// explained neither by work nor by a busy machine.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// The turns of the engine's loop, as seen by the clock.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Instant,
    stood_until: Option<Instant>,
}

impl Pulse {
    /// A loop that begins now.
    pub(super) const fn starting(now: Instant) -> Self {
        Self {
            last: now,
            stood_until: None,
        }
    }

    /// The loop turns, before anything that came meanwhile is looked at. Returns for how long
    /// the process stood still just now, if it did.
    pub(super) fn beat(&mut self, now: Instant) -> Option<Duration> {
        let gap = now - self.last;
        self.last = now;
        if gap < STOOD_STILL {
            return None;
        }
        self.stood_until = Some(now);
        Some(gap)
    }

    /// Whether the process stood still at any time since then: whoever was not heard meanwhile
    /// may well have spoken.
    pub(super) fn stood_still_since(&self, then: Instant) -> bool {
        self.stood_until.is_some_and(|until| then < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_under_way_during_a_gap_was_not_heard() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pulse = Pulse::starting(start);
        assert_eq!(pulse.beat(at(250)), None);
        assert_eq!(pulse.beat(at(2_200)), None, "a busy machine");
        assert!(!pulse.stood_still_since(start));
        assert_eq!(pulse.beat(at(9_200)), Some(Duration::from_secs(7)));
        assert_eq!(pulse.beat(at(9_450)), None);
        assert!(pulse.stood_still_since(start), "sent before, ended after");
        assert!(pulse.stood_still_since(at(9_000)));
        assert!(!pulse.stood_still_since(at(9_200)), "sent afterwards");
    }
}
