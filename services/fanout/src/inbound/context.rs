//! What every activity's handler needs, and how an activity ends.

use sqlx::{PgConnection, Postgres, Transaction};
use tidegate_federation::parse::ParseError;
use tidegate_model::RemoteNote;
use tidegate_store::StoreError;
use tidegate_store::accounts::Account;

use crate::FanoutDeps;
use crate::trouble::Trouble;

/// How an activity ended, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It changed something.
    Applied,
    /// It was taken in before, or says what is already so.
    Repeated,
    /// It concerns nobody here.
    Irrelevant,
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Repeated => "repeated",
            Self::Irrelevant => "irrelevant",
        }
    }
}

/// Why an activity was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// It is not its sender's to say, or names what is not there.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// The server that it lives on says that it is gone for good (410).
    #[error("it is gone for good")]
    Gone,
    /// Something that it needs from a remote server did not come this time.
    #[error("a remote server did not answer: {0}")]
    Unreachable(String),
    /// Ours.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        Self::Trouble(error.into())
    }
}

/// One activity in hand: who sent it, and its id if it has one.
pub(super) struct Inbound<'a> {
    pub(super) deps: &'a FanoutDeps,
    /// The actor that signed it.
    pub(super) actor: &'a Account,
    /// The activity's id, of the actor's own origin; some activities have none.
    pub(super) id: Option<&'a str>,
}

impl Inbound<'_> {
    /// The transaction in which the activity has its effects, or `None` when it had them before.
    /// The id is recorded in the same transaction; a copy that is handled at the same moment
    /// waits here until this one commits.
    pub(super) async fn begin(&self) -> Result<Option<Transaction<'static, Postgres>>, Halt> {
        let mut transaction = tidegate_store::begin(&self.deps.pool).await?;
        if let Some(id) = self.id
            && !see(&mut transaction, id, self.actor.id).await?
        {
            return Ok(None);
        }
        Ok(Some(transaction))
    }

    /// Commits, and tells the relay.
    pub(super) async fn commit(
        &self,
        transaction: Transaction<'static, Postgres>,
    ) -> Result<Outcome, Halt> {
        transaction.commit().await?;
        self.deps.outbox.wake();
        Ok(Outcome::Applied)
    }

    /// Whether its id was recorded before: a cheap look, so that a repeat does not fetch.
    pub(super) async fn was_seen(&self) -> Result<bool, Halt> {
        let Some(id) = self.id else { return Ok(false) };
        Ok(sqlx::query_scalar(
            "select exists (select 1 from inbound_seen where uri = $1 and account_id = $2)",
        )
        .bind(id)
        .bind(self.actor.id)
        .fetch_one(&self.deps.pool)
        .await?)
    }
}

/// Lets one post of a thread be written at a time, until the transaction ends: a reply and its
/// parent that come at the same moment would otherwise not see each other, and stay apart for
/// ever. Locks are taken in one order, so that no two posts wait for each other.
pub(super) async fn lock_thread(
    connection: &mut PgConnection,
    note: &RemoteNote,
) -> Result<(), Halt> {
    let uris: Vec<&str> = std::iter::once(note.uri.as_str())
        .chain(note.in_reply_to.as_deref())
        .collect();
    sqlx::query(
        "select pg_advisory_xact_lock(key) from (
             select distinct hashtextextended(uri, 0) as key from unnest($1::text[]) as uri
             order by key) keys",
    )
    .bind(&uris)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records an activity's id; `false` when this actor's activity of that id was recorded before.
pub(super) async fn see(
    connection: &mut PgConnection,
    uri: &str,
    account_id: i64,
) -> Result<bool, Halt> {
    let recorded = sqlx::query(
        "insert into inbound_seen (uri, account_id) values ($1, $2) on conflict do nothing",
    )
    .bind(uri)
    .bind(account_id)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(recorded == 1)
}
