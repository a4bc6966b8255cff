//! As much of an activity as must be known before its signature is checked.

use serde::Deserialize;
use serde_json::Value;
use tidegate_federation::parse::{Document, ParseError};

use crate::error::{ApiError, ApiResult};

/// The outside of an activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    kind: String,
    /// Who acts.
    pub(super) actor: String,
    /// The id of what is acted on, if it has one.
    object: Option<String>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    actor: Value,
    #[serde(default)]
    object: Value,
}

impl Envelope {
    /// Reads it: 400 for what is no activity.
    pub(super) fn read(body: &[u8]) -> ApiResult<Self> {
        // Bounds of depth and forbidden keywords hold before anything else is read.
        Document::parse(body).map_err(|error| refused(&error))?;
        let raw: Raw = serde_json::from_slice(body)
            .map_err(|_| ApiError::bad_request("The body is not an activity"))?;
        let (Some(kind), Some(actor)) = (first_text(&raw.kind), id(&raw.actor)) else {
            return Err(ApiError::bad_request(
                "The activity has no type or no actor",
            ));
        };
        Ok(Self {
            kind: kind.to_owned(),
            actor: actor.to_owned(),
            object: id(&raw.object).map(str::to_owned),
        })
    }

    /// It undoes or ends something, which even a suspended actor may.
    pub(super) fn takes_back(&self) -> bool {
        matches!(self.kind.as_str(), "Delete" | "Undo" | "Reject" | "Block")
    }

    /// An actor says that it itself is gone or changed: of somebody unknown that is no news.
    pub(super) fn is_departure(&self) -> bool {
        matches!(self.kind.as_str(), "Delete" | "Update")
            && self.object.as_ref() == Some(&self.actor)
    }
}

fn refused(error: &ParseError) -> ApiError {
    match error {
        ParseError::TooLarge => ApiError::too_large(),
        other => ApiError::bad_request(format!("The body is not an activity: {other}")),
    }
}

fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::Array(items) => items.first().and_then(Value::as_str),
        other => other.as_str(),
    }
}

/// An id as text, or that of an object. A list is taken only when it has one element: of two
/// actors nobody could say who acted.
fn id(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Object(fields) => fields.get("id").and_then(Value::as_str),
        Value::Array(items) => match items.as_slice() {
            [one] if !one.is_array() => id(one),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn departures_are_recognised_in_every_shape() {
        for body in [
            r#"{"type":"Delete","actor":"https://a.test/u","object":"https://a.test/u"}"#,
            r#"{"type":["Delete"],"actor":{"id":"https://a.test/u"},"object":{"id":"https://a.test/u"}}"#,
            r#"{"type":"Update","actor":["https://a.test/u"],"object":{"id":"https://a.test/u","type":"Person"}}"#,
        ] {
            assert!(
                Envelope::read(body.as_bytes())
                    .expect("reads")
                    .is_departure(),
                "{body}"
            );
        }
        let note = r#"{"type":"Delete","actor":"https://a.test/u","object":"https://a.test/n"}"#;
        assert!(
            !Envelope::read(note.as_bytes())
                .expect("reads")
                .is_departure()
        );
    }

    #[test]
    fn what_is_no_activity_is_refused() {
        for body in [
            "",
            "[]",
            "{}",
            "not json",
            r#"{"type":"Create"}"#,
            r#"{"type":"Create","actor":["https://a.test/u","https://b.test/u"]}"#,
            r#"{"type":"Create","actor":"https://a.test/u","@graph":[]}"#,
        ] {
            let error = Envelope::read(body.as_bytes()).expect_err("refused");
            assert_eq!(error.status().as_u16(), 400, "{body}");
        }
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(Envelope::read(deep.as_bytes()).is_err());
    }
}
