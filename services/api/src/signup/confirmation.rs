//! Confirming an address: a token by mail, stored as its hash, valid for two days.

use sqlx::PgConnection;
use tidegate_model::{Mail, Message};
use tidegate_store::StoreError;

use crate::{
    ApiDeps,
    auth::{hash_token, random_token},
    error::ApiResult,
    state::{ApiOptions, App},
};

/// Mastodon's: long enough for a mail that was held back over night.
const LIFETIME: time::Duration = time::Duration::days(2);

/// Mails for one person within [`RATE_WINDOW`] (Mastodon's figures).
const MAX_MAILS: i64 = 5;
const RATE_WINDOW: time::Duration = time::Duration::minutes(30);

/// Writes down a new token and the mail that carries it, within the caller's transaction. The
/// caller wakes the outbox.
pub(super) async fn ask(
    connection: &mut PgConnection,
    deps: &ApiDeps,
    options: &ApiOptions,
    user_id: i64,
    email: &str,
) -> Result<(), StoreError> {
    let token = random_token();
    let hash = hash_token(&token);
    sqlx::query(
        "insert into email_confirmations (token_hash, user_id, expires_at) values ($1, $2, $3)",
    )
    .bind(&hash[..])
    .bind(user_id)
    .bind(deps.clock.now() + LIFETIME)
    .execute(&mut *connection)
    .await?;
    let base = deps.instance.base();
    let mail = Mail {
        dedupe_key: format!("confirm:{user_id}:{}", hex::encode(hash)),
        to: email.to_owned(),
        subject: format!("Confirm your account on {}", deps.instance.domain),
        text: format!(
            "Somebody, probably you, asked for an account on {title} ({domain}) with this address.\n\n\
             Open this link within two days to confirm it:\n\n\
             {base}/auth/confirmation?confirmation_token={token}\n\n\
             If it was not you, do nothing: without the link the account is never used.\n",
            title = options.title,
            domain = deps.instance.domain,
        ),
    };
    deps.outbox
        .add(connection, &deps.queues.mail(), &Message::Mail(mail))
        .await
}

/// Takes a token; whether it was a valid one.
pub(crate) async fn confirm(app: &App, token: &str) -> Result<bool, StoreError> {
    let now = app.deps.clock.now();
    let confirmed: Option<i64> = sqlx::query_scalar(
        "with taken as (
             delete from email_confirmations where token_hash = $1 and expires_at > $2
             returning user_id)
         update users set confirmed_at = coalesce(confirmed_at, $2)
         from taken where users.id = taken.user_id
         returning users.id",
    )
    .bind(&hash_token(token)[..])
    .bind(now)
    .fetch_optional(&app.deps.pool)
    .await?;
    if confirmed.is_some() {
        // The app that waits for this moment must not be told "unconfirmed" from a cache.
        app.tokens.forget_all();
    }
    Ok(confirmed.is_some())
}

#[derive(sqlx::FromRow)]
struct Waiting {
    id: i64,
    email: String,
}

/// Mails again to whoever waits under this address. Nothing tells the caller whether anybody
/// does.
pub(crate) async fn resend_to_address(app: &App, email: &str) -> ApiResult<()> {
    let mut transaction = tidegate_store::begin(&app.deps.pool).await?;
    let waiting: Option<Waiting> = sqlx::query_as(
        "select id, email from users
         where lower(email) = lower($1) and confirmed_at is null and not disabled for update",
    )
    .bind(email)
    .fetch_optional(&mut *transaction)
    .await?;
    if let Some(waiting) = waiting {
        ask_within_limits(&mut transaction, app, waiting.id, &waiting.email).await?;
    }
    transaction.commit().await?;
    app.deps.outbox.wake();
    Ok(())
}

/// Mails again to a person, to another address if one is given.
pub(super) async fn resend_to_user(
    app: &App,
    user_id: i64,
    new_email: Option<&str>,
) -> Result<(), StoreError> {
    let mut transaction = tidegate_store::begin(&app.deps.pool).await?;
    let waiting: Waiting = sqlx::query_as(
        "update users set email = coalesce($2, email) where id = $1 returning id, email",
    )
    .bind(user_id)
    .bind(new_email)
    .fetch_one(&mut *transaction)
    .await?;
    if new_email.is_some() {
        // What was sent to the old address proves nothing about the new one.
        sqlx::query(
            "update email_confirmations set expires_at = least(expires_at, $2) where user_id = $1",
        )
        .bind(user_id)
        .bind(app.deps.clock.now())
        .execute(&mut *transaction)
        .await?;
    }
    ask_within_limits(&mut transaction, app, waiting.id, &waiting.email).await?;
    transaction.commit().await?;
    app.deps.outbox.wake();
    Ok(())
}

async fn ask_within_limits(
    connection: &mut PgConnection,
    app: &App,
    user_id: i64,
    email: &str,
) -> Result<(), StoreError> {
    // A token's age is what is left of its life.
    let recent: i64 = sqlx::query_scalar(
        "select count(*) from email_confirmations where user_id = $1 and expires_at > $2",
    )
    .bind(user_id)
    .bind(app.deps.clock.now() + LIFETIME - RATE_WINDOW)
    .fetch_one(&mut *connection)
    .await?;
    if recent >= MAX_MAILS {
        tracing::info!(
            user_id,
            "no more confirmation mails for this person for now"
        );
        return Ok(());
    }
    ask(connection, &app.deps, &app.options, user_id, email).await
}
