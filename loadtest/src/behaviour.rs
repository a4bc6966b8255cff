//! What a simulated host does to those who call on it. A script is a list of steps, each for a
//! number of requests; after the last one the host is well again.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::signature::Scheme;

/// One way to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// As a healthy host does.
    Ok,
    /// Only this status, with an empty body; the request has no effect.
    Status {
        /// The status code.
        code: u16,
    },
    /// 429 with `Retry-After`.
    TooManyRequests {
        /// Value of the header, in seconds or as a date, as it stands.
        retry_after: String,
    },
    /// 503 with `Retry-After`.
    Busy {
        /// Value of the header, in seconds or as a date, as it stands.
        retry_after: String,
    },
    /// Takes the request and is silent, then closes.
    Hang {
        /// For how long, in milliseconds.
        millis: u64,
    },
    /// The healthy answer one byte at a time, padded so that it does not end soon.
    Trickle {
        /// Pause between two bytes, in milliseconds.
        interval_millis: u64,
        /// How many bytes there are.
        bytes: u64,
    },
    /// Resets the connection (TCP RST) without an answer; the request has no effect.
    Reset,
    /// Takes the request with all its effects, then resets the connection: the sender cannot
    /// know, and has to send again.
    LoseAnswer,
    /// Redirects.
    Redirect {
        /// Status code, 301 to 308.
        code: u16,
        /// Value of `Location`.
        to: String,
    },
    /// A body of this size in spaces, with 200.
    HugeBody {
        /// How many bytes.
        bytes: u64,
    },
    /// A small compressed body that grows to this size, with 200.
    GzipBomb {
        /// Size after decompression, in bytes; at most 1 GiB.
        bytes: u64,
    },
    /// The right document under another content type.
    ContentType {
        /// The content type.
        value: String,
    },
    /// The right document with other values at its top level: wrong id, foreign inbox, an
    /// inbox at a private address ...
    Overwrite {
        /// Field name to value.
        fields: BTreeMap<String, serde_json::Value>,
    },
}

impl Fault {
    /// An actor or note document that claims another id.
    pub fn wrong_id(id: &str) -> Self {
        Self::Overwrite {
            fields: BTreeMap::from([("id".to_owned(), id.into())]),
        }
    }

    /// An actor document whose every address is inside a private network.
    pub fn private_addresses(authority: &str) -> Self {
        let base = format!("http://{authority}");
        let fields = BTreeMap::from([
            ("inbox".to_owned(), format!("{base}/inbox").into()),
            ("outbox".to_owned(), format!("{base}/outbox").into()),
            ("followers".to_owned(), format!("{base}/followers").into()),
            (
                "endpoints".to_owned(),
                serde_json::json!({ "sharedInbox": format!("{base}/shared") }),
            ),
            (
                "icon".to_owned(),
                serde_json::json!({ "type": "Image", "url": format!("{base}/icon.png") }),
            ),
        ]);
        Self::Overwrite { fields }
    }

    /// Whether a request that meets this fault still takes effect.
    pub(crate) fn takes_effect(&self) -> bool {
        !matches!(
            self,
            Self::Status { .. }
                | Self::TooManyRequests { .. }
                | Self::Busy { .. }
                | Self::Hang { .. }
                | Self::Reset
                | Self::Redirect { .. }
        )
    }
}

/// A fault for a number of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What happens.
    pub fault: Fault,
    /// To how many requests; `None` for all that come.
    #[serde(default)]
    pub times: Option<u64>,
}

/// Steps one after the other; when all are done, or there are none, [`Fault::Ok`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Script(pub Vec<Step>);

impl Script {
    /// The same for every request.
    pub fn always(fault: Fault) -> Self {
        Self(vec![Step { fault, times: None }])
    }

    /// `fault` for the first `times` requests, healthy from then on.
    pub fn first(times: u64, fault: Fault) -> Self {
        Self(vec![Step {
            fault,
            times: Some(times),
        }])
    }

    /// Then, after the steps so far, `fault` for ever.
    #[must_use]
    pub fn then(mut self, fault: Fault) -> Self {
        self.0.push(Step { fault, times: None });
        self
    }

    /// What happens to request `index` (from 0).
    pub fn at(&self, mut index: u64) -> &Fault {
        for step in &self.0 {
            match step.times {
                Some(times) if index >= times => index -= times,
                _ => return &step.fault,
            }
        }
        &Fault::Ok
    }
}

/// What a host thinks of signatures on deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignaturePolicy {
    /// 401 for everything that does not verify.
    #[default]
    Require,
    /// Takes everything and writes the verdict down.
    RecordOnly,
    /// As `Require` for one request in so many, and takes the others unchecked: a check costs as
    /// much as half a delivery, and measurements run on the machine that sends.
    Sample {
        /// One in how many; 0 checks none.
        one_in: u64,
    },
}

