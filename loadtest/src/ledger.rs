//! The ledger of everything that arrived. Whole requests are kept up to a bound and then
//! forgotten, oldest first; which activity reached which inbox how often is kept for ever,
//! because that is what tests compare.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Notify;

use crate::signature::verdict::Verdict;

/// What of an activity is worth knowing without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActivityHead {
    /// Its id; activities without one get the digest of their body.
    pub id: Arc<str>,
    /// Its type, for example `Create`.
    pub kind: String,
    /// Its actor.
    pub actor: String,
    /// Id of its object.
    pub object: Option<String>,
    /// Type of its object when that is inlined.
    pub object_kind: Option<String>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Running number, from 1.
    pub seq: u64,
    /// When the body was complete.
    pub at: SystemTime,
    /// Method.
    pub method: Method,
    /// Simulated host that was addressed, lower case, without port.
    pub host: Arc<str>,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; empty when it has been forgotten (see `body_bytes`).
    pub body: Bytes,
    /// Size of the body as received.
    pub body_bytes: usize,
    /// The activity, if the body is one.
    pub activity: Option<ActivityHead>,
    /// What our verifier says.
    pub verdict: Verdict,
    /// What was answered; 0 when the connection was cut or left hanging.
    pub status: u16,
    /// Whether the request took effect here: taken in, though the answer may have been lost.
    pub effect: bool,
}

impl Entry {
    /// The body as JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// A request of an activity of this type to any inbox.
    pub fn is_activity(&self, kind: &str) -> bool {
        self.activity
            .as_ref()
            .is_some_and(|activity| activity.kind == kind)
    }

    /// The entry as JSON, for the control interface and for messages of failed tests.
    pub fn to_json(&self) -> Value {
        let headers: Vec<(&str, String)> = self
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let at = self
            .at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        serde_json::json!({
            "seq": self.seq,
            "at_millis": at.as_millis() as u64,
            "method": self.method.as_str(),
            "host": &*self.host,
            "path": self.path,
            "headers": headers,
            "body": self.json().unwrap_or_else(|| String::from_utf8_lossy(&self.body).into()),
            "body_bytes": self.body_bytes,
            "activity": self.activity,
            "signature": self.verdict,
            "status": self.status,
            "effect": self.effect,
        })
    }
}

fn micros(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_micros() as u64
}

/// An inbox and an activity that came to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Arrival {
    /// Host of the inbox.
    pub host: Arc<str>,
    /// Path of the inbox.
    pub inbox: Arc<str>,
    /// Id of the activity.
    pub activity: Arc<str>,
}

/// How often it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests, whatever became of them.
    pub attempts: u32,
    /// Requests that took effect; more than 1 is a duplicate.
    pub taken: u32,
    /// Requests whose signature did not verify, unsigned ones included; those that a host did
    /// not check do not count.
    pub unverified: u32,
    /// When it was taken first, in microseconds of Unix time; 0 when it never was.
    pub first_taken_micros: u64,
}

/// Bounds of the ledger.
#[derive(Debug, Clone, Copy)]
pub struct LedgerBounds {
    /// How many whole entries are kept.
    pub entries: usize,
    /// How many bytes of bodies are kept in all.
    pub body_bytes: usize,
}

impl Default for LedgerBounds {
    /// Enough for every test, small enough for a laptop: about 100 MB when full.
    fn default() -> Self {
        Self {
            entries: 20_000,
            body_bytes: 64 << 20,
        }
    }
}

/// Everything received. Cheap to share; no lock is held across an await.
#[derive(Debug)]
pub struct Ledger {
    bounds: LedgerBounds,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    seq: u64,
    entries: VecDeque<Arc<Entry>>,
    body_bytes: usize,
    /// Number of the oldest entries at the front whose bodies are already forgotten.
    stripped: usize,
    names: HashSet<Arc<str>>,
    arrivals: HashMap<Arrival, Counts>,
    /// Arrivals that took effect at least once.
    effects: usize,
}

