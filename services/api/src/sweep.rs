//! Removing rows that time has made useless: sessions, codes, confirmations, activities whose
//! key never came, what only served to recognise repeats, hosts not seen for long, and apps and
//! sign-ups never used.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_telemetry::Stop;
use time::OffsetDateTime;

use crate::{ApiDeps, state::ApiOptions};

/// How often. Every replica sweeps; deleting what is gone already costs nothing.
const INTERVAL: Duration = Duration::from_mins(10);

/// Rows per statement, so that no delete holds locks for long.
const BATCH: i64 = 1_000;

/// Batches of one kind per round: more than anybody can fill between two rounds, and still an
/// end. What is left goes with the next round.
const MAX_BATCHES: u32 = 200;

/// What is deleted, with `$1` the moment before which it is useless and `$2` the batch.
const SWEEPS: [(&str, &str, time::Duration); 12] = [
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
    (
        // Peers repeat an activity for days; later every effect still has its own key.
        "ids of activities taken in",
        "delete from inbound_seen where (uri, account_id) in
             (select uri, account_id from inbound_seen where done_at < $1 limit $2)",
        time::Duration::days(30),
    ),
    (
        // Design section 8.
        "tombstones",
        "delete from tombstones where uri in
             (select uri from tombstones where created_at < $1 limit $2)",
        time::Duration::days(7),
    ),
    (
        // A mail's message is long gone by then, from the dead as well.
        "ids of mails sent",
        "delete from mails_sent where dedupe_key in
             (select dedupe_key from mails_sent where sent_at < $1 limit $2)",
        time::Duration::days(90),
    ),
    (
        // Kept for a while: an app that somebody signed out of counts as used.
        "revoked tokens",
        "delete from tokens where id in
             (select id from tokens where revoked_at < $1 limit $2)",
        time::Duration::days(90),
    ),
    (
        // Anybody may register one. As Mastodon: used is one with a token, a code or a sign-up.
        "apps never used",
        "delete from apps where id in
             (select id from apps a where created_at < $1
              and not exists (select 1 from tokens t where t.app_id = a.id)
              and not exists (select 1 from oauth_codes c where c.app_id = a.id)
              and not exists (select 1 from users u where u.created_by_app_id = a.id) limit $2)",
        time::Duration::days(1),
    ),
    (
        // Whoever makes up names of hosts fills no table for good (R7): one that is well, for which
        // nothing waits, and of which nothing was learnt for so long is met as a new one.
        "hosts not seen",
        "delete from hosts where host in
             (select host from hosts where updated_at < $1 and state = 'ok' and not backlog
              and paused_at is null limit $2)",
        time::Duration::days(90),
    ),
    (
        // The name and the address are free again; an account without a post only.
        "sign-ups never confirmed",
        "delete from accounts where id in
             (select u.account_id from users u join accounts a on a.id = u.account_id
              where u.confirmed_at is null and u.created_at < $1
              and a.statuses_count = 0 and u.role = 'user' limit $2)",
        time::Duration::days(7),
    ),
];

/// Sweeps until it is told to stop.
pub(crate) async fn run(deps: &ApiDeps, _options: &ApiOptions, stop: &Stop) {
    while stop.sleep(INTERVAL).await {
        once(&deps.pool, deps.clock.now()).await;
    }
}

async fn once(pool: &PgPool, now: OffsetDateTime) {
    for (what, statement, age) in SWEEPS {
        match sweep(pool, statement, now - age).await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(what, rows, "swept"),
            Err(error) => tracing::warn!(what, %error, "a sweep failed; the next one goes on"),
        }
    }
}

/// Batch after batch, until one is short.
async fn sweep(
    pool: &PgPool,
    statement: &'static str,
    before: OffsetDateTime,
) -> Result<u64, sqlx::Error> {
    let mut rows = 0;
    for _ in 0..MAX_BATCHES {
        let batch = sqlx::query(statement)
            .bind(before)
            .bind(BATCH)
            .execute(pool)
            .await?
            .rows_affected();
        rows += batch;
        if batch < BATCH.unsigned_abs() {
            break;
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use tidegate_testkit::Postgres;

    use super::*;

    #[tokio::test]
    async fn what_is_old_and_unused_goes_and_the_rest_stays() {
        let database = Postgres::shared().await.fresh_database().await;
        let pool = &database.pool;
        for statement in [
            "insert into apps (name, redirect_uris, scopes, client_id, client_secret_hash, created_at)
             select 'x', '{}', '{}', 'old' || n, '', now() - interval '2 days'
             from generate_series(1, 2500) n",
            "insert into apps (name, redirect_uris, scopes, client_id, client_secret_hash)
             values ('x', '{}', '{}', 'new', '')",
            "insert into tokens (token_hash, app_id, scopes)
             select 'live', id, '{}' from apps where client_id = 'old1'",
            "insert into tokens (token_hash, app_id, scopes, revoked_at)
             select 'dead', id, '{}', now() - interval '91 days' from apps where client_id = 'old1'",
            "insert into inbound_seen (uri, account_id, done_at)
             values ('old', 1, now() - interval '31 days'), ('new', 1, now())",
            "insert into tombstones (uri, created_at)
             values ('old', now() - interval '8 days'), ('new', now())",
            "insert into mails_sent (dedupe_key, claimed_until, sent_at)
             values ('old', now(), now() - interval '91 days'), ('new', now(), now())",
            "insert into hosts (host, state, backlog, paused_at, updated_at)
             select h, case h when 'failing' then h else 'ok' end, h = 'waiting',
                    case h when 'paused' then now() end,
                    now() - case h when 'new' then interval '1 day' else interval '91 days' end
             from unnest(array['old', 'new', 'failing', 'waiting', 'paused']) h",
            "insert into accounts (username, uri, url, inbox_url, key_id, public_key_pem)
             select n, n, n, n, n, '' from unnest(array['old', 'new', 'sure']) n",
            "insert into users (account_id, email, password_hash, confirmed_at, created_at)
             select id, username, '', case when username = 'sure' then now() end,
                    now() - case when username = 'new' then interval '1 day' else interval '8 days' end
             from accounts",
        ] {
            sqlx::query(statement).execute(pool).await.expect("fills");
        }
        once(pool, OffsetDateTime::now_utc()).await;
        let left: Vec<String> = sqlx::query_scalar(
            "select 'app ' || client_id from apps
             union all select 'token ' || convert_from(token_hash, 'UTF8') from tokens
             union all select 'seen ' || uri from inbound_seen
             union all select 'tombstone ' || uri from tombstones
             union all select 'mail ' || dedupe_key from mails_sent
             union all select 'host ' || host from hosts
             union all select 'account ' || username from accounts
             union all select 'user ' || email from users order by 1",
        )
        .fetch_all(pool)
        .await
        .expect("reads");
        assert_eq!(
            left,
            [
                "account new",
                "account sure",
                "app new",
                "app old1",
                "host failing",
                "host new",
                "host paused",
                "host waiting",
                "mail new",
                "seen new",
                "token live",
                "tombstone new",
                "user new",
                "user sure",
            ]
        );
    }
}