/// All habits of a host. The default is a healthy one that verifies signatures, takes both
/// schemes, signs with draft-cavage and accepts follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostBehaviour {
    /// Time before every answer, in milliseconds.
    pub latency_millis: u64,
    /// How far that time strays, either way, in milliseconds.
    pub jitter_millis: u64,
    /// One delivery in so many meets a TCP reset, and every second of these took effect before;
    /// 0: none.
    pub resets_one_in: u64,
    /// Bytes a second in each direction of a connection, in small pieces, from when the host's
    /// name is known on.
    pub bytes_per_second: Option<u32>,
    /// What happens to POSTs to inboxes.
    pub inbox: Script,
    /// What happens to GETs: actors, notes, WebFinger, NodeInfo.
    pub documents: Script,
    /// What it thinks of signatures on deliveries.
    pub signatures: SignaturePolicy,
    /// Deliveries a second that it takes, evenly spread; more are answered with 429.
    pub takes_per_second: Option<f64>,
    /// Whether its 429 says when to come again.
    pub says_retry_after: bool,
    /// The only scheme it knows: a signature in the other one is answered with 401.
    pub only_scheme: Option<Scheme>,
    /// 401 for unsigned GETs of anything but the instance actor ("authorized fetch").
    pub signed_fetch: bool,
    /// The scheme of its own requests.
    pub signs_with: Scheme,
    /// Repeats an own request in the other scheme after 400 or 401.
    pub second_try: bool,
    /// Accepts follows by itself.
    pub auto_accept: bool,
}

impl Default for HostBehaviour {
    fn default() -> Self {
        Self {
            latency_millis: 0,
            jitter_millis: 0,
            resets_one_in: 0,
            bytes_per_second: None,
            inbox: Script::default(),
            documents: Script::default(),
            signatures: SignaturePolicy::Require,
            takes_per_second: None,
            says_retry_after: false,
            only_scheme: None,
            signed_fetch: false,
            signs_with: Scheme::Cavage,
            second_try: false,
            auto_accept: true,
        }
    }
}

impl HostBehaviour {
    /// A healthy host that takes its time.
    pub fn slow(latency: Duration) -> Self {
        Self {
            latency_millis: latency.as_millis() as u64,
            ..Self::default()
        }
    }

    /// A host whose inboxes follow a script.
    pub fn inbox(script: Script) -> Self {
        Self {
            inbox: script,
            ..Self::default()
        }
    }

    /// A host whose documents follow a script.
    pub fn documents(script: Script) -> Self {
        Self {
            documents: script,
            ..Self::default()
        }
    }

    /// Takes `accepted` deliveries, then says 410 for ever.
    pub fn accept_then_gone(accepted: u64) -> Self {
        Self::inbox(Script::first(accepted, Fault::Ok).then(Fault::Status { code: 410 }))
    }
}

/// A behaviour in force, with the position in its scripts.
#[derive(Debug, Default)]
pub(crate) struct ActiveBehaviour {
    pub(crate) habits: HostBehaviour,
    requests: AtomicU64,
    inbox_requests: AtomicU64,
    document_requests: AtomicU64,
    pace: Mutex<Option<Pace>>,
}

/// What is left of a host's pace.
#[derive(Debug)]
struct Pace {
    tokens: f64,
    at: Instant,
}

impl ActiveBehaviour {
    pub(crate) fn new(habits: HostBehaviour) -> Self {
        Self {
            habits,
            ..Self::default()
        }
    }

