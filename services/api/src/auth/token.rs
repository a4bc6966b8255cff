//! Tokens: random, stored as SHA-256 only, and looked up through a cache that is so short-lived
//! that a revocation is felt within five seconds (rule R14).

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use moka::future::Cache;
use time::OffsetDateTime;

use super::role::UserRole;
use super::scope::{Scope, covers};
use crate::{
    error::{ApiError, ApiResult},
    state::App,
};

/// Below the five seconds of rule R14, with a second to spare.
const CACHE_TTL: Duration = Duration::from_secs(4);

/// Tokens remembered at most: a busy replica's callers of four seconds, about 400 bytes each.
const CACHE_CAPACITY: u64 = 20_000;

/// The longest token we look up; ours have 43 characters.
const MAX_TOKEN_BYTES: usize = 128;

/// How often activity is written down: the rule for active users counts days.
const ACTIVITY_INTERVAL: time::Duration = time::Duration::days(1);

/// SHA-256 of a token, code or secret: what the database holds.
pub(crate) fn hash_token(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}

/// 256 random bits, as 43 characters that need no escaping anywhere.
pub(crate) fn random_token() -> String {
    let bytes: [u8; 32] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The token in the `Authorization` header. Tokens in the query are not taken: they end up in
/// logs and `Referer` headers.
pub(crate) fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The person behind a token.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// Row of `users`.
    pub(crate) user_id: i64,
    /// Row of `accounts`.
    pub(crate) account_id: i64,
    /// What they may do beside posting.
    pub(crate) role: UserRole,
    /// Whether the address was confirmed.
    pub(crate) confirmed: bool,
    /// Whether an operator let them in, where that is asked for.
    pub(crate) approved: bool,
    /// Whether the log-in was switched off.
    pub(crate) disabled: bool,
    /// Whether the account is suspended.
    pub(crate) suspended: bool,
}

impl Person {
    /// 403 with Mastodon's reason unless the person may use the API.
    pub(crate) fn may_act(&self) -> ApiResult<()> {
        if self.disabled || self.suspended {
            Err(ApiError::forbidden("Your login is currently disabled"))
        } else if !self.confirmed {
            Err(ApiError::forbidden(
                "Your login is missing a confirmed e-mail address",
            ))
        } else if !self.approved {
            Err(ApiError::forbidden(
                "Your login is currently pending approval",
            ))
        } else {
            Ok(())
        }
    }
}

/// A valid token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The app that it was issued to.
    pub(crate) app_id: i64,
    /// What it may do.
    pub(crate) scopes: Vec<String>,
    /// Whose it is; `None` for an app's own.
    pub(crate) person: Option<Person>,
}

impl Caller {
    /// 403 unless the token holds one of `scopes` or a parent of one.
    pub(crate) fn require_any(&self, scopes: &[Scope]) -> ApiResult<()> {
        if scopes.iter().any(|scope| covers(&self.scopes, *scope)) {
            Ok(())
        } else {
            Err(ApiError::out_of_scope())
        }
    }
}

/// Callers of the last seconds by the hash of their token.
pub(crate) struct TokenCache(Cache<[u8; 32], Arc<Caller>>);

impl Default for TokenCache {
    fn default() -> Self {
        Self(
            Cache::builder()
                .max_capacity(CACHE_CAPACITY)
                .time_to_live(CACHE_TTL)
                .build(),
        )
    }
}

impl TokenCache {
    /// Forgets a token at once, in this process.
    pub(crate) async fn forget(&self, hash: &[u8; 32]) {
        self.0.invalidate(hash).await;
    }

    /// Forgets all, after a change of somebody's state.
    pub(crate) fn forget_all(&self) {
        self.0.invalidate_all();
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    app_id: i64,
    scopes: Vec<String>,
    user_id: Option<i64>,
    account_id: Option<i64>,
    role: Option<String>,
    confirmed: Option<bool>,
    approved: Option<bool>,
    disabled: Option<bool>,
    suspended: Option<bool>,
    last_active_at: Option<OffsetDateTime>,
}

/// Who this token stands for; 401 when it is unknown or revoked, or its account is gone.
pub(crate) async fn caller_of(app: &App, token: &str) -> ApiResult<Arc<Caller>> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(ApiError::invalid_token());
    }
    let hash = hash_token(token);
    if let Some(caller) = app.tokens.0.get(&hash).await {
        return Ok(caller);
    }
    let row: Option<Row> = sqlx::query_as(
        "select t.app_id, t.scopes, u.id as user_id, u.account_id, u.role,
                u.confirmed_at is not null as confirmed, u.approved, u.disabled,
                a.suspended_at is not null as suspended, u.last_active_at
         from tokens t
         left join users u on u.id = t.user_id
         left join accounts a on a.id = u.account_id
         where t.token_hash = $1 and t.revoked_at is null
           and (t.user_id is null or a.deleted_at is null)",
    )
    .bind(&hash[..])
    .fetch_optional(&app.deps.pool)
    .await?;
    let row = row.ok_or_else(ApiError::invalid_token)?;
    let last_active_at = row.last_active_at;
    let caller = Arc::new(row.into_caller());
    // Whoever is turned away was not active: they count for nothing, and keep nothing alive.
    if let Some(person) = &caller.person
        && person.may_act().is_ok()
    {
        note_activity(app, person, last_active_at).await;
    }
    app.tokens.0.insert(hash, Arc::clone(&caller)).await;
    Ok(caller)
}

impl Row {
    fn into_caller(self) -> Caller {
        // The left join gives all of a person's columns or none.
        let person = match (self.user_id, self.account_id) {
            (Some(user_id), Some(account_id)) => Some(Person {
                user_id,
                account_id,
                role: UserRole::parse(self.role.as_deref().unwrap_or_default()),
                confirmed: self.confirmed.unwrap_or(false),
                approved: self.approved.unwrap_or(false),
                disabled: self.disabled.unwrap_or(true),
                suspended: self.suspended.unwrap_or(true),
            }),
            _ => None,
        };
        Caller {
            app_id: self.app_id,
            scopes: self.scopes,
            person,
        }
    }
}

/// Writes down, at most daily, that the person was here, and keeps their home timeline alive.
/// A failure costs the request nothing: the next day brings another.
async fn note_activity(app: &App, person: &Person, last: Option<OffsetDateTime>) {
    let now = app.deps.clock.now();
    if last.is_some_and(|last| now - last < ACTIVITY_INTERVAL) {
        return;
    }
    let written = sqlx::query("update users set last_active_at = $2 where id = $1")
        .bind(person.user_id)
        .bind(now)
        .execute(&app.deps.pool)
        .await;
    if let Err(error) = written {
        tracing::warn!(%error, "the time of a person's last activity was not written down");
    }
    if let Err(error) = app.deps.timelines.touch(person.account_id).await {
        tracing::debug!(%error, "a home timeline's time to live was not renewed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_a_bearer_header_holds_a_token() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer_of(&headers), None);
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic abc"));
        assert_eq!(bearer_of(&headers), None);
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_static("bearer  abc"),
        );
        assert_eq!(bearer_of(&headers), Some("abc"));
    }

    #[test]
    fn tokens_are_long_and_never_twice_the_same() {
        assert_eq!(random_token().len(), 43);
        assert_ne!(random_token(), random_token());
    }
}
