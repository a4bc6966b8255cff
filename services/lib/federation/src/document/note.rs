//! Posts.

use super::{audience, timestamp, with_note_context};
use crate::html::hashtag_url;
use serde_json::{Value, json};
use tidegate_model::{Instance, RemoteAttachment, Visibility};
use time::OffsetDateTime;

/// An actor that a post mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MentionDoc {
    /// The actor's id.
    pub uri: String,
    /// `user` when local, else `user@domain`.
    pub acct: String,
}

/// A local post as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteDoc {
    /// Its snowflake id.
    pub id: i64,
    /// Its author.
    pub username: String,
    /// Safe HTML.
    pub content: String,
    /// Content warning; empty for none.
    pub spoiler_text: String,
    /// Media are hidden at first.
    pub sensitive: bool,
    /// BCP 47 code.
    pub language: Option<String>,
    /// Who may see it.
    pub visibility: Visibility,
    /// Everybody addressed by name, in the order of the text.
    pub mentions: Vec<MentionDoc>,
    /// Hashtags without #.
    pub tags: Vec<String>,
    /// The parent's id.
    pub in_reply_to: Option<String>,
    /// When it was posted.
    pub published: OffsetDateTime,
    /// When it was last edited.
    pub updated: Option<OffsetDateTime>,
    /// Media, with absolute URLs.
    pub attachments: Vec<RemoteAttachment>,
}

impl NoteDoc {
    /// Its addresses.
    pub(super) fn audience(&self, us: &Instance) -> super::Audience {
        let followers = us.actor_endpoint(&self.username, "followers");
        let mentioned: Vec<String> = self.mentions.iter().map(|one| one.uri.clone()).collect();
        audience(self.visibility, &followers, &mentioned)
    }
}

/// The document at a post's id.
pub fn note(us: &Instance, doc: &NoteDoc) -> Value {
    with_note_context(body(us, doc))
}

/// The same without `@context`, to stand inside an activity.
pub(super) fn body(us: &Instance, doc: &NoteDoc) -> Value {
    let id = us.status(&doc.username, doc.id);
    let audience = doc.audience(us);
    let mentions = doc.mentions.iter().map(|mention| {
        json!({"type": "Mention", "href": mention.uri, "name": format!("@{}", mention.acct)})
    });
    let hashtags = doc.tags.iter().map(
        |tag| json!({"type": "Hashtag", "href": hashtag_url(us, tag), "name": format!("#{tag}")}),
    );
    let tags: Vec<Value> = mentions.chain(hashtags).collect();
    let mut note = json!({
        "id": id,
        "type": "Note",
        "summary": (!doc.spoiler_text.is_empty()).then_some(&doc.spoiler_text),
        "inReplyTo": doc.in_reply_to,
        "published": timestamp(doc.published),
        "url": us.status_page(&doc.username, doc.id),
        "attributedTo": us.actor(&doc.username),
        "to": audience.to,
        "cc": audience.cc,
        "sensitive": doc.sensitive,
        "atomUri": id,
        "inReplyToAtomUri": doc.in_reply_to,
        "content": doc.content,
        "attachment": doc.attachments.iter().map(attachment).collect::<Vec<_>>(),
        "tag": tags,
    });
    if let Some(updated) = doc.updated {
        note["updated"] = json!(timestamp(updated));
    }
    if let Some(language) = &doc.language {
        note["contentMap"] = json!({ language.as_str(): doc.content });
    }
    if !doc.visibility.is_open() {
        note["directMessage"] = json!(doc.visibility == Visibility::Direct);
    }
    note
}

fn attachment(media: &RemoteAttachment) -> Value {
    let mut document = json!({
        "type": "Document",
        "mediaType": media.media_type,
        "url": media.url,
        "name": media.description,
    });
    if let Some(blurhash) = &media.blurhash {
        document["blurhash"] = json!(blurhash);
    }
    if let (Some(width), Some(height)) = (media.width, media.height) {
        document["width"] = json!(width);
        document["height"] = json!(height);
    }
    document
}

#[cfg(test)]
pub(super) mod tests {
    use super::{
        super::testing::{noon, us},
        *,
    };
    use crate::PUBLIC;

    pub(in super::super) fn hello(visibility: Visibility) -> NoteDoc {
        NoteDoc {
            id: 7,
            username: "ada".to_owned(),
            content: "<p>hello</p>".to_owned(),
            spoiler_text: String::new(),
            sensitive: false,
            language: Some("en".to_owned()),
            visibility,
            mentions: vec![MentionDoc {
                uri: "https://b.test/bob".to_owned(),
                acct: "bob@b.test".to_owned(),
            }],
            tags: vec!["tide".to_owned()],
            in_reply_to: None,
            published: noon(),
            updated: None,
            attachments: Vec::new(),
        }
    }

    #[test]
    fn a_public_note_has_the_shape_that_mastodon_reads() {
        let doc = note(&us(), &hello(Visibility::Public));
        assert_eq!(doc["id"], "https://web.us.test/users/ada/statuses/7");
        assert_eq!(doc["attributedTo"], "https://web.us.test/users/ada");
        assert_eq!(doc["to"], json!([PUBLIC]));
        assert_eq!(
            doc["cc"],
            json!([
                "https://web.us.test/users/ada/followers",
                "https://b.test/bob"
            ])
        );
        assert_eq!(doc["summary"], Value::Null);
        assert_eq!(doc["inReplyTo"], Value::Null);
        assert_eq!(doc["contentMap"], json!({"en": "<p>hello</p>"}));
        assert_eq!(
            doc["tag"],
            json!([
                {"type": "Mention", "href": "https://b.test/bob", "name": "@bob@b.test"},
                {"type": "Hashtag", "href": "https://web.us.test/tags/tide", "name": "#tide"},
            ])
        );
        assert_eq!(doc.get("directMessage"), None);
        assert_eq!(doc.get("updated"), None);
    }

    #[test]
    fn only_direct_notes_say_direct_message() {
        let direct = note(&us(), &hello(Visibility::Direct));
        assert_eq!(direct["directMessage"], true);
        assert_eq!(direct["to"], json!(["https://b.test/bob"]));
        assert_eq!(direct["cc"], json!([]));
        assert_eq!(
            note(&us(), &hello(Visibility::Private))["directMessage"],
            false
        );
    }

    #[test]
    fn a_warning_a_parent_media_and_an_edit_are_shown() {
        let doc = NoteDoc {
            spoiler_text: "cw".to_owned(),
            in_reply_to: Some("https://b.test/1".to_owned()),
            updated: Some(noon()),
            attachments: vec![RemoteAttachment {
                media_type: "image/png".to_owned(),
                url: "https://web.us.test/m.png".to_owned(),
                description: Some("a cat".to_owned()),
                blurhash: None,
                width: Some(3),
                height: Some(4),
            }],
            ..hello(Visibility::Public)
        };
        let doc = note(&us(), &doc);
        assert_eq!(doc["summary"], "cw");
        assert_eq!(doc["inReplyToAtomUri"], "https://b.test/1");
        assert_eq!(doc["updated"], "2023-11-14T22:13:20Z");
        assert_eq!(doc["attachment"][0]["name"], "a cat");
        assert_eq!(doc["attachment"][0]["width"], 3);
    }
}
