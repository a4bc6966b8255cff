//! The form of our answers to servers, and who asked for it.

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tidegate_federation::ACTIVITY_JSON;

/// Who may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Anybody, for three minutes: what is public changes seldom.
    Public,
    /// Nobody: it was made for one reader.
    Private,
}

impl Keep {
    const fn policy(self) -> &'static str {
        match self {
            Self::Public => "public, max-age=180",
            Self::Private => "private, no-store",
        }
    }
}

/// A document in ActivityPub's content type.
pub(super) fn document(value: &Value, keep: Keep) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(ACTIVITY_JSON),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static(keep.policy()),
        ),
        (
            header::VARY,
            HeaderValue::from_static("Accept, Signature, Origin"),
        ),
    ];
    (headers, value.to_string()).into_response()
}

fn accepted(headers: &HeaderMap) -> String {
    let all: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    all.join(",").to_ascii_lowercase()
}

/// Whether the sender asks for an ActivityPub document by name.
pub(crate) fn wants_activity(headers: &HeaderMap) -> bool {
    let accepted = accepted(headers);
    accepted.contains("application/activity+json") || accepted.contains("application/ld+json")
}

/// Whether the sender is a browser: it names HTML and no ActivityPub document. Whoever names
/// neither gets the document.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    accepted(headers).contains("text/html") && !wants_activity(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))])
    }

    #[test]
    fn browsers_get_pages_and_servers_documents() {
        assert!(wants_page(&accept(
            "text/html,application/xhtml+xml,*/*;q=0.8"
        )));
        assert!(!wants_page(&accept("*/*")));
        assert!(!wants_page(&HeaderMap::new()));
        let mastodon = accept("application/activity+json, application/ld+json");
        assert!(wants_activity(&mastodon) && !wants_page(&mastodon));
        let both = accept("application/activity+json, text/html;q=0.1");
        assert!(wants_activity(&both) && !wants_page(&both));
    }
}
