//! The exact content types that make a document an ActivityStreams one (R1).

use http::{HeaderMap, header};
use tidegate_federation::parse::is_activity_content_type;

/// Whether the answer says, once and exactly, that it is an ActivityStreams document.
pub(super) fn is_activity(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    value.to_str().is_ok_and(is_activity_content_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_types_are_taken_in_any_spelling() {
        for text in [
            "application/activity+json",
            "Application/Activity+JSON; charset=utf-8",
            "application/ld+json; profile=\"https://www.w3.org/ns/activitystreams\"",
            "application/ld+json;charset=utf-8;PROFILE=https://www.w3.org/ns/activitystreams",
            "application/ld+json; profile=\"https://a.test/x https://www.w3.org/ns/activitystreams\"",
        ] {
            assert!(is_activity_content_type(text), "{text}");
        }
    }

    #[test]
    fn what_an_upload_could_be_served_as_is_refused() {
        for text in [
            "",
            "application/json",
            "text/plain",
            "application/octet-stream",
            "text/html",
            "application/ld+json",
            "application/activity+jsonx",
            "application/activity",
            "application/ld+json; profile=\"https://www.w3.org/ns/activitystreamsx\"",
            "application/ld+json; x=\"https://www.w3.org/ns/activitystreams\"",
            "text/plain; x=application/activity+json",
        ] {
            assert!(!is_activity_content_type(text), "{text}");
        }
    }

    #[test]
    fn two_content_types_are_none() {
        let mut headers = HeaderMap::new();
        for value in ["application/activity+json", "text/plain"] {
            headers.append(header::CONTENT_TYPE, value.parse().expect("a value"));
        }
        assert!(!is_activity(&headers));
    }
}
