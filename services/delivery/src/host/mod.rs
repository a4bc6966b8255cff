//! What is learnt about a remote host, as pure rules: how much it takes at once, how fast, when
//! it counts as failing, when it is tried again, and when a fault is our own (design section 6).
//! No I/O and no clock: time is an argument.

mod clocks;
mod health;
mod outage;
mod probe;
mod rate;
mod unauthorized;
mod window;

use std::time::Duration;

pub(crate) use self::clocks::Clocks;
pub(crate) use self::health::{Health, Weight};
pub(crate) use self::outage::OwnOutage;
pub(crate) use self::probe::{ProbeSchedule, fail_day, next_probe};
pub(crate) use self::rate::{Meter, REMEMBERED, Rate};
pub(crate) use self::unauthorized::Unauthorized;
pub(crate) use self::window::Window;

/// The shortest and the longest `Retry-After` that is honoured: zero would be a busy loop, and
/// longer than a quarter of a day would let a host push an activity past its own ladder.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(6));

/// How long a host is left alone that asked for it.
pub(crate) fn clamp_retry_after(asked: Duration) -> Duration {
    asked.clamp(RETRY_AFTER.0, RETRY_AFTER.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_of_ten_years_is_six_hours() {
        let years = Duration::from_hours(10 * 365 * 24);
        assert_eq!(clamp_retry_after(years), Duration::from_hours(6));
        assert_eq!(clamp_retry_after(Duration::ZERO), Duration::from_secs(1));
    }
}
