//! A new post: validated, composed, and committed with its activity and its fan-out.

use axum::http::StatusCode;
use serde_json::json;
use tidegate_model::Visibility;
use tidegate_store::accounts::{self, Account};
use tidegate_store::statuses::{self, NewLocalStatus, Status};

use super::compose::{self, Composed};
use super::{Unit, idempotency, outgoing};
use crate::client::entities::account;
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// A post as asked for.
#[derive(Debug, Clone)]
pub(crate) struct NewPost {
    pub(crate) text: String,
    pub(crate) spoiler_text: String,
    pub(crate) visibility: Visibility,
    pub(crate) sensitive: bool,
    pub(crate) language: Option<String>,
    pub(crate) in_reply_to_id: Option<i64>,
    /// Whom the text may name; anybody when absent.
    pub(crate) allowed_mentions: Option<Vec<i64>>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) app_id: i64,
}

/// Posts, or returns the post that the same key made before.
pub(crate) async fn post(app: &App, author: &Account, new: &NewPost) -> ApiResult<Status> {
    compose::validate(&new.text, &new.spoiler_text, app.options.max_status_chars)?;
    let parent = {
        let mut connection = app.deps.pool.acquire().await?;
        if let Some(key) = &new.idempotency_key
            && let Some(id) = idempotency::used_for(&mut connection, author.id, key).await?
        {
            return earlier(&mut connection, id).await;
        }
        match new.in_reply_to_id {
            Some(id) => Some(
                statuses::visible(&mut *connection, &[id], Some(author.id))
                    .await?
                    .pop()
                    .filter(|parent| parent.reblog_of_id.is_none())
                    .ok_or_else(ApiError::not_found)?,
            ),
            None => None,
        }
    };
    // May ask remote servers, and so comes before the transaction.
    let composed = compose::compose(app, author, &new.text).await?;
    refuse_unexpected(app, new, &composed)?;
    let mut unit = Unit::begin(app).await?;
    let id = accounts::next_id(&mut *unit).await?;
    if let Some(key) = &new.idempotency_key
        && let Some(id) = idempotency::claim(&mut unit, author.id, key, id).await?
    {
        return earlier(&mut unit, id).await;
    }
    let status = insert(&mut unit, app, author, new, parent.as_ref(), id, &composed).await?;
    unit.commit().await?;
    Ok(status)
}

/// A client may say whom it takes the text to name, so that nobody writes to a stranger by mistake.
fn refuse_unexpected(app: &App, new: &NewPost, composed: &Composed) -> ApiResult<()> {
    let Some(allowed) = &new.allowed_mentions else {
        return Ok(());
    };
    let unexpected: Vec<_> = composed
        .mentions
        .iter()
        .filter(|named| !allowed.contains(&named.id))
        .map(|named| account(named, &app.deps.instance))
        .collect();
    if unexpected.is_empty() {
        return Ok(());
    }
    Err(ApiError::with_body(
        StatusCode::UNPROCESSABLE_ENTITY,
        json!({
            "error": "Post would be sent to unexpected accounts",
            "unexpected_accounts": unexpected,
        }),
    ))
}

/// The post that was made with the key. A deleted one stays deleted: a repeated request must
/// not bring it back.
async fn earlier(connection: &mut sqlx::PgConnection, id: i64) -> ApiResult<Status> {
    statuses::by_id(connection, id)
        .await?
        .ok_or_else(ApiError::not_found)
}

async fn insert(
    unit: &mut Unit<'_>,
    app: &App,
    author: &Account,
    new: &NewPost,
    parent: Option<&Status>,
    id: i64,
    composed: &Composed,
) -> ApiResult<Status> {
    let us = &app.deps.instance;
    let mentions: Vec<i64> = composed.mentions.iter().map(|one| one.id).collect();
    let status = statuses::insert_local(
        unit,
        &NewLocalStatus {
            id,
            uri: &us.status(&author.username, id),
            url: &us.status_page(&author.username, id),
            account_id: author.id,
            text: &new.text,
            content: &composed.content,
            spoiler_text: &new.spoiler_text,
            visibility: new.visibility,
            sensitive: new.sensitive,
            language: new.language.as_deref(),
            in_reply_to: parent,
            app_id: Some(new.app_id),
            mentions: &mentions,
            tags: &composed.tags,
        },
    )
    .await?;
    let note = compose::note_doc(author, &status, &composed.mentions, &composed.tags);
    let named = compose::named(&status, &mentions);
    unit.send(&outgoing::create(us, &status, &note, &named))
        .await?;
    unit.fan_out(status.id).await?;
    Ok(status)
}
