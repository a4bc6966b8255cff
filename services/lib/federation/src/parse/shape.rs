//! Reading values that come in any shape: one where a list is usual, a list where one is, an
//! object where an id is, a map of languages where text is.

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use url::Url;

/// The longest URL taken in: as long as any browser or server accepts.
const MAX_URL_BYTES: usize = 2_048;

/// The value, or each of a list. Null is none.
pub(super) fn each(value: &Value) -> impl Iterator<Item = &Value> {
    let (one, many) = match value {
        Value::Null => (None, None),
        Value::Array(items) => (None, Some(items.iter())),
        other => (Some(other), None),
    };
    one.into_iter().chain(many.into_iter().flatten())
}

/// The id in a value: a string, or the `id` of an object, or the first of a list of them.
pub(super) fn id(value: &Value) -> Option<&str> {
    each(value).find_map(|one| match one {
        Value::String(text) => web_url(text),
        Value::Object(fields) => fields.get("id").and_then(Value::as_str).and_then(web_url),
        _ => None,
    })
}

/// A link in a value: a string, a `Link` with `href`, an object with `url`, or the first of a
/// list of them, preferring HTML pages.
pub(super) fn link(value: &Value) -> Option<&str> {
    let html = each(value).find(|one| {
        one.get("mediaType").and_then(Value::as_str) == Some("text/html")
            && one.get("href").is_some()
    });
    html.into_iter()
        .chain(each(value))
        .find_map(|one| match one {
            Value::String(text) => web_url(text),
            Value::Object(fields) => ["href", "url"]
                .iter()
                .find_map(|key| fields.get(*key).and_then(Value::as_str))
                .and_then(web_url),
            _ => None,
        })
}

/// The text if it is an absolute http(s) URL with a host, without user info, blanks or
/// controls. It stays as it was written, because ids are compared as text.
pub(super) fn web_url(text: &str) -> Option<&str> {
    if text.len() > MAX_URL_BYTES
        || text
            .chars()
            .any(|one| one.is_whitespace() || one.is_control())
    {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let usable = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none();
    usable.then_some(text)
}

/// The first text in a value.
pub(super) fn text(value: &Value) -> Option<&str> {
    each(value).find_map(Value::as_str)
}

/// Text with its language, from `property` or else from `property` + `Map`. The language is
/// known only when the map has exactly one.
pub(super) fn language_text<'a>(
    text_value: &'a Value,
    map: &'a Value,
) -> (Option<&'a str>, Option<String>) {
    let map = map.as_object();
    let language = map
        .filter(|map| map.len() == 1)
        .and_then(|map| map.keys().next())
        .and_then(|language| language_code(language));
    let from_map = map.and_then(|map| map.values().find_map(Value::as_str));
    (text(text_value).or(from_map), language)
}

/// A BCP 47 code that is short and plain.
fn language_code(code: &str) -> Option<String> {
    let plain = code
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // "und" says that the language is not known.
    (plain && (2..=35).contains(&code.len()) && code != "und").then(|| code.to_owned())
}

/// At most `limit` characters, without controls except newlines.
pub(super) fn clipped(text: &str, limit: usize) -> String {
    text.chars()
        .filter(|one| !one.is_control() || *one == '\n')
        .take(limit)
        .collect()
}

/// A time in RFC 3339. Years beyond four digits cannot be read, so what comes out fits every
/// database.
pub(super) fn time(value: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text(value)?.trim(), &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_found_in_every_shape() {
        let id_text = "https://a.test/1";
        for value in [
            json!(id_text),
            json!([id_text]),
            json!({"id": id_text, "type": "Person"}),
            json!([{"type": "Person", "id": id_text}, "https://b.test"]),
            json!([null, 1, id_text]),
        ] {
            assert_eq!(id(&value), Some(id_text), "{value}");
        }
        for value in [
            json!(null),
            json!(1),
            json!([]),
            json!({}),
            json!({"id": 1}),
        ] {
            assert_eq!(id(&value), None, "{value}");
        }
    }

    #[test]
    fn only_web_urls_are_urls() {
        for text in [
            "",
            "acct:bob@b.test",
            "javascript:alert(1)",
            "https://",
            "/users/bob",
            "https://bob@b.test/",
            "https://b.test/a b",
            "https://b.test/\n",
            "data:text/html,x",
            "file:///etc/passwd",
        ] {
            assert_eq!(web_url(text), None, "{text}");
        }
        assert_eq!(
            web_url(&format!("https://b.test/{}", "x".repeat(3_000))),
            None
        );
        assert_eq!(
            web_url("http://b.test:8080/x#y"),
            Some("http://b.test:8080/x#y")
        );
    }

    #[test]
    fn links_prefer_pages() {
        let value = json!([
            {"type": "Link", "mediaType": "video/mp4", "href": "https://a.test/v.mp4"},
            {"type": "Link", "mediaType": "text/html", "href": "https://a.test/w/1"},
        ]);
        assert_eq!(link(&value), Some("https://a.test/w/1"));
        assert_eq!(
            link(&json!({"type": "Image", "url": "https://a.test/i"})),
            Some("https://a.test/i")
        );
    }

    #[test]
    fn language_is_known_only_when_there_is_one() {
        let one = json!({"de": "hallo"});
        assert_eq!(
            language_text(&Value::Null, &one),
            (Some("hallo"), Some("de".to_owned()))
        );
        let two = json!({"de": "hallo", "en": "hello"});
        assert_eq!(language_text(&json!("x"), &two), (Some("x"), None));
        for code in ["und", "x", "de<script>"] {
            assert_eq!(
                language_text(&json!("x"), &json!({ code: "y" })).1,
                None,
                "{code}"
            );
        }
    }

    #[test]
    fn text_is_clipped_by_characters() {
        assert_eq!(clipped("äöü\0\u{1b}", 2), "äö");
        assert_eq!(clipped("a\u{1b}[0m\nb", 9), "a[0m\nb");
    }
}