impl State {
    /// One copy of every name, however many arrivals carry it.
    fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new(bounds: LedgerBounds) -> Self {
        Self {
            bounds,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a request down; returns it with its number.
    pub fn record(&self, mut entry: Entry) -> Arc<Entry> {
        let mut state = self.state();
        state.seq += 1;
        entry.seq = state.seq;
        if entry.method == Method::POST
            && let Some(activity) = &mut entry.activity
        {
            activity.id = state.intern(&activity.id);
            let id = Arc::clone(&activity.id);
            let path = entry.path.split('?').next().unwrap_or_default().to_owned();
            let arrival = Arrival {
                host: state.intern(&entry.host),
                inbox: state.intern(&path),
                activity: id,
            };
            let counts = state.arrivals.entry(arrival).or_default();
            counts.attempts += 1;
            let first_effect = entry.effect && counts.taken == 0;
            if first_effect {
                counts.first_taken_micros = micros(entry.at);
            }
            counts.taken += u32::from(entry.effect);
            let unverified = matches!(entry.verdict, Verdict::Unsigned | Verdict::Invalid { .. });
            counts.unverified += u32::from(unverified);
            state.effects += usize::from(first_effect);
        }
        let entry = Arc::new(entry);
        state.body_bytes += entry.body.len();
        state.entries.push_back(Arc::clone(&entry));
        self.forget(&mut state);
        drop(state);
        self.changed.notify_waiters();
        entry
    }

    fn forget(&self, state: &mut State) {
        while state.entries.len() > self.bounds.entries {
            if let Some(old) = state.entries.pop_front() {
                state.body_bytes -= old.body.len();
                state.stripped = state.stripped.saturating_sub(1);
            }
        }
        while state.body_bytes > self.bounds.body_bytes && state.stripped < state.entries.len() {
            let index = state.stripped;
            let old = &mut state.entries[index];
            state.body_bytes -= old.body.len();
            *old = Arc::new(Entry {
                body: Bytes::new(),
                ..Entry::clone(old)
            });
            state.stripped += 1;
        }
    }

    /// The kept entries that `wanted` picks, oldest first.
    pub fn received(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let entries: Vec<_> = self.state().entries.iter().cloned().collect();
        entries.into_iter().filter(|entry| wanted(entry)).collect()
    }

    /// Kept deliveries of activities of one type, oldest first.
    pub fn activities(&self, kind: &str) -> Vec<Arc<Entry>> {
        self.received(|entry| entry.is_activity(kind))
    }

    /// Kept deliveries by activity id.
    pub fn activities_by_id(&self) -> BTreeMap<Arc<str>, Vec<Arc<Entry>>> {
        let mut grouped: BTreeMap<Arc<str>, Vec<Arc<Entry>>> = BTreeMap::new();
        for entry in self.received(|entry| entry.method == Method::POST) {
            if let Some(activity) = &entry.activity {
                grouped
                    .entry(Arc::clone(&activity.id))
                    .or_default()
                    .push(Arc::clone(&entry));
            }
        }
        grouped
    }

    /// Every (inbox, activity) that took effect: the set to compare with what was expected.
    pub fn effects(&self) -> BTreeSet<Arrival> {
        let state = self.state();
        let taken = state.arrivals.iter().filter(|(_, counts)| counts.taken > 0);
        taken.map(|(arrival, _)| arrival.clone()).collect()
    }

    /// Every (inbox, activity) that was ever tried, with its counts; nothing is forgotten here.
    pub fn arrivals(&self) -> BTreeMap<Arrival, Counts> {
        self.state()
            .arrivals
            .iter()
            .map(|(arrival, counts)| (arrival.clone(), *counts))
            .collect()
    }

    /// How often one activity came to one inbox.
    pub fn counts(&self, host: &str, inbox: &str, activity: &str) -> Counts {
        let arrival = Arrival {
            host: host.into(),
            inbox: inbox.into(),
            activity: activity.into(),
        };
        self.state()
            .arrivals
            .get(&arrival)
            .copied()
            .unwrap_or_default()
    }

    /// Number of (inbox, activity) pairs that took effect; cheap enough to poll.
    pub fn effect_count(&self) -> usize {
        self.state().effects
    }

    /// Number of requests so far.
    pub fn len(&self) -> u64 {
        self.state().seq
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything; running numbers go on.
    pub fn clear(&self) {
        let mut state = self.state();
        let seq = state.seq;
        *state = State {
            seq,
            ..State::default()
        };
    }

    /// Waits until `condition` holds, at most for `timeout`. Says whether it came true.
    pub async fn wait_until(&self, condition: impl Fn(&Self) -> bool, timeout: Duration) -> bool {
        /// So that a condition over a large ledger is not computed for each of thousands of
        /// requests a second.
        const PAUSE: Duration = Duration::from_millis(5);
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if condition(self) {
                return true;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return condition(self);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(path: &str, id: &str, effect: bool) -> Entry {
        Entry {
            seq: 0,
            at: SystemTime::now(),
            method: Method::POST,
            host: "a.test".into(),
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::from(vec![b'x'; 100]),
            body_bytes: 100,
            activity: Some(ActivityHead {
                id: id.into(),
                kind: "Create".to_owned(),
                actor: "http://t.test/users/a".to_owned(),
                object: None,
                object_kind: None,
            }),
            verdict: Verdict::Unsigned,
            status: if effect { 202 } else { 503 },
            effect,
        }
    }

    #[test]
    fn effects_are_distinct_pairs_and_duplicates_are_counted() {
        let ledger = Ledger::new(LedgerBounds::default());
        for (path, id, effect) in [
            ("/inbox", "a1", false),
            ("/inbox", "a1", true),
            ("/inbox", "a1", true),
            ("/users/x/inbox", "a1", true),
            ("/inbox", "a2", false),
        ] {
            ledger.record(delivery(path, id, effect));
        }
        assert_eq!(ledger.effect_count(), 2);
        assert_eq!(ledger.effects().len(), 2);
        let counts = ledger.counts("a.test", "/inbox", "a1");
        assert_eq!(
            (counts.attempts, counts.taken, counts.unverified),
            (3, 2, 3)
        );
        assert_eq!(ledger.counts("a.test", "/inbox", "a2").taken, 0);
        assert_eq!(ledger.activities_by_id().len(), 2);
    }

    #[test]
    fn bodies_and_entries_are_forgotten_but_ids_are_not() {
        let ledger = Ledger::new(LedgerBounds {
            entries: 5,
            body_bytes: 250,
        });
        for number in 0..10 {
            ledger.record(delivery("/inbox", &format!("a{number}"), true));
        }
        let kept = ledger.received(|_| true);
        assert_eq!(kept.len(), 5);
        assert_eq!(
            kept.iter().map(|entry| entry.body.len()).sum::<usize>(),
            200
        );
        assert!(kept[0].body.is_empty() && kept[0].body_bytes == 100);
        assert_eq!(kept[4].seq, 10);
        assert_eq!(ledger.effects().len(), 10);
    }

    #[tokio::test]
    async fn waiting_ends_when_it_is_true_or_too_late() {
        let ledger = Arc::new(Ledger::new(LedgerBounds::default()));
        let writer = Arc::clone(&ledger);
        let task = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            writer.record(delivery("/inbox", "a1", true));
        });
        let arrived = |ledger: &Ledger| ledger.effect_count() == 1;
        assert!(ledger.wait_until(arrived, Duration::from_secs(5)).await);
        task.await.expect("no panic");
        let never = |ledger: &Ledger| ledger.effect_count() == 2;
        assert!(!ledger.wait_until(never, Duration::from_millis(30)).await);
    }
}
