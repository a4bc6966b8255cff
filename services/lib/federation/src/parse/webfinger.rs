//! WebFinger answers of others.

use super::{Document, Handle, ParseError, authority::is_activity_content_type, shape};
use serde_json::Value;

/// More links than this are not read.
const MAX_LINKS: usize = 64;

/// Who an answer speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jrd {
    /// The handle it names itself. Unless it is the one that was asked for, ask once more for
    /// this one, at this one's domain, and take only an answer whose subject is itself.
    pub subject: Handle,
    /// The actor's id.
    pub actor: String,
}

impl Jrd {
    /// Whether the answer is about the handle that was asked for.
    pub fn answers(&self, asked: &Handle) -> bool {
        self.subject.is(asked)
    }
}

/// Reads an answer. The actor's own document must in turn carry the id in [`Jrd::actor`].
pub fn jrd(bytes: &[u8]) -> Result<Jrd, ParseError> {
    let document = Document::parse(bytes)?;
    let subject = document
        .get("subject")
        .as_str()
        .and_then(Handle::parse)
        .ok_or(ParseError::Missing("subject"))?;
    let actor = shape::each(document.get("links"))
        .take(MAX_LINKS)
        .find_map(self_link)
        .ok_or(ParseError::Missing("self link"))?;
    Ok(Jrd {
        subject,
        actor: actor.to_owned(),
    })
}

fn self_link(link: &Value) -> Option<&str> {
    let is_self = link.get("rel").and_then(Value::as_str) == Some("self");
    let media_type = link.get("type").and_then(Value::as_str)?;
    if !is_self || !is_activity_content_type(media_type) {
        return None;
    }
    link.get("href")
        .and_then(Value::as_str)
        .and_then(shape::web_url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Jrd, ParseError> {
        jrd(value.to_string().as_bytes())
    }

    fn self_of(href: &str) -> Value {
        json!({"rel": "self", "type": "application/activity+json", "href": href})
    }

    #[test]
    fn an_answer_names_its_subject_and_actor() {
        let answer = read(&json!({
            "subject": "acct:Bob@B.test",
            "links": [{"rel": "x"}, self_of("https://web.b.test/users/bob")],
        }))
        .expect("an answer");
        assert_eq!(answer.actor, "https://web.b.test/users/bob");
        assert!(answer.answers(&Handle::parse("@bob@b.test").expect("a handle")));
        assert!(!answer.answers(&Handle::parse("@eve@b.test").expect("a handle")));
        assert!(!answer.answers(&Handle::parse("@bob@e.test").expect("a handle")));
    }

    #[test]
    fn our_own_answers_are_read() {
        let us = tidegate_model::Instance::new(
            "us.test",
            &url::Url::parse("https://web.us.test").expect("a URL"),
        );
        let answer = read(&crate::document::webfinger(&us, "ada")).expect("an answer");
        assert_eq!(answer.actor, us.actor("ada"));
        assert_eq!(answer.subject.to_string(), "ada@us.test");
    }

    #[test]
    fn answers_without_a_usable_actor_are_refused() {
        for value in [
            json!({}),
            json!({"subject": "acct:bob@b.test"}),
            json!({"subject": "https://b.test/bob", "links": [self_of("https://b.test/bob")]}),
            json!({"subject": "acct:bob@b.test", "links": [self_of("javascript:x")]}),
            json!({"subject": "acct:bob@b.test", "links": [
                {"rel": "self", "type": "text/html", "href": "https://b.test/bob"}
            ]}),
            json!({"links": [self_of("https://b.test/bob")]}),
        ] {
            assert!(read(&value).is_err(), "{value}");
        }
    }
}
