//! Posts.

use serde::Serialize;

use super::{Account, CustomEmoji, MediaAttachment, StatusTag};

/// A post as clients see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(crate) id: String,
    pub(crate) created_at: String,
    pub(crate) in_reply_to_id: Option<String>,
    pub(crate) in_reply_to_account_id: Option<String>,
    pub(crate) sensitive: bool,
    pub(crate) spoiler_text: String,
    pub(crate) visibility: &'static str,
    pub(crate) language: Option<String>,
    pub(crate) uri: String,
    pub(crate) url: Option<String>,
    pub(crate) replies_count: i64,
    pub(crate) reblogs_count: i64,
    pub(crate) favourites_count: i64,
    pub(crate) quotes_count: i64,
    pub(crate) edited_at: Option<String>,
    #[serde(flatten)]
    pub(crate) body: Content,
    pub(crate) reblog: Option<Box<Status>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) application: Option<Application>,
    pub(crate) account: Account,
    pub(crate) media_attachments: Vec<MediaAttachment>,
    pub(crate) mentions: Vec<Mention>,
    pub(crate) tags: Vec<StatusTag>,
    pub(crate) emojis: Vec<CustomEmoji>,
    pub(crate) tagged_collections: [(); 0],
    /// Link previews, polls and quotes are not offered; clients expect the keys.
    pub(crate) card: Option<()>,
    pub(crate) poll: Option<()>,
    pub(crate) quote: Option<()>,
    pub(crate) quote_approval: QuoteApproval,
    #[serde(flatten)]
    pub(crate) viewer: Option<ViewerFlags>,
}

/// The HTML; or, in the answer to a deletion, the text as typed, for "delete and redraft".
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    Content(String),
    Text(String),
}

/// The app that a local post was written with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) website: Option<String>,
}

/// A mentioned account.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Mention {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) url: String,
    pub(crate) acct: String,
}

/// Who may quote a post: nobody, because quotes are not offered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct QuoteApproval {
    pub(crate) automatic: [(); 0],
    pub(crate) manual: [(); 0],
    pub(crate) current_user: &'static str,
}

impl Default for QuoteApproval {
    fn default() -> Self {
        Self {
            automatic: [],
            manual: [],
            current_user: "denied",
        }
    }
}

/// What only a signed-in viewer is told.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ViewerFlags {
    pub(crate) favourited: bool,
    pub(crate) reblogged: bool,
    pub(crate) muted: bool,
    pub(crate) bookmarked: bool,
    /// Only for the viewer's own posts, which could be pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pinned: Option<bool>,
    pub(crate) filtered: [(); 0],
}

/// What stands above and below a post.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Context {
    pub(crate) ancestors: Vec<Status>,
    pub(crate) descendants: Vec<Status>,
}

/// A post as its author typed it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StatusSource {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) spoiler_text: String,
}

/// One version of a post.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StatusEdit {
    pub(crate) content: String,
    pub(crate) spoiler_text: String,
    pub(crate) sensitive: bool,
    pub(crate) created_at: String,
    pub(crate) account: Account,
    pub(crate) media_attachments: Vec<MediaAttachment>,
    pub(crate) emojis: Vec<CustomEmoji>,
}
