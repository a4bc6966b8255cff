//! Favourites (Like).

use sqlx::PgConnection;

use crate::StoreError;

/// A row of `favourites`, as callers need it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Favourite {
    /// Its row.
    pub id: i64,
    /// The Like activity's id.
    pub uri: String,
}

/// Adds a favourite; `None` when it is there already.
pub async fn add(
    connection: &mut PgConnection,
    account_id: i64,
    status_id: i64,
    uri: &str,
) -> Result<Option<Favourite>, StoreError> {
    let added: Option<Favourite> = sqlx::query_as(
        "insert into favourites (account_id, status_id, uri) values ($1, $2, $3)
         on conflict do nothing returning id, uri",
    )
    .bind(account_id)
    .bind(status_id)
    .bind(uri)
    .fetch_optional(&mut *connection)
    .await?;
    if added.is_some() {
        count(connection, status_id, 1).await?;
    }
    Ok(added)
}

/// Removes a favourite and returns it, if it was there.
pub async fn remove(
    connection: &mut PgConnection,
    account_id: i64,
    status_id: i64,
) -> Result<Option<Favourite>, StoreError> {
    let removed: Option<Favourite> = sqlx::query_as(
        "delete from favourites where account_id = $1 and status_id = $2 returning id, uri",
    )
    .bind(account_id)
    .bind(status_id)
    .fetch_optional(&mut *connection)
    .await?;
    if removed.is_some() {
        count(connection, status_id, -1).await?;
    }
    Ok(removed)
}

async fn count(connection: &mut PgConnection, status_id: i64, by: i64) -> Result<(), StoreError> {
    sqlx::query(
        "update statuses set favourites_count = greatest(0, favourites_count + $2) where id = $1",
    )
    .bind(status_id)
    .bind(by)
    .execute(connection)
    .await?;
    Ok(())
}
