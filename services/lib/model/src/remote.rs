//! What we take from other servers' documents, after reading and bounding, before storing.
//! `federation` makes these from JSON; `store` writes them down.

use crate::Visibility;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// An actor document, read and bounded. All HTML is sanitised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteActor {
    /// The actor's id.
    pub uri: String,
    /// Its page; never used for identity.
    pub url: String,
    /// `Person`, `Service`, `Group`, `Organization` or `Application`.
    pub actor_type: String,
    /// The left-hand side of its handle.
    pub username: String,
    /// The right-hand side of its handle: the canonical host of `uri` unless WebFinger proved
    /// another one.
    pub domain: String,
    /// Its name, plain text.
    pub display_name: String,
    /// Its biography, safe HTML.
    pub note: String,
    /// Its own inbox.
    pub inbox: String,
    /// The inbox it shares with its neighbours, on the same host as `inbox`.
    pub shared_inbox: Option<String>,
    /// Its outbox, or empty.
    pub outbox: String,
    /// Its followers collection, or empty.
    pub followers: String,
    /// Its following collection, or empty.
    pub following: String,
    /// The id of its key.
    pub key_id: String,
    /// The public key as SPKI PEM.
    pub public_key_pem: String,
    /// Picture, or empty.
    pub avatar_url: String,
    /// Banner, or empty.
    pub header_url: String,
    /// Profile fields, names plain and values safe HTML.
    pub fields: Vec<RemoteField>,
    /// Whether follows are approved by hand.
    pub locked: bool,
    /// Whether it is automated.
    pub bot: bool,
    /// Whether it wants to be found.
    pub discoverable: Option<bool>,
    /// Whether its public posts may be searched.
    pub indexable: bool,
    /// When it was made, if it says so.
    pub published: Option<OffsetDateTime>,
    /// When this description of it was last changed, if it says so.
    pub updated: Option<OffsetDateTime>,
}

/// A profile field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteField {
    /// Its name.
    pub name: String,
    /// Its value, safe HTML.
    pub value: String,
}

/// To whom something was addressed, as its origin wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressing {
    /// What the addressing amounts to.
    pub visibility: Visibility,
    /// Every address in `to` and `cc` that is an actor or collection, without `as:Public`.
    pub recipients: Vec<String>,
}

/// A post, read and bounded. `content` is sanitised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteNote {
    /// The post's id.
    pub uri: String,
    /// Its page, if it has one.
    pub url: Option<String>,
    /// Its author's id: same origin as `uri`.
    pub attributed_to: String,
    /// Safe HTML.
    pub content: String,
    /// Content warning, plain text; empty for none.
    pub spoiler_text: String,
    /// Whether its media are hidden at first.
    pub sensitive: bool,
    /// BCP 47 code.
    pub language: Option<String>,
    /// To whom.
    pub addressing: Addressing,
    /// The parent's id.
    pub in_reply_to: Option<String>,
    /// When, clamped to no later than its arrival.
    pub published: OffsetDateTime,
    /// When it was last edited.
    pub updated: Option<OffsetDateTime>,
    /// Mentioned actors' ids.
    pub mentions: Vec<String>,
    /// Hashtags, lower-case, without #.
    pub tags: Vec<String>,
    /// Custom emojis.
    pub emojis: Vec<RemoteEmoji>,
    /// At most four.
    pub attachments: Vec<RemoteAttachment>,
}

/// An attachment that stays with its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteAttachment {
    /// MIME type as claimed.
    pub media_type: String,
    /// http(s) URL.
    pub url: String,
    /// For people who cannot see it.
    pub description: Option<String>,
    /// Blurred stand-in.
    pub blurhash: Option<String>,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
}

/// A custom emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteEmoji {
    /// Without colons.
    pub shortcode: String,
    /// http(s) URL of the picture.
    pub url: String,
}
