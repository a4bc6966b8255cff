//! Home timelines in this process: for one node that runs everything. What a restart loses is
//! rebuilt on demand, as with Redis.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_model::Clock;

use crate::{List, Marker, TRIM_ABOVE, TRIM_TO, TTL, TimelineError, Timelines, new_nonce};

/// How many lists are kept; the least recently used goes first and is rebuilt when its owner
/// comes back. 10,000 lists of 800 ids are 64 MB: affordable beside everything else on one
/// machine, and more active people than one process serves.
pub const DEFAULT_MAX_LISTS: usize = 10_000;

/// One list.
struct Entry {
    marker: Marker,
    ids: Vec<i64>,
    /// Highest id cut away during a rebuild, whose marker has no place for a floor.
    cut: i64,
    /// Unix milliseconds.
    expires: i64,
    /// Place in the order of use.
    used: u64,
}

#[derive(Default)]
struct Lists {
    by_account: HashMap<i64, Entry>,
    /// Order of use: counter to account, smallest is the least recent.
    by_use: BTreeMap<u64, i64>,
    counter: u64,
}

/// The in-process backend.
pub struct MemoryTimelines {
    lists: Mutex<Lists>,
    max_lists: usize,
    clock: Clock,
    run: String,
}

impl MemoryTimelines {
    /// At most `max_lists` lists.
    pub fn new(max_lists: usize, clock: Clock) -> Self {
        Self {
            lists: Mutex::default(),
            max_lists: max_lists.max(1),
            clock,
            run: new_nonce(),
        }
    }

    /// How many lists there are, for metrics and `tidegate bounds`.
    pub fn len(&self) -> usize {
        self.lock().by_account.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_millis(&self) -> i64 {
        (self.clock.now().unix_timestamp_nanos() / 1_000_000) as i64
    }

    fn expiry(&self) -> i64 {
        self.now_millis() + TTL.as_millis() as i64
    }
}

impl Lists {
    /// The entry, unless it is absent or expired.
    fn get(&mut self, account: i64, now: i64) -> Option<&mut Entry> {
        if self.by_account.get(&account)?.expires <= now {
            self.remove(account);
        }
        self.by_account.get_mut(&account)
    }

    fn remove(&mut self, account: i64) {
        if let Some(entry) = self.by_account.remove(&account) {
            self.by_use.remove(&entry.used);
        }
    }

    /// Makes it the most recently used. Only readers and rebuilders count as use: appends to a
    /// list that nobody reads must not keep it.
    fn used(&mut self, account: i64) {
        if let Some(entry) = self.by_account.get_mut(&account) {
            self.counter += 1;
            self.by_use.remove(&entry.used);
            entry.used = self.counter;
            self.by_use.insert(self.counter, account);
        }
    }

    fn evict_above(&mut self, max: usize) {
        while self.by_account.len() > max {
            match self.by_use.pop_first() {
                Some((_, account)) => self.by_account.remove(&account),
                None => return,
            };
        }
    }
}

impl Entry {
    /// Cuts the list to its newest [`TRIM_TO`] appends; whatever was cut raises the floor.
    fn trim(&mut self) {
        if self.ids.len() <= TRIM_ABOVE {
            return;
        }
        let surplus = self.ids.len() - TRIM_TO;
        let highest = self.ids.drain(..surplus).max().unwrap_or(0);
        match &mut self.marker {
            Marker::Complete { floor, .. } => *floor = (*floor).max(highest),
            Marker::Building { .. } => self.cut = self.cut.max(highest),
        }
    }
}

#[async_trait]
impl Timelines for MemoryTimelines {
    async fn append(&self, accounts: &[i64], status_id: i64) -> Result<(), TimelineError> {
        let now = self.now_millis();
        let mut lists = self.lock();
        for account in accounts {
            if let Some(entry) = lists.get(*account, now) {
                entry.ids.push(status_id);
                entry.trim();
            }
        }
        Ok(())
    }

