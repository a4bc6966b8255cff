//! How many delivery shards the instance has. Every process must count the same: a host's shard
//! decides who sends to it, and two processes with two numbers would send out of order.
//!
//! Whoever relies on the number for a moment (a planner that writes rows, a worker that claims
//! leases) holds it with [`hold`]; whoever changes it waits for all of them.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::{StoreError, settings};

/// The setting.
const NAME: &str = "delivery_shards";

/// Key of the advisory lock: shared by those who rely on the number, exclusive for a change. It
/// is held within a transaction, so that it works behind a transaction pooler. Any fixed number.
const LOCK: i64 = 0x7469_6473;

/// The number in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards {
    /// How many.
    pub count: u32,
    /// A change to this number was begun and is not finished: nobody may start.
    pub changing: bool,
}

/// The number in use; `None` before the first node started.
pub async fn current(connection: &mut PgConnection) -> Result<Option<Shards>, StoreError> {
    settings::get(connection, NAME).await
}

/// The number in use. The first process of an instance decides it.
pub async fn adopt(connection: &mut PgConnection, wanted: u32) -> Result<Shards, StoreError> {
    sqlx::query(
        "insert into settings (name, value)
         values ($1, jsonb_build_object('count', $2, 'changing', false))
         on conflict (name) do nothing",
    )
    .bind(NAME)
    .bind(i64::from(wanted))
    .execute(&mut *connection)
    .await?;
    current(connection).await?.ok_or(StoreError::NotFound)
}

/// Whether `mine` is the number in use; it stays so until the transaction ends.
pub async fn hold(connection: &mut PgConnection, mine: u32) -> Result<bool, StoreError> {
    sqlx::query("select pg_advisory_xact_lock_shared($1)")
        .bind(LOCK)
        .execute(&mut *connection)
        .await?;
    let current = current(connection).await?;
    Ok(current.is_none_or(|shards| shards.count == mine && !shards.changing))
}

/// Waits until nobody relies on the number, and keeps others from it until the transaction ends.
pub async fn lock(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(connection)
        .await?;
    Ok(())
}

/// Sets the number, after [`lock`] in the same transaction.
pub async fn set(connection: &mut PgConnection, shards: Shards) -> Result<(), StoreError> {
    settings::set(connection, NAME, &shards).await
}
