//! Inboxes by number: deliveries and follows carry the number, never the URL.

use sqlx::PgConnection;
use tidegate_model::host_of;

use crate::StoreError;

/// The number of an inbox URL, made on first sight. `None` when the URL has no usable host.
pub async fn intern(
    connection: &mut PgConnection,
    url: &str,
    shared: bool,
) -> Result<Option<i64>, StoreError> {
    let Ok(host) = host_of(url) else {
        return Ok(None);
    };
    // An inbox that is there is only read: were its row locked, a follow (inbox, then accounts)
    // and a refreshed actor (account, then inbox) would wait for each other.
    let known: Option<i64> = sqlx::query_scalar("select id from inboxes where url = $1")
        .bind(url)
        .fetch_optional(&mut *connection)
        .await?;
    if known.is_some() {
        return Ok(known);
    }
    let made: Option<i64> = sqlx::query_scalar(
        "insert into inboxes (url, host, shared) values ($1, $2, $3)
         on conflict (url) do nothing returning id",
    )
    .bind(url)
    .bind(host)
    .bind(shared)
    .fetch_optional(&mut *connection)
    .await?;
    if made.is_some() {
        return Ok(made);
    }
    // Somebody else made it between the two statements.
    let id = sqlx::query_scalar("select id from inboxes where url = $1")
        .bind(url)
        .fetch_one(connection)
        .await?;
    Ok(Some(id))
}
