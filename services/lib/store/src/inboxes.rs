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
    // The empty update makes the row visible to `returning` when it is already there.
    let id = sqlx::query_scalar(
        "insert into inboxes (url, host, shared) values ($1, $2, $3)
         on conflict (url) do update set shared = inboxes.shared or excluded.shared
         returning id",
    )
    .bind(url)
    .bind(host)
    .bind(shared)
    .fetch_one(connection)
    .await?;
    Ok(Some(id))
}
