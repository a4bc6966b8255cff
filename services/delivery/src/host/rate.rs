//! How fast a host takes deliveries, once it said that we are too fast. A window alone cannot
//! keep a pace: a host that answers at once takes sixteen requests in no time.

use std::time::Duration;

use tokio::time::Instant;

/// What a 429 leaves of the rate (design section 6).
const CUT: f64 = 0.7;

/// Where the rate returns to after a cut, as a share of what was too much: just under it, so
/// that the next 429 is far away although nothing is given away.
const RETURN_TO: f64 = 0.95;

/// In how long it returns.
const RETURN_IN: f64 = 3.0;

/// Growth per second from there: some twenty seconds from just under the limit to just over it,
/// that is three refusals a minute.
const GROWTH: f64 = 0.003;

/// Without a refusal for this many seconds the limit is further away; growth is faster then.
const SETTLED: f64 = 20.0;

/// Growth per second from then on.
const FAST_GROWTH: f64 = 0.05;

/// The slowest: one request in ten seconds still tells when it is over.
const FLOOR: f64 = 0.1;

/// The fastest that is kept: more than a window of 16 carries anywhere.
const CEILING: f64 = 1_000.0;

/// Refusals closer together than this answer requests that left before the cut.
const ONE_CUT: Duration = Duration::from_millis(250);

/// How long the pace of a host is remembered after its last 429 (design section 6).
pub(crate) const REMEMBERED: Duration = Duration::from_hours(24);

/// One host's pace.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    /// What was too fast, in requests a second.
    too_fast: f64,
    cut_at: Instant,
    forget_at: Instant,
    /// The next request may leave then.
    next_at: Instant,
}

impl Rate {
    /// The pace after a 429. `recent` is what the host took lately, a second, for a host that
    /// never refused before.
    pub(crate) fn after_429(previous: Option<Self>, recent: f64, now: Instant) -> Self {
        let forget_at = now + REMEMBERED;
        match previous {
            Some(rate) if now - rate.cut_at < ONE_CUT => Self { forget_at, ..rate },
            Some(rate) => Self {
                too_fast: rate.at(now).clamp(FLOOR, CEILING),
                cut_at: now,
                forget_at,
                next_at: rate.next_at.max(now),
            },
            None => Self {
                too_fast: recent.clamp(1.0, CEILING),
                cut_at: now,
                forget_at,
                next_at: now,
            },
        }
    }

    /// A pace learnt before, `left` before it is forgotten.
    pub(crate) fn restore(per_second: f64, left: Duration, now: Instant) -> Self {
        Self {
            too_fast: (per_second / RETURN_TO).clamp(FLOOR, CEILING),
            // It has returned from its cut long ago; a clock that has not run that long begins it.
            cut_at: now
                .checked_sub(Duration::from_secs_f64(RETURN_IN))
                .unwrap_or(now),
            forget_at: now + left,
            next_at: now,
        }
    }

    /// Requests a second at a time.
    fn at(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.cut_at).as_secs_f64();
        let share = if since < RETURN_IN {
            CUT + (RETURN_TO - CUT) * since / RETURN_IN
        } else {
            let slow = (since - RETURN_IN).min(SETTLED);
            let fast = (since - RETURN_IN - SETTLED).max(0.0);
            RETURN_TO * (GROWTH * slow + FAST_GROWTH * fast).min(10.0).exp()
        };
        (self.too_fast * share).clamp(FLOOR, CEILING)
    }

    /// Requests a second once it has returned; what is worth remembering.
    pub(crate) fn per_second(&self) -> f64 {
        self.too_fast * RETURN_TO
    }

    /// A place for one request now, or how long to wait for one.
    pub(crate) fn try_take(&mut self, now: Instant) -> Result<(), Duration> {
        if self.next_at > now {
            return Err(self.next_at - now);
        }
        let interval = Duration::from_secs_f64(1.0 / self.at(now));
        // A timer that fires late costs nothing: half an interval may be caught up.
        self.next_at = (self.next_at + interval).max(now + interval / 2);
        Ok(())
    }

    /// Whether the host refused nothing for so long that it is like any other.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        now >= self.forget_at
    }
}

/// What a host took lately.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    value: f64,
    at: Option<Instant>,
}

/// Over how many seconds it is averaged.
const OVER: f64 = 5.0;

impl Meter {
    /// A request was taken.
    pub(crate) fn count(&mut self, now: Instant) {
        self.value = self.decayed(now) + 1.0;
        self.at = Some(now);
    }

    /// Requests a second.
    pub(crate) fn per_second(&self, now: Instant) -> f64 {
        self.decayed(now) / OVER
    }

