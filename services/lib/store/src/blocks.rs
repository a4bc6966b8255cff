//! Blocks and mutes.

use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

use crate::{StoreError, follows};

/// Blocks; ends follows in both directions. Returns whether the block is new.
pub async fn block(
    connection: &mut PgConnection,
    account_id: i64,
    target_id: i64,
    uri: &str,
) -> Result<bool, StoreError> {
    let inserted = sqlx::query(
        "insert into blocks (account_id, target_id, uri) values ($1, $2, $3)
         on conflict (account_id, target_id) do nothing",
    )
    .bind(account_id)
    .bind(target_id)
    .bind(uri)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    follows::remove(connection, account_id, target_id).await?;
    follows::remove(connection, target_id, account_id).await?;
    Ok(inserted == 1)
}

/// Ends a block and returns the id of its activity, if there was one.
pub async fn unblock(
    connection: &mut PgConnection,
    account_id: i64,
    target_id: i64,
) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "delete from blocks where account_id = $1 and target_id = $2 returning uri",
    )
    .bind(account_id)
    .bind(target_id)
    .fetch_optional(connection)
    .await?)
}

/// Whether either of the two blocks the other.
pub async fn either_blocks(
    executor: impl PgExecutor<'_>,
    one: i64,
    other: i64,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "select exists (select 1 from blocks
             where (account_id = $1 and target_id = $2) or (account_id = $2 and target_id = $1))",
    )
    .bind(one)
    .bind(other)
    .fetch_one(executor)
    .await?)
}

/// Mutes, or changes the mute that there is.
pub async fn mute(
    connection: &mut PgConnection,
    account_id: i64,
    target_id: i64,
    hide_notifications: bool,
    expires_at: Option<OffsetDateTime>,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into mutes (account_id, target_id, hide_notifications, expires_at)
         values ($1, $2, $3, $4)
         on conflict (account_id, target_id) do update
         set hide_notifications = excluded.hide_notifications, expires_at = excluded.expires_at",
    )
    .bind(account_id)
    .bind(target_id)
    .bind(hide_notifications)
    .bind(expires_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends a mute.
pub async fn unmute(
    connection: &mut PgConnection,
    account_id: i64,
    target_id: i64,
) -> Result<(), StoreError> {
    sqlx::query("delete from mutes where account_id = $1 and target_id = $2")
        .bind(account_id)
        .bind(target_id)
        .execute(connection)
        .await?;
    Ok(())
}
