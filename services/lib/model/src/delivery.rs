//! The words of delivery: states, lanes, and when an activity is tried again.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where one (activity, inbox) stands. `delivered` and `cancelled` are final; `dead` is left
/// only by replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// A message with this row is with the queue, or about to be.
    Queued,
    /// Waits in PostgreSQL until its time or its host's.
    Parked,
    /// The inbox answered 2xx.
    Delivered,
    /// Given up, with a reason; an operator may replay it.
    Dead,
    /// No longer wanted: deleted, blocked, unfollowed, superseded.
    Cancelled,
}

impl DeliveryState {
    /// Every state, for metrics and the ledger.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Parked,
        Self::Delivered,
        Self::Dead,
        Self::Cancelled,
    ];

    /// As the database and the metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Parked => "parked",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Which of a shard's three queues an activity takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Follows, accepts, blocks, mentions, direct messages: somebody waits for it.
    Now,
    /// Public fan-out.
    Bulk,
    /// Profile updates, mass deletes.
    Slow,
}

impl Lane {
    /// Every lane, most urgent first.
    pub const ALL: [Self; 3] = [Self::Now, Self::Bulk, Self::Slow];

    /// As the database, the queues and the metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Bulk => "bulk",
            Self::Slow => "slow",
        }
    }

    /// The lane of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == text)
    }
}

/// How long an activity waits after its first, second, ... failure that is its own and not the
/// whole host's (design section 6). After the last step it is dead: 31 hours in all, more than
/// the 27 hours of the longest webhook service and less than a host's own seven days.
pub const RETRY_LADDER: [Duration; 6] = [
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(6),
    Duration::from_hours(24),
];

/// Whether an activity of this kind goes out to a host that is unavailable too: somebody waits for
/// the answer, and it tells whether the host is back (design section 6). Direct messages do as
/// well.
pub fn is_always_sent(kind: &str) -> bool {
    matches!(kind, "Follow" | "Accept" | "Reject" | "Undo" | "Block")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_read_back_as_written() {
        for lane in Lane::ALL {
            assert_eq!(Lane::parse(lane.as_str()), Some(lane));
        }
        assert_eq!(Lane::parse("fast"), None);
    }
}
