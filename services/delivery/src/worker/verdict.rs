//! What an inbox's answer means for its row (design section 6, "Answers"). Pure.

use std::time::Duration;

use crate::egress::EgressError;

/// The longest `Retry-After` that is honoured: a quarter of a day. Longer would let a host push
/// an activity past its own ladder.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(6);

/// What came of a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The inbox answered.
    Answered {
        /// Its status.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It did not.
    Failed(EgressError),
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) fate: Fate,
    /// Whether it was tried: counts as an attempt.
    pub(crate) attempted: bool,
    /// The HTTP status, if there was one.
    pub(crate) status: Option<u16>,
    /// The class of the failure; a fixed word of ours, never remote text.
    pub(crate) error: Option<&'static str>,
}

/// Where a row goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
    Delivered,
    /// Tried again after this, or looked at again when it waits for its turn.
    Parked {
        reason: String,
        after: Duration,
    },
    Dead {
        reason: String,
    },
    Cancelled {
        reason: String,
    },
}

impl Fate {
    /// The state as the database spells it.
    pub(crate) const fn state(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Parked { .. } => "parked",
            Self::Dead { .. } => "dead",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Parked { reason, .. } | Self::Dead { reason } | Self::Cancelled { reason } => {
                Some(reason)
            }
        }
    }
}

impl Outcome {
    /// An outcome without a POST.
    pub(crate) const fn untried(fate: Fate) -> Self {
        Self {
            fate,
            attempted: false,
            status: None,
            error: None,
        }
    }
}

/// The outcome of a row whose POST number `attempts` (1 is the first) ended like this.
/// `jitter` in 0..1 spreads the waits over a fifth either way.
pub(crate) fn judge(reply: &Reply, attempts: u32, ladder: &[Duration], jitter: f64) -> Outcome {
    let (fate, status, error) = match reply {
        Reply::Answered {
            status,
            retry_after,
        } => {
            let fate = match status {
                200..=299 => Fate::Delivered,
                // Ours may be the fault (clock, key), or theirs for a moment: tried again.
                401 | 408 | 425 | 429 => later(*status, *retry_after, attempts, ladder, jitter),
                400..=499 => Fate::Dead {
                    reason: format!("status_{status}"),
                },
                // Redirects of a POST are never followed; a host under repair answers so too.
                _ => later(*status, *retry_after, attempts, ladder, jitter),
            };
            (fate, Some(*status), None)
        }
        Reply::Failed(error) => {
            let reason = error.class().to_owned();
            let fate = match error {
                // Asking again changes nothing, and must not (C1).
                EgressError::BlockedAddress | EgressError::BadUrl(_) | EgressError::Signing => {
                    Fate::Dead { reason }
                }
                _ => step(reason, None, attempts, ladder, jitter),
            };
            (fate, None, Some(error.class()))
        }
    };
    Outcome {
        fate,
        attempted: true,
        status,
        error,
    }
}

fn later(
    status: u16,
    retry_after: Option<Duration>,
    attempts: u32,
    ladder: &[Duration],
    jitter: f64,
) -> Fate {
    step(
        format!("status_{status}"),
        retry_after,
        attempts,
        ladder,
        jitter,
    )
}

fn step(
    reason: String,
    retry_after: Option<Duration>,
    attempts: u32,
    ladder: &[Duration],
    jitter: f64,
) -> Fate {
    let step = attempts.checked_sub(1).and_then(|n| ladder.get(n as usize));
    let Some(step) = step else {
        return Fate::Dead {
            reason: "exhausted".to_owned(),
        };
    };
    let own = step.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
    let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    Fate::Parked {
        reason,
        after: own.max(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidegate_model::RETRY_LADDER;

    fn answered(status: u16) -> Reply {
        Reply::Answered {
            status,
            retry_after: None,
        }
    }

    fn judged(reply: &Reply, attempts: u32) -> Fate {
        judge(reply, attempts, &RETRY_LADDER, 0.5).fate
    }

    #[test]
    fn every_2xx_is_delivered() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judged(&answered(status), 1), Fate::Delivered, "{status}");
        }
    }

    #[test]
    fn most_4xx_are_final() {
        for status in [400, 402, 403, 404, 405, 410, 413, 422, 451] {
            let reason = format!("status_{status}");
            assert_eq!(
                judged(&answered(status), 1),
                Fate::Dead { reason },
                "{status}"
            );
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_along_the_ladder() {
        for status in [301, 302, 308, 401, 408, 425, 429, 500, 502, 503, 504] {
            for (n, step) in RETRY_LADDER.iter().enumerate() {
                let fate = judged(&answered(status), n as u32 + 1);
                let reason = format!("status_{status}");
                assert_eq!(
                    fate,
                    Fate::Parked {
                        reason,
                        after: *step
                    }
                );
            }
            let reason = "exhausted".to_owned();
            assert_eq!(judged(&answered(status), 7), Fate::Dead { reason });
        }
    }

    #[test]
    fn network_errors_are_tried_again_and_blocked_addresses_never() {
        for error in [
            EgressError::Timeout,
            EgressError::Connect,
            EgressError::Dns,
            EgressError::Tls,
        ] {
            let fate = judged(&Reply::Failed(error), 1);
            assert!(matches!(fate, Fate::Parked { .. }), "{fate:?}");
        }
        let reason = "blocked_address".to_owned();
        assert_eq!(
            judged(&Reply::Failed(EgressError::BlockedAddress), 1),
            Fate::Dead { reason }
        );
    }

    #[test]
    fn retry_after_is_honoured_and_clamped() {
        let after = |seconds| {
            let reply = Reply::Answered {
                status: 429,
                retry_after: Some(Duration::from_secs(seconds)),
            };
            match judged(&reply, 1) {
                Fate::Parked { after, .. } => after.as_secs(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(after(0), 10);
        assert_eq!(after(600), 600);
        assert_eq!(after(u64::MAX), 6 * 60 * 60);
    }

    proptest! {
        #[test]
        fn a_row_ends_after_a_bounded_number_of_attempts(status in 100_u16..=599, jitter in 0.0..1.0) {
            let fate = judge(&answered(status), RETRY_LADDER.len() as u32 + 1, &RETRY_LADDER, jitter).fate;
            let ended = matches!(fate, Fate::Delivered | Fate::Dead { .. });
            prop_assert!(ended);
        }
    }
}