    async fn read(&self, account: i64) -> Result<List, TimelineError> {
        let now = self.now_millis();
        let mut lists = self.lock();
        lists.used(account);
        Ok(match lists.get(account, now) {
            None => List::Absent,
            Some(entry) => match &entry.marker {
                Marker::Building { deadline, .. } if *deadline * 1000 <= now => List::Absent,
                Marker::Building { .. } => List::Building,
                Marker::Complete { floor, .. } => List::Complete {
                    floor: *floor,
                    ids: entry.ids.clone(),
                },
            },
        })
    }

    async fn begin(
        &self,
        account: i64,
        time_limit: Duration,
    ) -> Result<Option<String>, TimelineError> {
        let now = self.now_millis();
        let expires = self.expiry();
        let mut lists = self.lock();
        if let Some(entry) = lists.get(account, now)
            && let Marker::Building { deadline, .. } = entry.marker
            && deadline * 1000 > now
        {
            return Ok(None);
        }
        lists.remove(account);
        let nonce = new_nonce();
        lists.by_account.insert(
            account,
            Entry {
                marker: Marker::Building {
                    nonce: nonce.clone(),
                    deadline: crate::deadline_after(now, time_limit),
                },
                ids: Vec::new(),
                cut: 0,
                expires,
                used: 0,
            },
        );
        lists.used(account);
        lists.evict_above(self.max_lists);
        Ok(Some(nonce))
    }

    async fn finish(
        &self,
        account: i64,
        nonce: &str,
        floor: i64,
        ids: &[i64],
    ) -> Result<bool, TimelineError> {
        let now = self.now_millis();
        let expires = self.expiry();
        let run = self.run.clone();
        let mut lists = self.lock();
        let Some(entry) = lists.get(account, now) else {
            return Ok(false);
        };
        match &entry.marker {
            Marker::Building { nonce: held, .. } if held == nonce => {}
            _ => return Ok(false),
        }
        let meanwhile = std::mem::take(&mut entry.ids);
        entry.marker = Marker::Complete {
            floor: floor.max(entry.cut),
            run,
        };
        // A cut drops the front: that must be the oldest.
        entry.ids = ids.to_vec();
        entry.ids.sort_unstable();
        entry.ids.extend(meanwhile);
        entry.expires = expires;
        entry.trim();
        Ok(true)
    }

    async fn remove(&self, accounts: &[i64]) -> Result<(), TimelineError> {
        let mut lists = self.lock();
        for account in accounts {
            lists.remove(*account);
        }
        Ok(())
    }

    async fn touch(&self, account: i64) -> Result<(), TimelineError> {
        let now = self.now_millis();
        let expires = self.expiry();
        let mut lists = self.lock();
        if let Some(entry) = lists.get(account, now) {
            entry.expires = expires;
        }
        lists.used(account);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::ManualClock;
    use time::OffsetDateTime;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn complete(timelines: &MemoryTimelines, account: i64) {
        let nonce = timelines.begin(account, LIMIT).await.expect("answers");
        let nonce = nonce.expect("nobody else builds");
        assert!(
            timelines
                .finish(account, &nonce, 0, &[1])
                .await
                .expect("answers")
        );
    }

    #[tokio::test]
    async fn the_least_recently_read_list_goes_first() {
        let timelines = MemoryTimelines::new(2, Clock::system());
        complete(&timelines, 1).await;
        complete(&timelines, 2).await;
        timelines.read(1).await.expect("answers");
        // An append is not a use.
        timelines.append(&[2], 9).await.expect("answers");
        complete(&timelines, 3).await;
        assert_eq!(timelines.len(), 2);
        assert_eq!(timelines.read(2).await.expect("answers"), List::Absent);
        assert_ne!(timelines.read(1).await.expect("answers"), List::Absent);
    }

    #[tokio::test]
    async fn a_list_expires_unless_its_owner_comes() {
        let hands = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
        let timelines = MemoryTimelines::new(10, hands.clock());
        complete(&timelines, 1).await;
        complete(&timelines, 2).await;
        hands.advance(time::Duration::days(6));
        timelines.touch(1).await.expect("answers");
        hands.advance(time::Duration::days(2));
        assert_ne!(timelines.read(1).await.expect("answers"), List::Absent);
        assert_eq!(timelines.read(2).await.expect("answers"), List::Absent);
        assert_eq!(timelines.len(), 1);
    }
}
