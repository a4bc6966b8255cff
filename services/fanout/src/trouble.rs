//! What went wrong with a message, as far as it matters to what becomes of the message.

use std::time::Duration;

use tidegate_queue::{Decision, QueueError};
use tidegate_store::StoreError;
use tidegate_timeline::TimelineError;

/// The first wait after something was away: longer than a blip, short enough that nobody sees
/// a post come late.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait: how long an outage is felt after its end.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How often a message may fail for a reason that is not an outage before it is buried. With
/// the waits above that is about a quarter of an hour, long enough for a deploy to mend it.
const MAX_FAILURES: u32 = 20;

/// Why a message is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A part we need is away. The message waits as long as that takes: nothing is lost.
    #[error("{0}")]
    Away(String),
    /// It failed; perhaps a race that passes, perhaps a bug.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl Trouble {
    /// What becomes of the message after `redeliveries` earlier tries.
    pub(crate) fn decide(&self, queue: &str, redeliveries: u32) -> Decision {
        if matches!(self, Self::Failed(_)) && redeliveries >= MAX_FAILURES {
            return Decision::Bury(format!("{self:#}"));
        }
        tracing::warn!(queue, redeliveries, error = %self, "a message waits for another try");
        Decision::Retry(doubled(FIRST_WAIT, redeliveries, LONGEST_WAIT))
    }
}

/// `first`, doubled `times` times, at most `longest`.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first
        .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
        .min(longest)
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(source) => {
                Self::Away(format!("the database is not reachable: {source}"))
            }
            other => Self::Failed(other.into()),
        }
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<TimelineError> for Trouble {
    fn from(error: TimelineError) -> Self {
        match error {
            TimelineError::Unavailable(_) => Self::Away(error.to_string()),
            TimelineError::Other(other) => Self::Failed(other),
        }
    }
}

impl From<QueueError> for Trouble {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unavailable(_) => Self::Away(error.to_string()),
            QueueError::Refused(_) => Self::Failed(anyhow::anyhow!("{error}")),
            QueueError::Other(other) => Self::Failed(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_waited_for_and_a_failure_ends_with_the_dead() {
        let away = Trouble::Away("redis".to_owned());
        assert_eq!(away.decide("q", 0), Decision::Retry(Duration::from_secs(1)));
        assert_eq!(
            away.decide("q", 900),
            Decision::Retry(Duration::from_mins(1))
        );
        let failed = Trouble::Failed(anyhow::anyhow!("a bug"));
        assert_eq!(
            failed.decide("q", 3),
            Decision::Retry(Duration::from_secs(8))
        );
        assert_eq!(failed.decide("q", 20), Decision::Bury("a bug".to_owned()));
    }
}
