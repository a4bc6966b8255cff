//! When a failing host is tried again, and when it is given up.

use std::time::Duration;

use time::Date;

/// Days on which a probe failed that make a host unavailable: what the fediverse's largest
/// implementation uses.
const DAYS: usize = 7;

/// The waits between probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeSchedule {
    /// After the host began to fail.
    pub(crate) first: Duration,
    /// At most; it doubles up to here.
    pub(crate) longest: Duration,
    /// At most while the fault is our own.
    pub(crate) own_outage: Duration,
}

impl Default for ProbeSchedule {
    fn default() -> Self {
        Self {
            first: Duration::from_mins(1),
            longest: Duration::from_hours(6),
            own_outage: Duration::from_mins(1),
        }
    }
}

/// The wait before the next probe, after one that came `before`; `None`: the host just began to
/// fail. `jitter` in 0..1 spreads it over a fifth either way, so that hosts that failed together
/// are not tried together.
pub(crate) fn next_probe(
    before: Option<Duration>,
    own_outage: bool,
    jitter: f64,
    schedule: &ProbeSchedule,
) -> Duration {
    let longest = if own_outage {
        schedule.own_outage
    } else {
        schedule.longest
    };
    let wait = before.map_or(schedule.first, |before| before * 2);
    let spread = wait
        .min(longest)
        .mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
    spread.min(longest)
}

/// Counts a day on which a probe failed. True: the host is unavailable.
pub(crate) fn fail_day(days: &mut Vec<Date>, today: Date) -> bool {
    if !days.contains(&today) {
        days.push(today);
    }
    days.len() >= DAYS
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn waits_double_from_a_minute_to_six_hours() {
        let schedule = ProbeSchedule::default();
        let mut wait = next_probe(None, false, 0.5, &schedule);
        let mut minutes = vec![wait.as_secs() / 60];
        for _ in 0..10 {
            wait = next_probe(Some(wait), false, 0.5, &schedule);
            minutes.push(wait.as_secs() / 60);
        }
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360]);
    }

    #[test]
    fn a_dead_host_costs_no_more_than_forty_probes_a_week() {
        let schedule = ProbeSchedule::default();
        let (mut wait, mut passed, mut probes) = (None, Duration::ZERO, 0);
        while passed < Duration::from_hours(7 * 24) {
            let next = next_probe(wait, false, 0.0, &schedule);
            wait = Some(next);
            passed += next;
            probes += 1;
        }
        assert!(probes <= 46, "{probes}");
    }

    #[test]
    fn while_the_fault_is_ours_nobody_waits_longer_than_a_minute() {
        let schedule = ProbeSchedule::default();
        let wait = next_probe(Some(Duration::from_hours(3)), true, 1.0, &schedule);
        assert_eq!(wait, Duration::from_mins(1));
    }

    #[test]
    fn seven_distinct_days_make_a_host_unavailable() {
        let mut days = Vec::new();
        let first = date!(2026 - 11 - 01);
        for day in 0..6 {
            for _ in 0..5 {
                assert!(!fail_day(&mut days, first + time::Duration::days(day)));
            }
        }
        assert!(fail_day(&mut days, first + time::Duration::days(9)));
    }
}
