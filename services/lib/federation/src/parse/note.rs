//! Posts of others.

use super::{
    Document, ParseError,
    addressing::addressing,
    attachment::{attachments, emojis},
    shape,
};
use crate::html::{escape, plain_text, sanitize};
use serde_json::Value;
use std::fmt::Write as _;
use tidegate_model::{RemoteNote, same_origin};
use time::OffsetDateTime;

/// Shown as they are written.
const NATIVE: [&str; 2] = ["Note", "Question"];

/// Shown as a title and a link.
const LINKED: [&str; 6] = ["Article", "Page", "Video", "Image", "Audio", "Event"];

/// More mentions than this in one post are not read: each may be a lookup.
const MAX_MENTIONS: usize = 100;

/// More hashtags than this in one post are not read; longer ones neither.
const MAX_TAGS: usize = 64;
const MAX_TAG_CHARACTERS: usize = 100;

/// What is kept of a warning or a title, in characters.
const MAX_SPOILER: usize = 2_000;

/// What Mastodon takes of a poll; the length of one option in characters.
const MAX_OPTIONS: usize = 500;
const MAX_OPTION: usize = 500;

/// Whether a document is something that [`note`] reads.
pub fn is_post(document: &Document) -> bool {
    document
        .types()
        .any(|kind| NATIVE.contains(&kind) || LINKED.contains(&kind))
}

/// Reads a post. `followers` is the stored author's followers collection
/// (see [`super::addressing`]); no time is later than `now`.
///
/// That the document came from its own origin is for the caller to know: from
/// [`super::fetched`], or because it stood in an activity of its author
/// ([`super::Activity::note`]).
pub fn note(
    document: &Document,
    followers: Option<&str>,
    now: OffsetDateTime,
) -> Result<RemoteNote, ParseError> {
    let native = document.types().any(|kind| NATIVE.contains(&kind));
    if !native && !document.types().any(|kind| LINKED.contains(&kind)) {
        return Err(ParseError::Unsupported);
    }
    let uri = document.id().ok_or(ParseError::Missing("id"))?;
    let author = author(document).ok_or(ParseError::Missing("attributedTo"))?;
    if !same_origin(uri, author) {
        return Err(ParseError::Authority(
            "the author is of another origin than the post",
        ));
    }
    let (content, language) =
        shape::language_text(document.get("content"), document.get("contentMap"));
    let (name, _) = shape::language_text(document.get("name"), document.get("nameMap"));
    if native && content.is_none() && name.is_some() && !document.get("inReplyTo").is_null() {
        // A vote in a poll, which has no place here.
        return Err(ParseError::Unsupported);
    }
    let url = shape::link(document.get("url")).filter(|url| same_host(url, uri));
    let (summary, _) = shape::language_text(document.get("summary"), document.get("summaryMap"));
    let spoiler_text = shape::clipped(&plain_text(summary.unwrap_or_default()), MAX_SPOILER);
    let content = if native {
        sanitize(content.unwrap_or_default()) + &options(document)
    } else {
        link_post(name.unwrap_or_default(), url.unwrap_or(uri))
    };
    let published = shape::time(document.get("published")).map_or(now, |at| at.min(now));
    Ok(RemoteNote {
        uri: uri.to_owned(),
        url: url.map(str::to_owned),
        attributed_to: author.to_owned(),
        content,
        // The summary of an article is its abstract, no warning.
        spoiler_text: if native { spoiler_text } else { String::new() },
        sensitive: document.get("sensitive").as_bool().unwrap_or(false),
        language,
        addressing: addressing(document, followers),
        in_reply_to: shape::id(document.get("inReplyTo")).map(str::to_owned),
        published,
        updated: shape::time(document.get("updated")).map(|at| at.min(now)),
        mentions: mentions(document),
        tags: tags(document),
        emojis: emojis(document),
        attachments: attachments(document),
    })
}

/// Who wrote it: the first, or the person among several (videos name their channel, too).
fn author(document: &Document) -> Option<&str> {
    let value = document.get("attributedTo");
    let person = shape::each(value).find(|one| one["type"] == "Person");
    person.and_then(shape::id).or_else(|| shape::id(value))
}

fn same_host(a: &str, b: &str) -> bool {
    let host = tidegate_model::host_of(a);
    host.is_ok() && host == tidegate_model::host_of(b)
}

/// What has a page of its own is shown by its title and a link to it.
fn link_post(name: &str, url: &str) -> String {
    let title = escape(&shape::clipped(&plain_text(name), MAX_SPOILER));
    let url = escape(url);
    let title = if title.is_empty() {
        String::new()
    } else {
        format!("<p>{title}</p>")
    };
    sanitize(&format!("{title}<p><a href=\"{url}\">{url}</a></p>"))
}

