//! What travels through the queue: ids of what the database holds, never keys. Two messages carry
//! more, because nothing else holds it yet: an activity from elsewhere its body, and a mail its
//! address and text, a one-time link included (`SECURITY.md`).
//!
//! A message is a hint to look at the database; every effect has a unique key there, so a
//! repeat does nothing (`docs/effects.md`).

use crate::Lane;
use serde::{Deserialize, Serialize};

/// How many followers one message of local fan-out covers: large enough that a message costs
/// nothing beside its appends (about 1 us each), small enough that no post holds a worker for
/// more than a few milliseconds (design section 5.4).
pub const FANOUT_RANGE_FOLLOWERS: i64 = 5_000;

/// One message. Fields may be added with a default; a variant is never changed in meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// Put a status into its local audience's home timelines and make its notifications.
    FanoutStatus {
        /// The status, or the reblog's own row.
        status_id: i64,
    },
    /// One range of the local followers of a status with more than one range.
    FanoutRange {
        /// The status.
        status_id: i64,
        /// Follower account ids from here on, inclusive.
        start: i64,
        /// Follower account ids up to here, inclusive.
        end: i64,
    },
    /// Expand an activity's audience into `deliveries` rows.
    Plan {
        /// The activity.
        activity_id: i64,
    },
    /// Send one activity to up to 100 inboxes of one shard.
    Deliver {
        /// The activity.
        activity_id: i64,
        /// The shard of all the inboxes' hosts.
        shard: u32,
        /// Rows of `inboxes`.
        inbox_ids: Vec<i64>,
    },
    /// An activity from elsewhere whose signature was verified.
    Inbound {
        /// The remote actor that signed it.
        account_id: i64,
        /// The raw body.
        body: String,
        /// When it came first, in Unix seconds; 0 when a build wrote it that did not tell.
        #[serde(default)]
        received_at: i64,
    },
    /// An activity from elsewhere whose key must be fetched first.
    Unverified {
        /// The row of `unverified_activities`.
        id: i64,
    },
    /// A mail to send.
    Mail(Mail),
}

/// A mail as the queue carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The unique key that absorbs a repeat, for example `confirm:<user id>:<token hash>`.
    pub dedupe_key: String,
    /// The address.
    pub to: String,
    /// The subject line.
    pub subject: String,
    /// The body as plain text.
    pub text: String,
}

/// The names of all queues of one instance, under its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    prefix: String,
    shards: u32,
}

impl Queues {
    /// Names under `prefix` (for example `tidegate`), with `shards` delivery shards.
    pub fn new(prefix: impl Into<String>, shards: u32) -> Self {
        Self {
            prefix: prefix.into(),
            shards: shards.max(1),
        }
    }

    /// How many delivery shards there are.
    pub const fn shards(&self) -> u32 {
        self.shards
    }

    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Local fan-out of posts with one range, and the splitting of the others.
    pub fn fanout(&self) -> String {
        self.name("fanout.small")
    }

    /// The ranges of posts with many followers, apart so that small posts overtake them.
    pub fn fanout_ranges(&self) -> String {
        self.name("fanout.ranges")
    }

    /// Planning of remote deliveries.
    pub fn plan(&self) -> String {
        self.name("plan")
    }

    /// Activities from elsewhere.
    pub fn inbound(&self) -> String {
        self.name("inbound")
    }

    /// Mails.
    pub fn mail(&self) -> String {
        self.name("mail")
    }

    /// One lane of one delivery shard.
    pub fn deliver(&self, lane: Lane, shard: u32) -> String {
        self.name(&format!("deliver.{}.{shard}", lane.as_str()))
    }

    /// Deliveries that came back too often: every delivery process takes one at a time.
    pub fn suspect(&self) -> String {
        self.name("deliver.suspect")
    }

    /// The queue that a message belongs in; `lane` matters to deliveries only.
    pub fn of(&self, message: &Message, lane: Lane) -> String {
        match message {
            Message::FanoutStatus { .. } => self.fanout(),
            Message::FanoutRange { .. } => self.fanout_ranges(),
            Message::Plan { .. } => self.plan(),
            Message::Deliver { shard, .. } => self.deliver(lane, *shard),
            Message::Inbound { .. } | Message::Unverified { .. } => self.inbound(),
            Message::Mail(_) => self.mail(),
        }
    }

    /// What the fanout role consumes.
    pub fn for_fanout(&self) -> Vec<String> {
        vec![
            self.fanout(),
            self.fanout_ranges(),
            self.plan(),
            self.inbound(),
            self.mail(),
        ]
    }

    /// What the delivery role consumes: every lane of every shard, and what is suspect.
    pub fn for_delivery(&self) -> Vec<String> {
        Lane::ALL
            .into_iter()
            .flat_map(|lane| (0..self.shards).map(move |shard| (lane, shard)))
            .map(|(lane, shard)| self.deliver(lane, shard))
            .chain([self.suspect()])
            .collect()
    }

    /// Every queue.
    pub fn all(&self) -> Vec<String> {
        let mut names = self.for_fanout();
        names.extend(self.for_delivery());
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_as_written() {
        let message = Message::Deliver {
            activity_id: 7,
            shard: 3,
            inbox_ids: vec![1, 2],
        };
        let text = serde_json::to_string(&message).expect("serialises");
        assert_eq!(
            text,
            r#"{"type":"deliver","activity_id":7,"shard":3,"inbox_ids":[1,2]}"#
        );
        assert_eq!(
            serde_json::from_str::<Message>(&text).expect("reads"),
            message
        );
    }

    #[test]
    fn every_queue_has_one_name() {
        let all = Queues::new("t", 4).all();
        assert_eq!(all.len(), 5 + 3 * 4 + 1);
        let unique: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }
}
