//! Traffic from a host says nothing about the way to it, but is worth a look: a failing host
//! that writes to us is tried now, at most once an hour (design section 6).

use std::sync::LazyLock;
use std::time::Duration;

use moka::sync::Cache;
use sqlx::PgPool;

/// How long a host that was looked at is not looked at again by this process.
const LOOKED_AT: Duration = Duration::from_mins(5);

/// Hosts that are remembered.
const KEPT: u64 = 20_000;

static LATELY: LazyLock<Cache<String, ()>> = LazyLock::new(|| {
    Cache::builder()
        .max_capacity(KEPT)
        .time_to_live(LOOKED_AT)
        .build()
});

/// Verified traffic came from `host`. Brings the next probe of it forward if it is failing.
pub(super) async fn heard_from(pool: &PgPool, host: &str) {
    if LATELY.contains_key(host) {
        return;
    }
    LATELY.insert(host.to_owned(), ());
    let brought = sqlx::query(
        "update hosts set next_probe_at = now(), hinted_at = now(), steered_at = now()
         where host = $1 and state <> 'ok'
           and (hinted_at is null or hinted_at < now() - interval '1 hour')",
    )
    .bind(host)
    .execute(pool)
    .await;
    if let Err(error) = brought {
        tracing::debug!(%error, "a failing host that writes to us could not be brought forward");
    }
}