/// The options of a poll as a list to read.
fn options(document: &Document) -> String {
    let value = match document.get("oneOf") {
        Value::Null => document.get("anyOf"),
        value => value,
    };
    let mut html = String::new();
    for option in shape::each(value).take(MAX_OPTIONS) {
        if let Some(name) = shape::text(&option["name"]) {
            let name = escape(&shape::clipped(&plain_text(name), MAX_OPTION));
            // Writing to a String cannot fail.
            let _ = write!(html, "<li>{name}</li>");
        }
    }
    if html.is_empty() {
        html
    } else {
        sanitize(&format!("<ul>{html}</ul>"))
    }
}

fn mentions(document: &Document) -> Vec<String> {
    let mut mentions: Vec<String> = Vec::new();
    for tag in shape::each(document.get("tag")).filter(|tag| tag["type"] == "Mention") {
        if let Some(href) = tag["href"].as_str().and_then(shape::web_url)
            && mentions.len() < MAX_MENTIONS
            && !mentions.iter().any(|one| one == href)
        {
            mentions.push(href.to_owned());
        }
    }
    mentions
}

fn tags(document: &Document) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in shape::each(document.get("tag")).filter(|tag| tag["type"] == "Hashtag") {
        let Some(name) = tag["name"].as_str() else {
            continue;
        };
        let name = name.trim().trim_start_matches(['#', '＃']).to_lowercase();
        let plain = name
            .chars()
            .all(|one| one.is_alphanumeric() || matches!(one, '_' | '·' | '・' | '\u{200c}'));
        if plain
            && (1..=MAX_TAG_CHARACTERS).contains(&name.chars().count())
            && tags.len() < MAX_TAGS
            && !tags.contains(&name)
        {
            tags.push(name);
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PUBLIC, document};
    use serde_json::json;
    use tidegate_model::{Instance, Visibility};
    use time::Duration;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_700_000_000).expect("a time")
    }

    fn with(changes: Value) -> Result<RemoteNote, ParseError> {
        let mut value = json!({
            "id": "https://p.test/notes/1",
            "type": "Note",
            "attributedTo": "https://p.test/users/bob",
            "content": "<p>hi</p>",
            "to": PUBLIC,
        });
        let fields = value.as_object_mut().expect("an object");
        fields.extend(changes.as_object().expect("an object").clone());
        fields.retain(|_, value| !value.is_null());
        let document = Document::parse(value.to_string().as_bytes()).expect("a document");
        note(&document, None, now())
    }

    #[test]
    fn the_least_note_is_taken() {
        let note = with(json!({})).expect("a note");
        assert_eq!(note.content, "<p>hi</p>");
        assert_eq!(note.addressing.visibility, Visibility::Public);
        assert_eq!(note.published, now());
        assert_eq!(note.url, None);
        assert_eq!(note.updated, None);
    }

    #[test]
    fn our_own_notes_read_back() {
        let us = Instance::new(
            "us.test",
            &url::Url::parse("https://us.test").expect("a URL"),
        );
        let followers = us.actor_endpoint("ada", "followers");
        for visibility in Visibility::ALL {
            let doc = document::NoteDoc {
                id: 7,
                username: "ada".to_owned(),
                content: "<p>x</p>".to_owned(),
                spoiler_text: "cw & more".to_owned(),
                sensitive: true,
                language: Some("de".to_owned()),
                visibility,
                mentions: vec![document::MentionDoc {
                    uri: "https://b.test/bob".to_owned(),
                    acct: "bob@b.test".to_owned(),
                }],
                tags: vec!["Tide".to_owned()],
                in_reply_to: Some("https://b.test/1".to_owned()),
                published: now() - Duration::hours(1),
                updated: Some(now()),
                attachments: vec![tidegate_model::RemoteAttachment {
                    media_type: "image/png".to_owned(),
                    url: "https://us.test/m.png".to_owned(),
                    description: Some("d".to_owned()),
                    blurhash: None,
                    width: Some(1),
                    height: Some(2),
                }],
            };
            let (bytes, _) = document::to_body(&document::note(&us, &doc));
            let document = Document::parse(&bytes).expect("a document");
            let read = note(&document, Some(&followers), now()).expect("a note");
            assert_eq!(read.uri, us.status("ada", 7));
            assert_eq!(read.addressing.visibility, visibility);
            assert_eq!(read.spoiler_text, "cw & more");
            assert_eq!(read.language.as_deref(), Some("de"));
            assert_eq!(read.mentions, ["https://b.test/bob"]);
            assert_eq!(read.tags, ["tide"]);
            assert_eq!(read.in_reply_to, doc.in_reply_to);
            assert_eq!(read.published, doc.published);
            assert_eq!(read.updated, doc.updated);
            assert_eq!(read.attachments, doc.attachments);
        }
    }

    #[test]
    fn an_author_elsewhere_is_refused() {
        for changes in [
            json!({"id": "https://q.test/notes/1"}),
            json!({"attributedTo": "https://e.test/eve"}),
            json!({"attributedTo": "http://p.test/users/bob"}),
        ] {
            assert!(
                matches!(with(changes.clone()), Err(ParseError::Authority(_))),
                "{changes}"
            );
        }
        for changes in [json!({"id": null}), json!({"attributedTo": null})] {
            assert!(matches!(with(changes), Err(ParseError::Missing(_))));
        }
    }

    #[test]
    fn odd_shapes_are_taken() {
        let note = with(json!({
            "attributedTo": [{"type": "Group", "id": "https://p.test/c/x"}, {"type": "Person", "id": "https://p.test/users/bob"}],
            "content": null,
            "contentMap": {"de": "<p>hallo</p>"},
            "inReplyTo": {"id": "https://b.test/1", "type": "Note"},
            "tag": {"type": "Mention", "href": "https://b.test/bob"},
            "summary": {"x": 1},
            "sensitive": "true",
            "published": "2023-13-45",
            "attachment": null,
        }))
        .expect("a note");
        assert_eq!(note.attributed_to, "https://p.test/users/bob");
        assert_eq!(note.content, "<p>hallo</p>");
        assert_eq!(note.language.as_deref(), Some("de"));
        assert_eq!(note.in_reply_to.as_deref(), Some("https://b.test/1"));
        assert_eq!(note.mentions.len(), 1);
        assert!(!note.sensitive);
    }

    #[test]
    fn nothing_comes_from_the_future() {
        let note = with(json!({
            "published": "2999-01-01T00:00:00Z", "updated": "2999-01-01T00:00:00+05:00",
        }))
        .expect("a note");
        assert_eq!((note.published, note.updated), (now(), Some(now())));
    }

    #[test]
    fn a_page_elsewhere_is_not_its_page() {
        assert_eq!(
            with(json!({"url": "https://e.test/1"}))
                .expect("a note")
                .url,
            None
        );
        let own = with(json!({"url": [{"type": "Link", "href": "https://p.test/@bob/1"}]}));
        assert_eq!(
            own.expect("a note").url.as_deref(),
            Some("https://p.test/@bob/1")
        );
    }

    #[test]
    fn what_has_a_page_becomes_a_link() {
        for kind in LINKED {
            let note = with(json!({
                "type": kind, "name": "A <b>title</b> & more", "content": "<p>long</p>",
                "summary": "abstract", "url": "https://p.test/a?x=1&y=2",
            }))
            .expect("a note");
            assert_eq!(
                note.content,
                "<p>A title &amp; more</p><p><a href=\"https://p.test/a?x=1&amp;y=2\" \
                 target=\"_blank\" rel=\"nofollow noopener noreferrer\">\
                 https://p.test/a?x=1&amp;y=2</a></p>",
                "{kind}"
            );
            assert_eq!(note.spoiler_text, "");
        }
    }

    #[test]
    fn a_question_shows_its_options() {
        let note = with(json!({
            "type": "Question",
            "oneOf": [{"type": "Note", "name": "yes <script>"}, {"type": "Note", "name": "no"}],
        }))
        .expect("a note");
        assert_eq!(note.content, "<p>hi</p><ul><li>yes</li><li>no</li></ul>");
    }

    #[test]
    fn votes_and_strangers_are_not_posts() {
        for changes in [
            json!({"type": "Person"}),
            json!({"type": null}),
            json!({"content": null, "name": "yes", "inReplyTo": "https://us.test/1"}),
        ] {
            assert_eq!(
                with(changes.clone()),
                Err(ParseError::Unsupported),
                "{changes}"
            );
        }
    }

    #[test]
    fn content_is_safe_and_lists_are_bounded() {
        let tags: Vec<Value> = (0..1_000)
            .flat_map(|n| {
                [
                    json!({"type": "Mention", "href": format!("https://b.test/{n}")}),
                    json!({"type": "Hashtag", "name": format!("#Tag{n}")}),
                ]
            })
            .chain([json!({"type": "Hashtag", "name": "x".repeat(10_000)})])
            .collect();
        let note = with(json!({
            "content": "<p onclick=x>hi<script>alert(1)</script></p>",
            "summary": "s".repeat(100_000),
            "tag": tags,
        }))
        .expect("a note");
        assert_eq!(note.content, "<p>hi</p>");
        assert_eq!(note.mentions.len(), MAX_MENTIONS);
        assert_eq!(note.tags.len(), MAX_TAGS);
        assert_eq!(note.tags[0], "tag0");
        assert_eq!(note.spoiler_text.len(), MAX_SPOILER);
    }
}