    fn decayed(&self, now: Instant) -> f64 {
        let Some(at) = self.at else { return 0.0 };
        let since = now.saturating_duration_since(at).as_secs_f64();
        self.value * (-since / OVER).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// How a host limits.
    #[derive(Debug, Clone, Copy)]
    enum Limiter {
        FixedWindow,
        SlidingWindow,
        Bucket(f64),
    }

    struct Host {
        limiter: Limiter,
        taken: VecDeque<f64>,
        tokens: f64,
        at: f64,
    }

    impl Host {
        fn new(limiter: Limiter) -> Self {
            Self {
                limiter,
                taken: VecDeque::new(),
                tokens: 0.0,
                at: 0.0,
            }
        }

        /// Takes a request at `now` seconds, or says when to come back.
        fn take(&mut self, now: f64) -> Result<(), f64> {
            match self.limiter {
                Limiter::FixedWindow => self.taken.retain(|at| at.floor() >= now.floor()),
                Limiter::SlidingWindow => self.taken.retain(|at| now - at < 1.0),
                Limiter::Bucket(burst) => {
                    self.tokens = (self.tokens + (now - self.at) * 5.0).min(burst);
                    self.at = now;
                    if self.tokens < 1.0 {
                        return Err((1.0 - self.tokens) / 5.0);
                    }
                    self.tokens -= 1.0;
                    return Ok(());
                }
            }
            if self.taken.len() >= 5 {
                return Err(1.0);
            }
            self.taken.push_back(now);
            Ok(())
        }
    }

    /// Ten minutes against a host with 5 requests a second, after the first minute: the share of
    /// what it would take that it took, and the share of requests that it refused.
    fn run(limiter: Limiter, tells_when: bool) -> (f64, f64) {
        let start = Instant::now();
        let mut host = Host::new(limiter);
        let mut rate: Option<Rate> = None;
        let mut meter = Meter::default();
        let mut hold = 0.0;
        let (mut now, mut taken, mut refused) = (0.0_f64, 0, 0);
        while now < 660.0 {
            let at = start + Duration::from_secs_f64(now);
            let may = rate.as_mut().map_or(Ok(()), |rate| rate.try_take(at));
            if now < hold || may.is_err() {
                // Timers are about a millisecond late.
                now += 0.001;
                continue;
            }
            let counts = now >= 60.0;
            match host.take(now) {
                Ok(()) => {
                    meter.count(at);
                    taken += u32::from(counts);
                }
                Err(wait) => {
                    refused += u32::from(counts);
                    rate = Some(Rate::after_429(rate.take(), meter.per_second(at), at));
                    if tells_when {
                        hold = now + wait.max(1.0);
                    }
                }
            }
            // A host that never refused is sent as fast as it answers.
            now += 0.01;
        }
        let taken = f64::from(taken);
        (
            taken / 3_000.0,
            f64::from(refused) / (taken + f64::from(refused)),
        )
    }

    #[test]
    fn a_host_with_five_a_second_gets_nearly_five_and_refuses_few() {
        let limiters = [
            Limiter::FixedWindow,
            Limiter::SlidingWindow,
            Limiter::Bucket(1.0),
            Limiter::Bucket(5.0),
        ];
        for limiter in limiters {
            for tells_when in [false, true] {
                let (goodput, refused) = run(limiter, tells_when);
                assert!(
                    goodput >= 0.9,
                    "{limiter:?} {tells_when}: goodput {goodput}"
                );
                assert!(
                    refused < 0.05,
                    "{limiter:?} {tells_when}: refused {refused}"
                );
            }
        }
    }

    #[test]
    fn a_burst_of_refusals_cuts_once() {
        let now = Instant::now();
        let mut rate = Rate::after_429(None, 10.0, now);
        for _ in 0..10 {
            rate = Rate::after_429(Some(rate), 10.0, now + Duration::from_millis(100));
        }
        let after = now + Duration::from_millis(100);
        assert!((6.9..7.5).contains(&rate.at(after)), "{}", rate.at(after));
    }

    #[test]
    fn a_pace_is_forgotten_after_a_day() {
        let now = Instant::now();
        let rate = Rate::after_429(None, 10.0, now);
        assert!(!rate.is_forgotten(now + Duration::from_hours(23)));
        assert!(rate.is_forgotten(now + Duration::from_hours(24)));
        let restored = Rate::restore(rate.per_second(), Duration::from_hours(1), now);
        assert!((restored.per_second() - rate.per_second()).abs() < 0.01);
        assert!(restored.is_forgotten(now + Duration::from_hours(1)));
        let (pace, learnt) = (restored.at(now), rate.per_second());
        assert!((pace - learnt).abs() < 0.01, "{pace} of {learnt}");
    }

    proptest::proptest! {
        #[test]
        fn the_pace_stays_within_its_bounds(gaps in proptest::collection::vec(0_u64..100_000, 1..50)) {
            let mut now = Instant::now();
            let mut rate = None;
            for gap in gaps {
                now += Duration::from_millis(gap);
                let mut next = Rate::after_429(rate.take(), 5.0, now);
                proptest::prop_assert!((FLOOR..=CEILING).contains(&next.at(now)));
                let _ = next.try_take(now);
                if let Err(wait) = next.try_take(now) {
                    proptest::prop_assert!(wait <= Duration::from_secs(10));
                }
                rate = Some(next);
            }
        }
    }
}
