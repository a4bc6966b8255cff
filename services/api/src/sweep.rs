//! Removing rows that time has made useless: sessions, codes, confirmations, and activities
//! whose key never came.

use std::time::Duration;

use tidegate_telemetry::Stop;

use crate::{ApiDeps, state::ApiOptions};

/// How often. Every replica sweeps; deleting what is gone already costs nothing.
const INTERVAL: Duration = Duration::from_mins(10);

/// Rows per statement, so that no delete holds locks for long.
const BATCH: i64 = 1_000;

/// What is deleted, with `$1` the moment before which it is useless and `$2` the batch.
const SWEEPS: [(&str, &str, time::Duration); 5] = [
    (
        "sessions",
        "delete from web_sessions where token_hash in
             (select token_hash from web_sessions where expires_at < $1 limit $2)",
        time::Duration::ZERO,
    ),
    (
        "codes",
        "delete from oauth_codes where code_hash in
             (select code_hash from oauth_codes where expires_at < $1 limit $2)",
        time::Duration::ZERO,
    ),
    (
        "confirmations",
        "delete from email_confirmations where token_hash in
             (select token_hash from email_confirmations where expires_at < $1 limit $2)",
        time::Duration::ZERO,
    ),
    (
        // Design section 8: they wait for a day.
        "unverified activities",
        "delete from unverified_activities where id in
             (select id from unverified_activities where received_at < $1 limit $2)",
        time::Duration::hours(24),
    ),
    (
        // Mastodon's: a key names its post for an hour.
        "idempotency keys",
        "delete from idempotency_keys where (account_id, key) in
             (select account_id, key from idempotency_keys where created_at < $1 limit $2)",
        time::Duration::hours(1),
    ),
];

/// Sweeps until it is told to stop.
pub(crate) async fn run(deps: &ApiDeps, _options: &ApiOptions, stop: &Stop) {
    while stop.sleep(INTERVAL).await {
        once(deps).await;
    }
}

async fn once(deps: &ApiDeps) {
    for (what, statement, age) in SWEEPS {
        let before = deps.clock.now() - age;
        let swept = sqlx::query(statement)
            .bind(before)
            .bind(BATCH)
            .execute(&deps.pool)
            .await;
        match swept {
            Ok(done) if done.rows_affected() > 0 => {
                tracing::debug!(what, rows = done.rows_affected(), "swept");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(what, %error, "a sweep failed; the next one goes on"),
        }
    }
}
