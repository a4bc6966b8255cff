//! The trait that both backends implement.

use std::time::Duration;

use async_trait::async_trait;

/// Why a timeline store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// It is away or too slow; reads fall back to SQL, appends wait.
    #[error("the timeline store is not reachable: {0}")]
    Unavailable(String),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// A list as read: trusted, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List {
    /// There is none that may be trusted: absent, overdue, or from another run of the store.
    Absent,
    /// A rebuild is under way.
    Building,
    /// Every id above `floor` is in `ids`, in no order, perhaps more than once.
    Complete {
        /// Below this, and at it, SQL answers.
        floor: i64,
        /// Status ids as appended.
        ids: Vec<i64>,
    },
}

/// Home timelines. Every call is bounded in time by the backend.
#[async_trait]
pub trait Timelines: Send + Sync + 'static {
    /// Appends `status_id` to those of the accounts' lists that exist, and cuts lists that grew
    /// above [`crate::TRIM_ABOVE`]. `Ok` only when every append was answered.
    async fn append(&self, accounts: &[i64], status_id: i64) -> Result<(), TimelineError>;

    /// Reads one list.
    async fn read(&self, account: i64) -> Result<List, TimelineError>;

    /// Starts a rebuild: from now on appends are kept behind a building marker. Returns the
    /// nonce to finish with, or `None` when another rebuild that is not overdue holds the list.
    async fn begin(
        &self,
        account: i64,
        time_limit: Duration,
    ) -> Result<Option<String>, TimelineError>;

    /// Ends a rebuild: puts `ids` behind a complete marker with `floor` and keeps what was
    /// appended meanwhile. `false` when the nonce is no longer the list's: throw away.
    async fn finish(
        &self,
        account: i64,
        nonce: &str,
        floor: i64,
        ids: &[i64],
    ) -> Result<bool, TimelineError>;

    /// Deletes lists, so that they are rebuilt on the next read.
    async fn remove(&self, accounts: &[i64]) -> Result<(), TimelineError>;

    /// Renews a list's time to live.
    async fn touch(&self, account: i64) -> Result<(), TimelineError>;
}
