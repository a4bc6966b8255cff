//! How the viewer and another account stand to each other.

use serde::Serialize;

/// Everything that a client shows beside a follow button.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Relationship {
    pub(crate) id: String,
    pub(crate) following: bool,
    pub(crate) showing_reblogs: bool,
    pub(crate) notifying: bool,
    pub(crate) languages: Option<Vec<String>>,
    pub(crate) followed_by: bool,
    pub(crate) blocking: bool,
    pub(crate) blocked_by: bool,
    pub(crate) muting: bool,
    pub(crate) muting_notifications: bool,
    pub(crate) muting_expires_at: Option<String>,
    pub(crate) requested: bool,
    pub(crate) requested_by: bool,
    pub(crate) domain_blocking: bool,
    pub(crate) endorsed: bool,
    pub(crate) note: String,
}
