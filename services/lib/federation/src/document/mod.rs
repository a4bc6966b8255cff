//! What we publish: every document and activity as JSON, from plain structs.
//!
//! Ids and shapes are those that Mastodon emits, because that is what the fediverse reads.
//! URLs come from [`tidegate_model::Instance`] alone. Nothing here knows `bto` or `bcc`.

mod activity;
mod actor;
mod audience;
mod collection;
mod discovery;
mod note;

pub use activity::{
    Boost, Interaction, accept_follow, announce, block, create, delete_actor, delete_note, follow,
    interaction_id, like, reject_follow, undo_announce, undo_block, undo_follow, undo_like,
    update_actor, update_note,
};
pub use actor::{ActorDoc, actor, instance_actor};
pub use audience::{Audience, audience};
pub use collection::{Page, collection, collection_page, hidden_collection};
pub use discovery::{
    NodeInfo, host_meta_json, host_meta_xrd, instance_webfinger, nodeinfo, nodeinfo_index,
    webfinger,
};
pub use note::{MentionDoc, NoteDoc, note};

use crate::signature::body_digest;
use serde_json::{Value, json};
use time::{OffsetDateTime, UtcOffset};

const ACTIVITY_STREAMS: &str = "https://www.w3.org/ns/activitystreams";
const SECURITY: &str = "https://w3id.org/security/v1";
const MULTIKEY: &str = "https://w3id.org/security/multikey/v1";

/// The bytes to store and send, and their base64 SHA-256 for [`crate::signature`].
pub fn to_body(document: &Value) -> (Vec<u8>, String) {
    // A `Value` has string keys and finite numbers, so that printing it cannot fail.
    let bytes = document.to_string().into_bytes();
    let digest = body_digest(&bytes);
    (bytes, digest)
}

/// A document as one of its own: with `@context` in front.
fn with_context(context: Value, document: Value) -> Value {
    let mut whole = serde_json::Map::new();
    whole.insert("@context".to_owned(), context);
    if let Value::Object(fields) = document {
        whole.extend(fields);
    }
    Value::Object(whole)
}

/// With the plain ActivityStreams context.
fn plain(document: Value) -> Value {
    with_context(json!(ACTIVITY_STREAMS), document)
}

/// With the context of everything that carries a post.
fn with_note_context(document: Value) -> Value {
    with_context(
        json!([
            ACTIVITY_STREAMS,
            {
                "ostatus": "http://ostatus.org#",
                "atomUri": "ostatus:atomUri",
                "inReplyToAtomUri": "ostatus:inReplyToAtomUri",
                "sensitive": "as:sensitive",
                "Hashtag": "as:Hashtag",
                "toot": "http://joinmastodon.org/ns#",
                "blurhash": "toot:blurhash",
                "litepub": "http://litepub.social/ns#",
                "directMessage": "litepub:directMessage",
            }
        ]),
        document,
    )
}

/// UTC to the second, as Mastodon writes it.
fn timestamp(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
    )
}

#[cfg(test)]
mod testing {
    use super::*;
    use tidegate_model::Instance;
    use url::Url;

    pub(super) fn us() -> Instance {
        Instance::new(
            "us.test",
            &Url::parse("https://web.us.test").expect("a URL"),
        )
    }

    pub(super) fn noon() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_700_000_000).expect("a time")
    }

    #[test]
    fn bodies_carry_their_digest() {
        let (bytes, digest) = to_body(&json!({"a": "ü"}));
        assert_eq!(bytes, "{\"a\":\"ü\"}".as_bytes());
        assert_eq!(digest, body_digest(&bytes));
    }

    #[test]
    fn times_are_utc_to_the_second() {
        let elsewhere = noon().to_offset(UtcOffset::from_hms(5, 30, 0).expect("an offset"));
        assert_eq!(timestamp(elsewhere), "2023-11-14T22:13:20Z");
    }
}
