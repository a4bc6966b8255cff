//! Bodies of activities: immutable, so read once and kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use sqlx::PgPool;
use tidegate_store::StoreError;

/// Bytes of bodies in memory: some 20,000 ordinary posts, which is far more than are under way.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// A body that nobody sends any more makes room.
const IDLE: Duration = Duration::from_mins(10);

/// What never changes of an activity.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    pub(crate) id: i64,
    /// The account that signs.
    pub(crate) account_id: i64,
    pub(crate) body: Bytes,
    /// Base64 SHA-256 of the body.
    pub(crate) digest: Arc<str>,
}

#[derive(sqlx::FromRow)]
struct Row {
    account_id: i64,
    body: Vec<u8>,
    digest: String,
}

/// Activities by number. Clones share the cache.
#[derive(Clone)]
pub(crate) struct Activities {
    pool: PgPool,
    cache: Cache<i64, Arc<Activity>>,
}

impl Activities {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            cache: Cache::builder()
                .max_capacity(KEPT_BYTES)
                .weigher(|_, activity: &Arc<Activity>| {
                    u32::try_from(activity.body.len() + 512).unwrap_or(u32::MAX)
                })
                .time_to_idle(IDLE)
                .build(),
        }
    }

    /// The activity, or `None` when there is no such row.
    pub(crate) async fn get(&self, id: i64) -> Result<Option<Arc<Activity>>, StoreError> {
        if let Some(activity) = self.cache.get(&id).await {
            return Ok(Some(activity));
        }
        let row: Option<Row> =
            sqlx::query_as("select account_id, body, digest from activities where id = $1")
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let activity = Arc::new(Activity {
            id,
            account_id: row.account_id,
            body: row.body.into(),
            digest: row.digest.into(),
        });
        self.cache.insert(id, Arc::clone(&activity)).await;
        Ok(Some(activity))
    }
}
