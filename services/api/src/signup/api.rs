//! Signing up through an app.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NewUser, SignUpError, check_email, confirmation, sign_up};
use crate::{
    auth::{AppToken, Scope},
    error::{ApiError, ApiResult},
    oauth::TokenBody,
    params::{Params, blank_as_none},
    state::App,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NewAccount {
    username: String,
    email: String,
    password: String,
    agreement: bool,
    locale: String,
    reason: String,
}

/// Longer than any language tag.
const MAX_LOCALE: usize = 16;

/// `POST /api/v1/accounts`: the answer is a token that is bound to the newcomer at once, and
/// refused with Mastodon's reasons until the account may be used.
pub(super) async fn create(
    State(app): State<App>,
    token: AppToken,
    Params(given): Params<NewAccount>,
) -> ApiResult<TokenBody> {
    token.0.require_any(&[Scope::Write, Scope::WriteAccounts])?;
    if token.0.person.is_some() {
        return Err(ApiError::forbidden(
            "This method requires an client credentials authentication",
        ));
    }
    let locale = given.locale.chars().take(MAX_LOCALE).collect::<String>();
    let new = NewUser {
        username: given.username,
        email: given.email,
        password: given.password,
        agreement: given.agreement,
        locale: if locale.is_empty() {
            "en".to_owned()
        } else {
            locale
        },
        reason: given.reason,
        app_id: Some(token.0.app_id),
    };
    let created = match sign_up(&app, new).await {
        Ok(created) => created,
        Err(SignUpError::Invalid(problems)) => return Err(problems.into_error()),
        Err(SignUpError::Api(error)) => return Err(error),
    };
    let scopes: Vec<String> = sqlx::query_scalar("select scopes from apps where id = $1")
        .bind(token.0.app_id)
        .fetch_one(&app.deps.pool)
        .await?;
    let now = app.deps.clock.now();
    let user_id = Some(created.user_id);
    Ok(TokenBody::issue(&app.deps.pool, token.0.app_id, user_id, &scopes, now).await?)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resend {
    #[serde(deserialize_with = "blank_as_none")]
    email: Option<String>,
}

/// `POST /api/v1/emails/confirmations`.
pub(super) async fn resend(
    State(app): State<App>,
    token: AppToken,
    Params(given): Params<Resend>,
) -> ApiResult<Json<Value>> {
    token.0.require_any(&[Scope::Write, Scope::WriteAccounts])?;
    let person = token.0.person.clone().ok_or_else(ApiError::needs_user)?;
    let (created_by, confirmed): (Option<i64>, bool) = sqlx::query_as(
        "select created_by_app_id, confirmed_at is not null from users where id = $1",
    )
    .bind(person.user_id)
    .fetch_one(&app.deps.pool)
    .await?;
    if created_by != Some(token.0.app_id) {
        return Err(ApiError::forbidden(
            "This method is only available to the application the user originally signed-up with",
        ));
    }
    if confirmed {
        return Err(ApiError::forbidden(
            "This method is only available while the e-mail is awaiting confirmation",
        ));
    }
    let email = given.email.as_deref().map(str::trim);
    if email.is_some_and(|email| check_email(email).is_err()) {
        return Err(ApiError::validation("E-mail address is invalid"));
    }
    match confirmation::resend_to_user(&app, person.user_id, email).await {
        Err(tidegate_store::StoreError::Conflict(_)) => Err(ApiError::validation(
            "E-mail address has already been taken",
        )),
        other => {
            other?;
            Ok(Json(json!({})))
        }
    }
}

/// `GET /api/v1/emails/check_confirmation`.
pub(super) async fn check(token: AppToken) -> ApiResult<Json<bool>> {
    token.0.require_any(&[Scope::Read, Scope::ReadAccounts])?;
    let person = token.0.person.as_ref().ok_or_else(ApiError::needs_user)?;
    Ok(Json(person.confirmed))
}
