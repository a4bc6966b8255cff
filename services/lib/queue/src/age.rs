//! How old messages are when they are taken: RabbitMQ does not tell how long a message waited,
//! so the envelope carries when it was published.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidegate_model::{Clock, Message};

use crate::envelope::{self, Unreadable};

/// By queue; as many entries as this process consumes queues.
static LAST_TAKEN: Mutex<BTreeMap<String, Duration>> = Mutex::new(BTreeMap::new());

/// For each queue that this process consumes from a broker, how old the message last taken was
/// at that moment: since it was published, or published again after a longer wait for a retry.
pub fn age_of_last_taken() -> BTreeMap<String, Duration> {
    LAST_TAKEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Reads a message that was just taken from `queue`, and remembers its age.
pub(crate) fn decode_taken(queue: &str, bytes: &[u8]) -> Result<Message, Unreadable> {
    let (message, published_at) = envelope::decode_with_time(bytes)?;
    // One that an older build wrote has no time.
    if let Some(published_at) = published_at {
        let age = Duration::from_millis(now_millis().saturating_sub(published_at));
        let mut ages = LAST_TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        match ages.get_mut(queue) {
            Some(last) => *last = age,
            None => drop(ages.insert(queue.to_owned(), age)),
        }
    }
    Ok(message)
}

/// Unix milliseconds, as envelopes carry them. Replicas' clocks may differ by as much as the
/// network's time does; a gauge of seconds does not mind.
pub(crate) fn now_millis() -> u64 {
    u64::try_from(Clock::system().now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_message_is_known_when_it_is_taken() {
        let published_at = now_millis() - 90_000;
        let old = format!(
            r#"{{"v":1,"published_at":{published_at},"message":{{"type":"plan","activity_id":7}}}}"#
        );
        decode_taken("age.plan", old.as_bytes()).expect("reads");
        assert!(age_of_last_taken()["age.plan"] >= Duration::from_secs(90));
        let fresh = envelope::encode(&Message::Plan { activity_id: 8 }).expect("encodes");
        decode_taken("age.plan", fresh.as_bytes()).expect("reads");
        assert!(age_of_last_taken()["age.plan"] < Duration::from_mins(1));
        let untimed = br#"{"v":1,"message":{"type":"plan","activity_id":7}}"#;
        decode_taken("age.other", untimed).expect("reads");
        assert!(!age_of_last_taken().contains_key("age.other"));
    }
}
