//! Bytes to JSON, within bounds.

use super::{ParseError, shape};
use serde_json::{Map, Value};

/// The largest document, after decompression: what Mastodon takes, too.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// The deepest nesting; real documents stay below ten.
pub const MAX_DEPTH: usize = 32;

/// JSON-LD keywords that move properties between objects (five advisories in 2026).
const FORBIDDEN_KEYS: [&str; 3] = ["@graph", "@included", "@reverse"];

/// A JSON object from elsewhere, within bounds. A key given twice counts with its last value,
/// for every reader alike, since everything reads this one tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Document(Map<String, Value>);

impl Document {
    /// Reads bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(ParseError::TooLarge);
        }
        // Before the parser, which is recursive.
        if depth(bytes) > MAX_DEPTH {
            return Err(ParseError::TooDeep);
        }
        let value = serde_json::from_slice(bytes).map_err(|_| ParseError::Malformed("not JSON"))?;
        if has_forbidden_key(&value) {
            return Err(ParseError::Malformed("a forbidden keyword"));
        }
        if has_nul(&value) {
            return Err(ParseError::Malformed("a NUL character"));
        }
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(ParseError::Malformed("not an object")),
        }
    }

    /// A part of a document that was read.
    pub(super) fn of(value: &Value) -> Option<Self> {
        value.as_object().cloned().map(Self)
    }

    pub(super) fn get(&self, key: &str) -> &Value {
        self.0.get(key).unwrap_or(&Value::Null)
    }

    /// Its `id`, if it is one that can be looked up.
    pub fn id(&self) -> Option<&str> {
        shape::id(self.get("id"))
    }

    /// Its types; usually one.
    pub(super) fn types(&self) -> impl Iterator<Item = &str> {
        shape::each(self.get("type")).filter_map(Value::as_str)
    }

    /// Whether it is of this type.
    pub fn is(&self, kind: &str) -> bool {
        self.types().any(|one| one == kind)
    }
}

/// How deep brackets nest outside strings, in one pass. Of broken JSON it says something, and
/// the parser then says no.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn has_forbidden_key(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| FORBIDDEN_KEYS.contains(&key.as_str()) || has_forbidden_key(value)),
        Value::Array(items) => items.iter().any(has_forbidden_key),
        _ => false,
    }
}

/// Whether any text in it holds U+0000, which no text of the database can (E7).
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Array(items) => items.iter().any(has_nul),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn size_and_depth_are_bounded() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_DOCUMENT_BYTES));
        assert_eq!(Document::parse(long.as_bytes()), Err(ParseError::TooLarge));
        let nested = |depth: usize| {
            format!(
                "{}\"a\":1{}",
                "{\"a\":".repeat(depth - 1) + "{",
                "}".repeat(depth)
            )
        };
        assert!(Document::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            Document::parse(nested(MAX_DEPTH + 1).as_bytes()),
            Err(ParseError::TooDeep)
        );
        let bomb = "[".repeat(500_000);
        assert_eq!(Document::parse(bomb.as_bytes()), Err(ParseError::TooDeep));
    }

    #[test]
    fn brackets_in_strings_are_text() {
        let text = format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(100));
        assert!(Document::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn keywords_that_rearrange_are_refused_anywhere() {
        for text in [
            r#"{"@graph":[]}"#,
            r#"{"a":{"@included":1}}"#,
            r#"{"a":[{"b":{"@reverse":{}}}]}"#,
            r#"{"@context":{"x":{"@reverse":"y"}}}"#,
            r#"{"\u0040graph":[]}"#,
        ] {
            assert!(
                matches!(
                    Document::parse(text.as_bytes()),
                    Err(ParseError::Malformed(_))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn the_last_of_two_keys_counts() {
        let document = Document::parse(br#"{"id":"https://a.test/1","id":"https://a.test/2"}"#)
            .expect("a document");
        assert_eq!(document.id(), Some("https://a.test/2"));
    }

    #[test]
    fn no_text_holds_a_nul() {
        for text in [
            r#"{"id":"https://a.test/\u0000"}"#,
            r#"{"tag":[{"name":"a\u0000b"}]}"#,
            r#"{"a\u0000":1}"#,
        ] {
            let refused = Document::parse(text.as_bytes());
            assert_eq!(refused, Err(ParseError::Malformed("a NUL character")));
        }
        let spelt_out = br#"{"content":"\\u0000 is how it is written"}"#;
        assert!(Document::parse(spelt_out).is_ok());
    }

    #[test]
    fn only_objects_are_documents() {
        for text in ["", "[]", "1", "null", "{", "\"x\"", "{}{}", "\u{feff}{}"] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::parse(&bytes);
        }
    }
}
