//! Beginning transactions.
//!
//! The library's own `begin` forgets that it began when its future is dropped half-way (a client
//! that hangs up, a time-out): the connection goes back to the pool with a transaction open in
//! which whoever gets it next writes without ever committing. So all begin here, in a task that
//! nobody can drop; what nobody waits for any more is rolled back.

use sqlx::{PgPool, Postgres, Transaction};

/// Whether a transaction changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnly {
    /// It only reads.
    Yes,
    /// It writes.
    No,
}

/// With the other ways switched off, an unavoidable one still works but counts as very dear:
/// without `jit = off` that alone would have the server compile the statement every time.
macro_rules! steadily {
    ($begin:literal) => {
        concat!(
            $begin,
            "; set local enable_seqscan = off; set local enable_bitmapscan = off",
            "; set local enable_hashjoin = off; set local enable_mergejoin = off",
            "; set local enable_sort = off; set local enable_material = off; set local jit = off",
            "; set local plan_cache_mode = force_generic_plan",
        )
    };
}

/// A condition that always holds. A statement with it commits without waiting for the disk: only
/// for what is done over, with the same end, when the database crashes and has forgotten it. The
/// wait is the dearest part of a short transaction, and others wait behind it.
#[macro_export]
macro_rules! unwaited {
    () => {
        "(select set_config('synchronous_commit', 'off', true)) = 'off'"
    };
}

/// Begins a transaction.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    begin_with(pool, "begin").await
}

/// Begins a transaction whose statements are planned by how they are written, not by what the
/// planner believes.
///
/// A table of work in progress changes faster than its statistics: the day's partition of
/// `deliveries` is empty when it is analysed and holds a million rows an hour later. A plan made
/// for the former reads all of the latter for every row, and a prepared statement keeps it.
/// Statements that run here name their rows by an index, and get nothing but indexes and nested
/// loops. One round trip, and no state that outlives the transaction, so that a transaction
/// pooler may stand in between.
pub async fn begin_steady(
    pool: &PgPool,
    read_only: ReadOnly,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let statements = match read_only {
        ReadOnly::Yes => steadily!("begin read only"),
        ReadOnly::No => steadily!("begin"),
    };
    begin_with(pool, statements).await
}

async fn begin_with(
    pool: &PgPool,
    statements: &'static str,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let beginning = tokio::spawn(async move { pool.begin_with(statements).await });
    // It neither panics nor is it aborted, unless the runtime ends with everything in it.
    beginning.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
