//! What somebody is told.

use serde::Serialize;

use super::{Account, Status};

/// A notification of API version 1.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Notification {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) created_at: String,
    pub(crate) group_key: String,
    pub(crate) account: Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Status>,
}
