//! `Idempotency-Key`: the same key of the same account gives the same post for an hour. The key
//! is written in the transaction of the post, so that of two requests at once one waits for the
//! other's commit and then finds its post.

use axum::http::HeaderMap;
use sqlx::PgConnection;
use tidegate_store::StoreError;

use super::limits::{IDEMPOTENCY_KEY_BYTES, IDEMPOTENCY_SECONDS};
use crate::error::{ApiError, ApiResult};

/// The key of a request, if it has one.
pub(crate) fn key_of(headers: &HeaderMap) -> ApiResult<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if key.len() <= IDEMPOTENCY_KEY_BYTES => {
            Ok((!key.is_empty()).then(|| key.to_owned()))
        }
        _ => Err(ApiError::bad_request(
            "the Idempotency-Key must be at most 255 printable characters",
        )),
    }
}

/// The post that the key stands for, if it was used within the hour.
pub(crate) async fn used_for(
    connection: &mut PgConnection,
    account_id: i64,
    key: &str,
) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "select status_id from idempotency_keys
         where account_id = $1 and key = $2
           and created_at >= now() - make_interval(secs => $3)",
    )
    .bind(account_id)
    .bind(key)
    .bind(IDEMPOTENCY_SECONDS)
    .fetch_optional(connection)
    .await?)
}

/// Claims the key for `status_id`; returns another post when that one has it already.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    account_id: i64,
    key: &str,
    status_id: i64,
) -> Result<Option<i64>, StoreError> {
    let claimed: Option<i64> = sqlx::query_scalar(
        "insert into idempotency_keys (account_id, key, status_id) values ($1, $2, $3)
         on conflict (account_id, key) do update
             set status_id = excluded.status_id, created_at = now()
             where idempotency_keys.created_at < now() - make_interval(secs => $4)
         returning status_id",
    )
    .bind(account_id)
    .bind(key)
    .bind(status_id)
    .bind(IDEMPOTENCY_SECONDS)
    .fetch_optional(&mut *connection)
    .await?;
    if claimed.is_some() {
        return Ok(None);
    }
    used_for(connection, account_id, key).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(key: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", key.parse().expect("a header value"));
        headers
    }

    #[test]
    fn keys_are_bounded() {
        assert_eq!(key_of(&HeaderMap::new()).expect("none"), None);
        assert_eq!(key_of(&headers("")).expect("empty"), None);
        assert_eq!(
            key_of(&headers("abc")).expect("short"),
            Some("abc".to_owned())
        );
        assert!(key_of(&headers(&"x".repeat(256))).is_err());
    }
}