    /// The time before the next answer. Spread evenly and the same in every run: multiples of
    /// the golden ratio.
    pub(crate) fn next_latency(&self) -> Duration {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let (latency, jitter) = (self.habits.latency_millis, self.habits.jitter_millis);
        if jitter == 0 {
            return Duration::from_millis(latency);
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let stray = (number.wrapping_mul(GOLDEN) >> 32) % (2 * jitter + 1);
        Duration::from_millis((latency + stray).saturating_sub(jitter))
    }

    /// The fault of the next delivery.
    pub(crate) fn next_inbox(&self) -> Fault {
        if !self.is_within_pace() {
            return if self.habits.says_retry_after {
                Fault::TooManyRequests {
                    retry_after: "1".to_owned(),
                }
            } else {
                Fault::Status { code: 429 }
            };
        }
        let number = self.inbox_requests.fetch_add(1, Ordering::Relaxed);
        let every = self.habits.resets_one_in;
        if every > 0 && number % every == every - 1 {
            return if (number / every).is_multiple_of(2) {
                Fault::Reset
            } else {
                Fault::LoseAnswer
            };
        }
        self.habits.inbox.at(number).clone()
    }

    /// A token bucket of one second's worth.
    fn is_within_pace(&self) -> bool {
        let Some(per_second) = self.habits.takes_per_second else {
            return true;
        };
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let full = per_second.max(1.0);
        let pace = pace.get_or_insert(Pace {
            tokens: full,
            at: now,
        });
        let grown = (now - pace.at).as_secs_f64() * per_second;
        pace.tokens = (pace.tokens + grown).min(full);
        pace.at = now;
        if pace.tokens < 1.0 {
            return false;
        }
        pace.tokens -= 1.0;
        true
    }

    /// Whether the signature of the next delivery is checked.
    pub(crate) fn checks_next(&self) -> bool {
        match self.habits.signatures {
            SignaturePolicy::Sample { one_in } => {
                let number = self.inbox_requests.load(Ordering::Relaxed);
                one_in > 0 && number.is_multiple_of(one_in)
            }
            SignaturePolicy::Require | SignaturePolicy::RecordOnly => true,
        }
    }

    /// The fault of the next GET.
    pub(crate) fn next_document(&self) -> Fault {
        self.habits
            .documents
            .at(self.document_requests.fetch_add(1, Ordering::Relaxed))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_runs_its_steps_and_ends_healthy() {
        let script = Script::first(2, Fault::Reset);
        assert_eq!(script.at(0), &Fault::Reset);
        assert_eq!(script.at(1), &Fault::Reset);
        assert_eq!(script.at(2), &Fault::Ok);
        assert_eq!(Script::default().at(0), &Fault::Ok);
    }

    #[test]
    fn accept_then_gone_counts_from_when_it_was_set() {
        let active = ActiveBehaviour::new(HostBehaviour::accept_then_gone(1));
        assert_eq!(active.next_inbox(), Fault::Ok);
        assert_eq!(active.next_inbox(), Fault::Status { code: 410 });
        assert_eq!(active.next_document(), Fault::Ok);
        assert_eq!(active.next_inbox(), Fault::Status { code: 410 });
    }

    #[test]
    fn a_host_with_a_pace_refuses_what_comes_too_fast() {
        let active = ActiveBehaviour::new(HostBehaviour {
            takes_per_second: Some(5.0),
            says_retry_after: true,
            ..HostBehaviour::default()
        });
        let taken = (0..100)
            .filter(|_| active.next_inbox() == Fault::Ok)
            .count();
        // A second's worth at once, and what grows back meanwhile.
        assert!((5..=10).contains(&taken), "{taken}");
    }

    #[test]
    fn one_in_so_many_is_reset_before_or_after_its_effect() {
        let active = ActiveBehaviour::new(HostBehaviour {
            resets_one_in: 100,
            ..HostBehaviour::default()
        });
        let faults: Vec<Fault> = (0..400).map(|_| active.next_inbox()).collect();
        let count = |wanted: &Fault| faults.iter().filter(|fault| *fault == wanted).count();
        assert_eq!(
            (
                count(&Fault::Ok),
                count(&Fault::Reset),
                count(&Fault::LoseAnswer)
            ),
            (396, 2, 2)
        );
    }

    #[test]
    fn latency_strays_evenly_and_no_further_than_said() {
        let active = ActiveBehaviour::new(HostBehaviour {
            latency_millis: 50,
            jitter_millis: 20,
            ..HostBehaviour::default()
        });
        let millis: Vec<u128> = (0..1_000)
            .map(|_| active.next_latency().as_millis())
            .collect();
        assert_eq!(millis.iter().min(), Some(&30));
        assert_eq!(millis.iter().max(), Some(&70));
        let mean = millis.iter().sum::<u128>() / 1_000;
        assert!((49..=51).contains(&mean), "{mean}");
    }

    #[test]
    fn a_sample_is_checked_and_the_rest_is_not() {
        let sample = |one_in| {
            let active = ActiveBehaviour::new(HostBehaviour {
                signatures: SignaturePolicy::Sample { one_in },
                ..HostBehaviour::default()
            });
            let checked = (0..100).filter(|_| {
                let checked = active.checks_next();
                active.next_inbox();
                checked
            });
            checked.count()
        };
        assert_eq!((sample(0), sample(1), sample(10)), (0, 100, 10));
    }

    #[test]
    fn a_behaviour_is_read_from_json_with_defaults_and_typing_errors_are_refused() {
        let text = r#"{"inbox":[{"fault":{"kind":"status","code":503},"times":3}]}"#;
        let habits: HostBehaviour = serde_json::from_str(text).expect("reads");
        assert_eq!(habits.inbox, Script::first(3, Fault::Status { code: 503 }));
        assert!(habits.auto_accept);
        assert!(serde_json::from_str::<HostBehaviour>(r#"{"latency":3}"#).is_err());
    }
}
