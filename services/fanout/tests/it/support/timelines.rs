//! The in-process timelines, with a record of every append and a switch to take them away.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_model::Clock;
use tidegate_timeline::{List, MemoryTimelines, TimelineError, Timelines};

pub(crate) struct Recording {
    inner: MemoryTimelines,
    appended: Mutex<Vec<(i64, i64)>>,
    /// Append calls until the store goes away.
    calls_left: AtomicUsize,
}

impl Recording {
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryTimelines::new(100_000, Clock::system()),
            appended: Mutex::default(),
            calls_left: AtomicUsize::new(usize::MAX),
        }
    }

    /// After so many more append calls the store is away; `usize::MAX` brings it back.
    pub(crate) fn away_after(&self, calls: usize) {
        self.calls_left.store(calls, Ordering::SeqCst);
    }

    /// Who got this status, repeats included, by account.
    pub(crate) fn readers_of(&self, status_id: i64) -> Vec<i64> {
        let appended = self.appended.lock().expect("not poisoned");
        let mut readers: Vec<i64> = appended
            .iter()
            .filter(|(_, status)| *status == status_id)
            .map(|(account, _)| *account)
            .collect();
        readers.sort_unstable();
        readers
    }

    /// Makes an empty list that appends go to.
    pub(crate) async fn open(&self, account: i64) {
        let nonce = self
            .begin(account, Duration::from_mins(1))
            .await
            .expect("answers")
            .expect("nobody else builds");
        assert!(self.finish(account, &nonce, 0, &[]).await.expect("answers"));
    }

    /// The ids in a list, each once; `None` when there is no complete list.
    pub(crate) async fn ids(&self, account: i64) -> Option<Vec<i64>> {
        match self.read(account).await.expect("answers") {
            List::Complete { mut ids, .. } => {
                ids.sort_unstable();
                ids.dedup();
                Some(ids)
            }
            _ => None,
        }
    }

    fn is_away(&self) -> bool {
        self.calls_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                usize::MAX => Some(usize::MAX),
                left => left.checked_sub(1),
            })
            .is_err()
    }
}

#[async_trait]
impl Timelines for Recording {
    async fn append(&self, accounts: &[i64], status_id: i64) -> Result<(), TimelineError> {
        if self.is_away() {
            return Err(TimelineError::Unavailable("taken away".to_owned()));
        }
        self.inner.append(accounts, status_id).await?;
        let mut appended = self.appended.lock().expect("not poisoned");
        appended.extend(accounts.iter().map(|account| (*account, status_id)));
        Ok(())
    }

    async fn read(&self, account: i64) -> Result<List, TimelineError> {
        self.inner.read(account).await
    }

    async fn begin(
        &self,
        account: i64,
        time_limit: Duration,
    ) -> Result<Option<String>, TimelineError> {
        self.inner.begin(account, time_limit).await
    }

    async fn finish(
        &self,
        account: i64,
        nonce: &str,
        floor: i64,
        ids: &[i64],
    ) -> Result<bool, TimelineError> {
        self.inner.finish(account, nonce, floor, ids).await
    }

    async fn remove(&self, accounts: &[i64]) -> Result<(), TimelineError> {
        self.inner.remove(accounts).await
    }

    async fn touch(&self, account: i64) -> Result<(), TimelineError> {
        self.inner.touch(account).await
    }
}
