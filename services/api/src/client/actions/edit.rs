//! The edit of a local post: the earlier version is kept, the new one is sent to everybody who
//! has the old one.

use tidegate_store::StoreError;
use tidegate_store::accounts::Account;
use tidegate_store::notifications::{self, NotificationKind};
use tidegate_store::statuses::Status;

use super::compose::{self, Composed};
use super::{Unit, outgoing};
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// What a post shall say from now on.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) text: String,
    pub(crate) spoiler_text: String,
    pub(crate) sensitive: bool,
    pub(crate) language: Option<String>,
}

impl Edit {
    fn changes(&self, status: &Status) -> bool {
        self.text != status.text
            || self.spoiler_text != status.spoiler_text
            || self.sensitive != status.sensitive
            || self.language != status.language
    }
}

/// Edits a post of `author`. An edit that changes nothing is none.
pub(crate) async fn edit(app: &App, author: &Account, id: i64, edit: &Edit) -> ApiResult<Status> {
    compose::validate(&edit.text, &edit.spoiler_text, app.options.max_status_chars)?;
    let composed = compose::compose(app, author, &edit.text).await?;
    let mut unit = Unit::begin(app).await?;
    let before = lock(&mut unit, author.id, id).await?;
    if !edit.changes(&before) {
        return Ok(before);
    }
    keep_version(&mut unit, &before).await?;
    let after = write(&mut unit, id, edit, &composed.content).await?;
    let mentions = replace_attached(&mut unit, author, &after, &composed).await?;
    let us = &app.deps.instance;
    let note = compose::note_doc(author, &after, &composed.mentions, &composed.tags);
    let named = compose::named(&after, &mentions);
    unit.send(&outgoing::update(us, &after, &note, &named))
        .await?;
    unit.commit().await?;
    Ok(after)
}

/// Two edits at once happen one after the other.
async fn lock(unit: &mut Unit<'_>, author_id: i64, id: i64) -> ApiResult<Status> {
    let row: Option<Status> = sqlx::query_as(
        "select * from statuses
         where id = $1 and account_id = $2 and reblog_of_id is null and deleted_at is null
         for update",
    )
    .bind(id)
    .bind(author_id)
    .fetch_optional(&mut **unit)
    .await?;
    row.ok_or_else(ApiError::not_found)
}

async fn keep_version(unit: &mut Unit<'_>, before: &Status) -> Result<(), StoreError> {
    sqlx::query(
        "insert into status_edits (status_id, content, spoiler_text, sensitive, created_at)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(before.id)
    .bind(&before.content)
    .bind(&before.spoiler_text)
    .bind(before.sensitive)
    .bind(before.edited_at.unwrap_or(before.created_at))
    .execute(&mut **unit)
    .await?;
    Ok(())
}

/// `edited_at` grows by at least a second: it is part of the id of the Update, and receivers
/// take only what is newer than what they have.
async fn write(
    unit: &mut Unit<'_>,
    id: i64,
    edit: &Edit,
    content: &str,
) -> Result<Status, StoreError> {
    Ok(sqlx::query_as(
        "update statuses set text = $2, content = $3, spoiler_text = $4, sensitive = $5,
                             language = $6,
                             edited_at = greatest(now(), edited_at + interval '1 second')
         where id = $1 returning *",
    )
    .bind(id)
    .bind(&edit.text)
    .bind(content)
    .bind(&edit.spoiler_text)
    .bind(edit.sensitive)
    .bind(&edit.language)
    .fetch_one(&mut **unit)
    .await?)
}

/// Replaces hashtags and mentions. Who is no longer named stays addressed, silently: they have
/// the post. Returns everybody addressed.
async fn replace_attached(
    unit: &mut Unit<'_>,
    author: &Account,
    status: &Status,
    composed: &Composed,
) -> Result<Vec<i64>, StoreError> {
    let named: Vec<i64> = composed.mentions.iter().map(|one| one.id).collect();
    sqlx::query("delete from status_tags where status_id = $1 and name <> all($2)")
        .bind(status.id)
        .bind(&composed.tags)
        .execute(&mut **unit)
        .await?;
    sqlx::query(
        "insert into status_tags (status_id, name)
         select $1, unnest($2::text[]) on conflict do nothing",
    )
    .bind(status.id)
    .bind(&composed.tags)
    .execute(&mut **unit)
    .await?;
    sqlx::query("update mentions set silent = (account_id <> all($2)) where status_id = $1")
        .bind(status.id)
        .bind(&named)
        .execute(&mut **unit)
        .await?;
    let new: Vec<i64> = sqlx::query_scalar(
        "insert into mentions (status_id, account_id)
         select $1, unnest($2::bigint[]) on conflict do nothing returning account_id",
    )
    .bind(status.id)
    .bind(&named)
    .fetch_all(&mut **unit)
    .await?;
    for account_id in new {
        notifications::add(
            unit,
            account_id,
            NotificationKind::Mention,
            status.id,
            author.id,
            Some(status.id),
        )
        .await?;
    }
    compose::mention_ids(unit, status.id).await
}
