//! What an attempt's answer means for its row (design section 6, "Answers"). Pure.

use std::time::Duration;

use crate::attempt::Class;
use crate::host::{Weight, clamp_retry_after};

/// How long a shared inbox that worked lately may be gone before its rows are given up: a server
/// that is being moved answers 404 for a while.
const GONE_FOR: Duration = Duration::from_hours(24);

/// How long a row waits for a key that cannot be read. Only an operator changes that; each try asks
/// the database, and there may be as many rows as the account has followers.
const KEY_WAIT: Duration = Duration::from_mins(10);

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) fate: Fate,
    /// Whether a POST was made.
    pub(crate) attempted: bool,
    /// Whether this was a failure of the activity's own: one step on its ladder.
    pub(crate) own_failure: bool,
    /// Whether a byte of the request may have reached the host.
    pub(crate) touched: bool,
    /// The HTTP status, if there was one.
    pub(crate) status: Option<u16>,
    /// The class of the failure; a fixed word of ours, never remote text.
    pub(crate) error: Option<String>,
}

/// Where a row goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    /// Waits for a time of its own.
    Later {
        reason: &'static str,
        after: Duration,
    },
    /// Waits for its host, behind everything that waits there already.
    Backlog {
        reason: &'static str,
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
            Self::Later { .. } | Self::Backlog { .. } => "parked",
            Self::Dead { .. } => "dead",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Later { reason, .. } | Self::Backlog { reason } => Some(reason),
            Self::Dead { reason } | Self::Cancelled { reason } => Some(reason),
        }
    }

    /// Whether nothing more happens to the row.
    pub(crate) const fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Delivered | Self::Dead { .. } | Self::Cancelled { .. }
        )
    }
}

impl Outcome {
    /// An outcome without a POST.
    pub(crate) const fn untried(fate: Fate) -> Self {
        Self {
            fate,
            attempted: false,
            own_failure: false,
            touched: false,
            status: None,
            error: None,
        }
    }
}

/// What is known beside the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    /// Failures of the activity's own before this one.
    pub(crate) own_failures: u32,
    /// For how long its host has answered 429 to the row, and nothing else.
    pub(crate) paced_for: Duration,
    /// For how long the host's shared inbox has been gone.
    pub(crate) gone_for: Duration,
    /// Since the host last took something.
    pub(crate) host_worked: Option<Duration>,
    /// Whether the inbox is one that the host's accounts share.
    pub(crate) shared: bool,
    /// Whether 401 is our own fault at the moment.
    pub(crate) ours: bool,
    /// Whether the host takes an operator's or the design's word for being away for good, so
    /// that its rows go their own way.
    pub(crate) unavailable: bool,
    pub(crate) ladder: &'a [Duration],
    /// In 0..1; spreads the waits over a fifth either way.
    pub(crate) jitter: f64,
}

/// What an answer says about the host.
pub(crate) fn weigh(class: &Class, about: &Circumstances<'_>) -> Weight {
    match class {
        Class::Gone(_) if is_move(about) => Weight::Failure,
        Class::Delivered | Class::Final(_) | Class::Gone(_) => Weight::Success,
        Class::HostDown(_) => Weight::AtOnce,
        Class::HostTrouble(_) | Class::Busy { .. } => Weight::Failure,
        Class::TooMany { .. }
        | Class::Unauthorized { .. }
        | Class::Unheard(_)
        | Class::OwnKey
        | Class::OwnFault(_) => Weight::Neutral,
    }
}

/// 404, 405 or 410 of a shared inbox that worked within the last week.
fn is_move(about: &Circumstances<'_>) -> bool {
    about.shared
        && about
            .host_worked
            .is_some_and(|ago| ago < Duration::from_hours(7 * 24))
        && about.gone_for < GONE_FOR
}

/// Where the row goes after this answer, when its host `is_failing` now.
pub(crate) fn judge(class: &Class, is_failing: bool, about: &Circumstances<'_>) -> (Fate, bool) {
    let waits_for_host = is_failing && !about.unavailable;
    match class {
        Class::Delivered => (Fate::Delivered, false),
        Class::Final(reason) => (dead(reason), false),
        Class::Gone(reason) if !is_move(about) => (dead(reason), false),
        Class::OwnFault(reason) => (dead(reason), false),
        // Before what waits for the host: it would be the next probe again, and the only one.
        Class::Unheard(reason) => (of_ours(reason, about), false),
        Class::OwnKey => (without_key(about), false),
        _ if waits_for_host => (Fate::Backlog { reason: "host" }, false),
        Class::Gone(reason) | Class::HostDown(reason) | Class::HostTrouble(reason) => {
            (step(reason, None, about), true)
        }
        Class::Busy {
            reason,
            retry_after,
        } => (step(reason, *retry_after, about), true),
        // The host's pace is no failure of the activity. What is refused for longer than the
        // whole ladder takes ends all the same.
        Class::TooMany { retry_after } => {
            if about.paced_for > about.ladder.iter().sum::<Duration>() {
                return (dead("exhausted"), false);
            }
            let first = about.ladder.first().copied().unwrap_or_default();
            let asked = retry_after.map_or(first, clamp_retry_after);
            // Never before it was asked for.
            let after = asked.mul_f64(1.0 + 0.2 * about.jitter.clamp(0.0, 1.0));
            (
                Fate::Later {
                    reason: "status_429",
                    after,
                },
                false,
            )
        }
        Class::Unauthorized { .. } if about.ours => (of_ours("our_401", about), false),
        Class::Unauthorized { .. } => (step("status_401", None, about), true),
    }
}

/// Nothing becomes dead of what is our own fault: it is tried again, never on a late step.
fn of_ours(reason: &'static str, about: &Circumstances<'_>) -> Fate {
    let step = about.ladder.get(about.own_failures.min(3) as usize);
    Fate::Later {
        reason,
        after: spread(step.copied().unwrap_or_default(), about.jitter),
    }
}

/// It waits until the key can be read, however often it is tried meanwhile.
fn without_key(about: &Circumstances<'_>) -> Fate {
    Fate::Later {
        reason: "own_key",
        after: spread(KEY_WAIT, about.jitter),
    }
}

fn dead(reason: &str) -> Fate {
    Fate::Dead {
        reason: reason.to_owned(),
    }
}

fn spread(wait: Duration, jitter: f64) -> Duration {
    wait.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
}

fn step(reason: &'static str, retry_after: Option<Duration>, about: &Circumstances<'_>) -> Fate {
    let Some(step) = about.ladder.get(about.own_failures as usize) else {
        return dead("exhausted");
    };
    let asked = retry_after.map(clamp_retry_after).unwrap_or_default();
    Fate::Later {
        reason,
        after: spread(*step, about.jitter).max(asked),
    }
}

#[cfg(test)]
mod tests;
