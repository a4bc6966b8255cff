//! Whether what was fetched may be believed: content type, final URL, id (rule R1).

use super::{Document, ParseError};
use tidegate_model::same_origin;

const PROFILE: &str = "https://www.w3.org/ns/activitystreams";

/// Whether a `Content-Type` is one of the two that objects come as. Anything else may be a
/// file that somebody uploaded.
pub fn is_activity_content_type(header: &str) -> bool {
    let mut parts = header.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    if essence.eq_ignore_ascii_case("application/activity+json") {
        return true;
    }
    essence.eq_ignore_ascii_case("application/ld+json")
        && parts.any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("profile")
                    // A profile may be a list separated by blanks.
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|one| one == PROFILE)
            })
        })
}

/// What to do with a fetched document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It is what its id says.
    Believed,
    /// Its id is another URL of the same origin: fetch that once, and believe only what then
    /// is [`Fetched::Believed`].
    Refetch(String),
}

/// Judges a document that came from `final_url` (after redirects).
pub fn fetched(document: &Document, final_url: &str) -> Result<Fetched, ParseError> {
    let id = document.id().ok_or(ParseError::Missing("id"))?;
    if !same_origin(id, final_url) {
        return Err(ParseError::Authority(
            "the id is of another origin than the document",
        ));
    }
    Ok(if id == final_url {
        Fetched::Believed
    } else {
        Fetched::Refetch(id.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_types_are_objects() {
        for header in [
            "application/activity+json",
            "Application/Activity+JSON; charset=utf-8",
            "application/ld+json; profile=\"https://www.w3.org/ns/activitystreams\"",
            "application/ld+json;charset=utf-8;Profile=https://www.w3.org/ns/activitystreams",
            "application/ld+json; profile=\"https://x.test https://www.w3.org/ns/activitystreams\"",
        ] {
            assert!(is_activity_content_type(header), "{header}");
        }
        for header in [
            "",
            "application/json",
            "text/plain",
            "application/octet-stream",
            "application/ld+json",
            "application/ld+json; profile=\"https://e.test\"",
            "application/activity+jsonx",
            "text/html; x=application/activity+json",
        ] {
            assert!(!is_activity_content_type(header), "{header}");
        }
    }

    #[test]
    fn a_document_speaks_only_for_its_own_url() {
        let document = Document::parse(br#"{"id":"https://p.test/b"}"#).expect("a document");
        assert_eq!(
            fetched(&document, "https://p.test/b"),
            Ok(Fetched::Believed)
        );
        assert_eq!(
            fetched(&document, "https://p.test/a"),
            Ok(Fetched::Refetch("https://p.test/b".to_owned()))
        );
        for foreign in [
            "https://q.test/b",
            "http://p.test/b",
            "https://p.test:8443/b",
            "https://p.test.evil.test/b",
        ] {
            assert!(
                matches!(fetched(&document, foreign), Err(ParseError::Authority(_))),
                "{foreign}"
            );
        }
        let nameless = Document::parse(b"{}").expect("a document");
        assert_eq!(
            fetched(&nameless, "https://p.test/"),
            Err(ParseError::Missing("id"))
        );
    }
}
