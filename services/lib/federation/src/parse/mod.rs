//! What others publish, read from JSON: bounded, tolerant of every odd shape, believed only as
//! far as its origin reaches.
//!
//! ActivityStreams is read as plain JSON with a fixed vocabulary; `@context` is never looked
//! at and never fetched (rule R5).

mod activity;
mod actor;
mod addressing;
mod attachment;
mod authority;
mod document;
mod handle;
mod key;
mod note;
mod shape;
mod webfinger;

pub use activity::{Activity, ActivityKind, Object};
pub use actor::actor;
pub use addressing::addressing;
pub use authority::{Fetched, fetched, is_activity_content_type};
pub use document::{Document, MAX_DEPTH, MAX_DOCUMENT_BYTES, has_nul};
pub use handle::{Handle, local_resource};
pub use key::{KeyDocument, actor_key, key_document};
pub use note::{is_post, note};
pub use webfinger::{Jrd, jrd};

/// Why something was not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`MAX_DOCUMENT_BYTES`].
    #[error("the document is too large")]
    TooLarge,
    /// Deeper than [`MAX_DEPTH`].
    #[error("the document is nested too deeply")]
    TooDeep,
    /// Not a JSON object, or with a keyword that makes it mean something else.
    #[error("not a usable JSON document: {0}")]
    Malformed(&'static str),
    /// A property that must be there is not, or is not what it must be.
    #[error("missing or unusable: {0}")]
    Missing(&'static str),
    /// It speaks for another origin or actor than its own.
    #[error("not its to say: {0}")]
    Authority(&'static str),
    /// A type that we do not take.
    #[error("unsupported type")]
    Unsupported,
}
