//! The home-timeline seam: one list of status ids per account, in Redis or in process. Only
//! lists that exist are appended to; what is lost is rebuilt from PostgreSQL. Rules of trimming,
//! markers and rebuilding live here, above the seam.

mod marker;
mod seam;

pub use marker::Marker;
pub use seam::{List, TimelineError, Timelines};

/// A list longer than this is cut (design section 7).
pub const TRIM_ABOVE: usize = 800;

/// What a cut leaves.
pub const TRIM_TO: usize = 400;

/// How long a list lives after its owner's last request: the rule for active users.
pub const TTL: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 60 * 60);
