//! How a message is written down, the same on every backend:
//! `{"v":1,"published_at":<unix milliseconds>,"message":{...}}`.
//!
//! What cannot be read is never retried, because it will not become readable: backends move it
//! to the dead messages on first sight.

use serde::{Deserialize, Serialize};
use tidegate_model::Message;

use crate::{QueueError, age};

/// The version that this build writes, and the only one that it reads. A message whose meaning
/// changes gets a new number, so that an old worker buries it instead of misreading it.
pub const VERSION: u32 = 1;

/// The largest message that any backend takes, in bytes as written. The largest real one is a
/// foreign activity (1 MiB at the inbox, at most a few times that when every character needs an
/// escape); RabbitMQ 4 refuses above 16 MiB, and refusing here keeps both backends alike.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

#[derive(Serialize)]
struct Out<'a> {
    v: u32,
    published_at: u64,
    message: &'a Message,
}

#[derive(Deserialize)]
struct In {
    v: u32,
    /// Absent in what older builds wrote.
    #[serde(default)]
    published_at: Option<u64>,
    message: serde_json::Value,
}

/// Why a stored message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not an envelope, or not a message inside it.
    #[error("malformed message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a build that is newer or much older than this one.
    #[error("message version {0} is not known to this build (it reads {VERSION})")]
    Version(u32),
}

/// The stored form of a message. Refuses what no backend could hold.
pub fn encode(message: &Message) -> Result<String, QueueError> {
    let text = serde_json::to_string(&Out {
        v: VERSION,
        published_at: age::now_millis(),
        message,
    })
    .map_err(|error| QueueError::Refused(format!("the message cannot be written: {error}")))?;
    if text.len() > MAX_BYTES {
        return Err(QueueError::Refused(format!(
            "the message has {} bytes, more than the {MAX_BYTES} that a queue takes",
            text.len()
        )));
    }
    if holds_nul(&text) {
        return Err(QueueError::Refused(
            "the message holds a NUL character, which no table can store".to_owned(),
        ));
    }
    Ok(text)
}

/// Reads what [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<Message, Unreadable> {
    decode_with_time(bytes).map(|(message, _)| message)
}

/// The same with the time of publishing in unix milliseconds, where it is written.
pub(crate) fn decode_with_time(bytes: &[u8]) -> Result<(Message, Option<u64>), Unreadable> {
    let envelope: In = serde_json::from_slice(bytes)?;
    if envelope.v != VERSION {
        return Err(Unreadable::Version(envelope.v));
    }
    let message = serde_json::from_value(envelope.message)?;
    Ok((message, envelope.published_at))
}

/// Whether JSON text has an escaped NUL: `\u0000` behind an even number of backslashes. An odd
/// number before it means that the text spells the six characters, which is harmless.
pub(crate) fn holds_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let before = json.as_bytes()[..at].iter().rev();
        before.take_while(|byte| **byte == b'\\').count() % 2 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbound(body: &str) -> Message {
        Message::Inbound {
            account_id: 1,
            body: body.to_owned(),
            received_at: 0,
        }
    }

    #[test]
    fn a_message_reads_back_as_written() {
        let message = Message::Plan { activity_id: 7 };
        let text = encode(&message).expect("encodes");
        assert!(text.starts_with(r#"{"v":1,"published_at":1"#), "{text}");
        assert!(
            text.ends_with(r#","message":{"type":"plan","activity_id":7}}"#),
            "{text}"
        );
        assert_eq!(decode(text.as_bytes()).expect("decodes"), message);
    }

    #[test]
    fn an_unknown_version_or_shape_is_unreadable() {
        let newer = br#"{"v":2,"message":{"type":"plan","activity_id":7}}"#;
        assert!(matches!(decode(newer), Err(Unreadable::Version(2))));
        for text in ["", "{}", "[1]", r#"{"v":1,"message":{"type":"nonsense"}}"#] {
            assert!(
                matches!(decode(text.as_bytes()), Err(Unreadable::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_nul_is_refused_and_its_spelling_is_not() {
        assert!(encode(&inbound("a\0b")).is_err());
        assert!(encode(&inbound("\\\0")).is_err());
        assert!(encode(&inbound(r#"{"a":"\u0000"}"#)).is_ok());
    }

    #[test]
    fn an_oversized_message_is_refused() {
        assert!(matches!(
            encode(&inbound(&"x".repeat(MAX_BYTES))),
            Err(QueueError::Refused(_))
        ));
    }
}
