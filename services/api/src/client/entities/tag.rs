//! Hashtags.

use serde::Serialize;

/// A hashtag of a post.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StatusTag {
    pub(crate) name: String,
    pub(crate) url: String,
}

/// A hashtag by itself. `history` stays empty until trends are counted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tag {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) history: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) following: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) featuring: Option<bool>,
}
