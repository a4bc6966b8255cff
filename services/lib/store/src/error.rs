//! What can go wrong with the database, as callers tell it apart.

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row is not there.
    #[error("not found")]
    NotFound,
    /// A unique rule of the named constraint was broken: it is taken, or already there.
    #[error("already there ({0})")]
    Conflict(String),
    /// The database is away, no connection came free in time, or the transaction lost to
    /// another one: trying again helps.
    #[error("the database could not do it now: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// Anything else.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_) => Self::Unavailable(error),
            sqlx::Error::Database(db) if db.is_unique_violation() => {
                Self::Conflict(db.constraint().unwrap_or("unknown").to_owned())
            }
            sqlx::Error::Database(db) if db.code().is_some_and(|code| passes(&code)) => {
                Self::Unavailable(error)
            }
            _ => Self::Database(error),
        }
    }
}

/// Whether an error of this SQLSTATE is over when one tries again. Class 57P is "operator
/// intervention": the server is stopping or starting. The others are a deadlock, of which one
/// side was chosen to give way, a transaction that could not be ordered, and a lock that was not
/// had in time.
fn passes(code: &str) -> bool {
    code.starts_with("57P") || matches!(code, "40P01" | "40001" | "55P03")
}

/// Whether an error says that a unique rule was broken.
pub fn is_unique_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(db) if db.is_unique_violation())
}
