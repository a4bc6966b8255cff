//! Becoming a member: rules, keys, the transaction that makes an account, and its confirmation.

mod api;
pub(crate) mod confirmation;
mod create;
pub(crate) mod password;
mod rules;

use axum::{
    Router,
    routing::{get, post},
};

use crate::{
    error::{ApiError, ApiResult},
    state::{App, Registrations},
};

pub(crate) use create::{Created, NewAccount, insert};
pub(crate) use rules::{Problems, check_email, check_username};

/// The routes of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/accounts", post(api::create))
        .route("/api/v1/emails/confirmations", post(api::resend))
        .route("/api/v1/emails/check_confirmation", get(api::check))
}

/// What a newcomer typed.
#[derive(Debug, Clone)]
pub(crate) struct NewUser {
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) agreement: bool,
    pub(crate) locale: String,
    pub(crate) reason: String,
    /// The app that sent it; `None` for the web page.
    pub(crate) app_id: Option<i64>,
}

/// Why there is no new account.
#[derive(Debug)]
pub(crate) enum SignUpError {
    /// Something typed breaks a rule.
    Invalid(Problems),
    /// Closed, busy, or broken.
    Api(ApiError),
}

impl<T: Into<ApiError>> From<T> for SignUpError {
    fn from(error: T) -> Self {
        Self::Api(error.into())
    }
}

/// Makes an account for a newcomer, under the mode of the moment.
///
/// Cheap checks come first; a password is hashed and a key made only for what could succeed.
/// Of two newcomers with one name the database's unique index decides.
pub(crate) async fn sign_up(app: &App, new: NewUser) -> Result<Created, SignUpError> {
    let mode = open_mode(app).await?;
    let mut problems = rules::check(&new, mode);
    if problems.is_empty() {
        problems = taken(app, &new).await?;
    }
    if !problems.is_empty() {
        return Err(SignUpError::Invalid(problems));
    }
    let (password_hash, keys) = password::hash_with_keys(app, new.password).await?;
    let created = insert(
        &app.deps,
        &app.options,
        &NewAccount {
            username: &new.username,
            email: new.email.trim(),
            password_hash: &password_hash,
            keys: &keys,
            role: "user",
            locale: &new.locale,
            reason: Some(new.reason.trim()).filter(|reason| !reason.is_empty()),
            app_id: new.app_id,
            confirmed: !app.options.confirm_email,
            approved: mode == Registrations::Open,
        },
    )
    .await;
    match created {
        Err(tidegate_store::StoreError::Conflict(constraint)) => {
            let field = if constraint == "users_email" {
                "email"
            } else {
                "username"
            };
            let mut problems = Problems::default();
            problems.add(field, rules::TAKEN);
            Err(SignUpError::Invalid(problems))
        }
        other => Ok(other?),
    }
}

/// The mode, unless it keeps strangers out.
async fn open_mode(app: &App) -> ApiResult<Registrations> {
    let mode = app.registrations().await?;
    if mode.is_enabled() {
        Ok(mode)
    } else {
        Err(ApiError::not_allowed())
    }
}

async fn taken(app: &App, new: &NewUser) -> ApiResult<Problems> {
    let (name, email): (bool, bool) = sqlx::query_as(
        "select exists (select 1 from accounts where lower(username) = lower($1)
                                                 and lower(coalesce(domain, '')) = ''),
                exists (select 1 from users where lower(email) = lower($2))",
    )
    .bind(&new.username)
    .bind(new.email.trim())
    .fetch_one(&app.deps.pool)
    .await?;
    let mut problems = Problems::default();
    for (is_taken, field) in [(name, "username"), (email, "email")] {
        if is_taken {
            problems.add(field, rules::TAKEN);
        }
    }
    Ok(problems)
}
