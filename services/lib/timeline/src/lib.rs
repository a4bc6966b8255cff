//! The home-timeline seam: one list of status ids per account, in Redis or in process. Only
//! lists that exist are appended to; what is lost is rebuilt from PostgreSQL. Rules of trimming,
//! markers and rebuilding live here, above the seam.

mod marker;
mod memory;
mod redis;
mod seam;

pub use marker::Marker;
pub use memory::{DEFAULT_MAX_LISTS, MemoryTimelines};
pub use redis::{RedisOptions, RedisTimelines};
pub use seam::{List, TimelineError, Timelines};

/// A list longer than this is cut (design section 7).
pub const TRIM_ABOVE: usize = 800;

/// What a cut leaves.
pub const TRIM_TO: usize = 400;

/// How long a list lives after its owner's last request: the rule for active users.
pub const TTL: std::time::Duration = std::time::Duration::from_hours(7 * 24);

/// A value that nobody else draws: 64 random bits as hex.
fn new_nonce() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// The deadline of a rebuild that starts at `now_millis`: Unix seconds, rounded up, so that a
/// short limit is not over at once.
fn deadline_after(now_millis: i64, time_limit: std::time::Duration) -> i64 {
    let millis = i64::try_from(time_limit.as_millis()).unwrap_or(i64::MAX);
    now_millis.saturating_add(millis).saturating_add(999) / 1000
}
