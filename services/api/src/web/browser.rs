//! Who sits at the browser: a session cookie, and the token that every form must carry.

use std::time::Duration;

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::PageError;
use crate::{
    auth::{hash_token, random_token},
    state::App,
};

/// A person who signed in here.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Session {
    /// Row of `users`.
    pub(crate) user_id: i64,
    /// Their local account's name.
    pub(crate) username: String,
    csrf: String,
}

/// The browser that sends a request.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    session: Option<Session>,
    csrf: String,
    /// The token is new: the browser has to be told.
    is_fresh: bool,
}

/// `__Host-` keeps other hosts of the same domain from setting the cookie; it needs https.
fn cookie_name(app: &App, name: &str) -> String {
    if is_secure(app) {
        format!("__Host-tidegate_{name}")
    } else {
        format!("tidegate_{name}")
    }
}

fn is_secure(app: &App) -> bool {
    app.deps.instance.base().starts_with("https://")
}

fn cookie(app: &App, name: &str, value: String, lifetime: Option<Duration>) -> Cookie<'static> {
    let mut cookie = Cookie::build((cookie_name(app, name), value))
        .path("/")
        .http_only(true)
        .secure(is_secure(app))
        .same_site(SameSite::Lax);
    if let Some(lifetime) = lifetime {
        cookie = cookie.max_age(time::Duration::seconds(lifetime.as_secs() as i64));
    }
    cookie.build()
}

fn set(response: &mut Response, cookie: &Cookie<'_>) {
    if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

impl Browser {
    /// The person, if one is signed in.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// What forms carry.
    pub(super) fn csrf(&self) -> &str {
        &self.csrf
    }

    /// 403 unless the form carried this browser's token.
    pub(crate) fn check_csrf(&self, given: &str) -> Result<(), PageError> {
        // Compared by hash, so that the time tells nothing about the token.
        if !self.is_fresh && hash_token(given) == hash_token(&self.csrf) {
            Ok(())
        } else {
            Err(PageError::new(
                StatusCode::FORBIDDEN,
                "This form has expired. Go back, load the page again and repeat.",
            ))
        }
    }

    /// Gives a new browser its token.
    pub(super) fn keep_csrf(&self, app: &App, response: &mut Response) {
        if self.is_fresh {
            set(response, &cookie(app, "csrf", self.csrf.clone(), None));
        }
    }
}

impl FromRequestParts<App> for Browser {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, PageError> {
        let jar = CookieJar::from_headers(&parts.headers);
        let value = |name| {
            jar.get(&cookie_name(app, name))
                .map(|c| c.value().to_owned())
        };
        if let Some(token) = value("session")
            && let Some(session) = find(&app.deps.pool, &token, app.deps.clock.now()).await?
        {
            return Ok(Self {
                csrf: session.csrf.clone(),
                session: Some(session),
                is_fresh: false,
            });
        }
        let known = value("csrf").filter(|token| !token.is_empty());
        Ok(Self {
            session: None,
            is_fresh: known.is_none(),
            csrf: known.unwrap_or_else(random_token),
        })
    }
}

async fn find(
    executor: impl PgExecutor<'_>,
    token: &str,
    now: OffsetDateTime,
) -> Result<Option<Session>, sqlx::Error> {
    sqlx::query_as(
        "select s.user_id, s.csrf, a.username
         from web_sessions s
         join users u on u.id = s.user_id
         join accounts a on a.id = u.account_id
         where s.token_hash = $1 and s.expires_at > $2 and not u.disabled
           and a.suspended_at is null and a.deleted_at is null",
    )
    .bind(&hash_token(token)[..])
    .bind(now)
    .fetch_optional(executor)
    .await
}

/// Begins a session, with a token that the browser never had before, and sets its cookie.
pub(super) async fn begin(
    app: &App,
    user_id: i64,
    response: &mut Response,
) -> Result<(), sqlx::Error> {
    let token = random_token();
    let lifetime = app.options.session_lifetime;
    sqlx::query(
        "insert into web_sessions (token_hash, user_id, csrf, expires_at) values ($1, $2, $3, $4)",
    )
    .bind(&hash_token(&token)[..])
    .bind(user_id)
    .bind(random_token())
    .bind(app.deps.clock.now() + lifetime)
    .execute(&app.deps.pool)
    .await?;
    set(response, &cookie(app, "session", token, Some(lifetime)));
    Ok(())
}

/// Ends the session of this request, and takes the cookie back.
pub(super) async fn end(
    app: &App,
    jar: &CookieJar,
    response: &mut Response,
) -> Result<(), sqlx::Error> {
    if let Some(held) = jar.get(&cookie_name(app, "session")) {
        sqlx::query("delete from web_sessions where token_hash = $1")
            .bind(&hash_token(held.value())[..])
            .execute(&app.deps.pool)
            .await?;
    }
    set(
        response,
        &cookie(app, "session", String::new(), Some(Duration::ZERO)),
    );
    Ok(())
}
