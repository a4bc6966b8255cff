//! Settings that are switched at run time.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};

use crate::StoreError;

/// Whether strangers may sign up: `open`, `approval`, `invite` or `closed`.
pub const REGISTRATION_MODE: &str = "registration_mode";

/// The value of a setting, if it was ever set.
pub async fn get<T: DeserializeOwned + Send + Unpin + 'static>(
    executor: impl PgExecutor<'_>,
    name: &str,
) -> Result<Option<T>, StoreError> {
    let value: Option<Json<T>> = sqlx::query_scalar("select value from settings where name = $1")
        .bind(name)
        .fetch_optional(executor)
        .await?;
    Ok(value.map(|json| json.0))
}

/// Sets a setting.
pub async fn set<T: Serialize + Sync>(
    connection: &mut PgConnection,
    name: &str,
    value: &T,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into settings (name, value) values ($1, $2)
         on conflict (name) do update set value = excluded.value, updated_at = now()",
    )
    .bind(name)
    .bind(Json(value))
    .execute(connection)
    .await?;
    Ok(())
}
