//! Traffic from a host says nothing about the way to it, but is worth a look: a failing host
//! that writes to us is tried now, at most once an hour (design section 6).

use std::time::Duration;

use moka::sync::Cache;
use sqlx::PgPool;

/// How long a host that was looked at is not looked at again by this process.
const LOOKED_AT: Duration = Duration::from_mins(5);

/// Hosts that are remembered.
const KEPT: u64 = 20_000;

/// The hosts that this process heard from lately. Clones share them.
#[derive(Debug, Clone)]
pub struct HeardFrom(Cache<String, ()>);

impl Default for HeardFrom {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(KEPT);
        Self(cache.time_to_live(LOOKED_AT).build())
    }
}

impl HeardFrom {
    /// Verified traffic came from `host`. Brings the next probe of it forward if it is failing,
    /// or of whose state it shares.
    pub(super) async fn note(&self, pool: &PgPool, host: &str) {
        if self.0.contains_key(host) {
            return;
        }
        self.0.insert(host.to_owned(), ());
        let brought = sqlx::query(
            "update hosts set next_probe_at = now(), hinted_at = now(), steered_at = now()
             where host = coalesce(
                       (select state_host from inboxes where host = $1 order by id limit 1), $1)
               and state <> 'ok'
               and (hinted_at is null or hinted_at < now() - interval '1 hour')",
        )
        .bind(host)
        .execute(pool)
        .await;
        if let Err(error) = brought {
            tracing::debug!(%error, "a failing host that writes to us could not be brought forward");
        }
    }
}
