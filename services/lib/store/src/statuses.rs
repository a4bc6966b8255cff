//! Posts, local and remote, boosts included.

use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use tidegate_model::{RemoteAttachment, RemoteEmoji, RemoteNote, Visibility};
use time::OffsetDateTime;

use crate::{StoreError, accounts::Account};

/// A row of `statuses`.
#[derive(Debug, Clone, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
pub struct Status {
    pub id: i64,
    pub uri: String,
    pub url: Option<String>,
    pub account_id: i64,
    pub local: bool,
    pub text: String,
    pub content: String,
    pub spoiler_text: String,
    pub visibility: String,
    pub sensitive: bool,
    pub language: Option<String>,
    pub in_reply_to_id: Option<i64>,
    pub in_reply_to_account_id: Option<i64>,
    pub in_reply_to_uri: Option<String>,
    pub reblog_of_id: Option<i64>,
    pub app_id: Option<i64>,
    pub attachments: Json<Vec<RemoteAttachment>>,
    pub emojis: Json<Vec<RemoteEmoji>>,
    pub replies_count: i64,
    pub reblogs_count: i64,
    pub favourites_count: i64,
    pub pulled: bool,
    pub created_at: OffsetDateTime,
    pub edited_at: Option<OffsetDateTime>,
    pub deleted_at: Option<OffsetDateTime>,
}

impl Status {
    /// Who may see it.
    pub fn visibility(&self) -> Visibility {
        // The column has a check; anything else could only be narrower.
        Visibility::parse(&self.visibility).unwrap_or(Visibility::Direct)
    }
}

/// The status with this id, unless it was deleted.
pub async fn by_id(executor: impl PgExecutor<'_>, id: i64) -> Result<Option<Status>, StoreError> {
    Ok(
        sqlx::query_as("select * from statuses where id = $1 and deleted_at is null")
            .bind(id)
            .fetch_optional(executor)
            .await?,
    )
}

/// The statuses with these ids, in no order, without deleted ones.
pub async fn by_ids(executor: impl PgExecutor<'_>, ids: &[i64]) -> Result<Vec<Status>, StoreError> {
    Ok(
        sqlx::query_as("select * from statuses where id = any($1) and deleted_at is null")
            .bind(ids)
            .fetch_all(executor)
            .await?,
    )
}

/// The status with this ActivityPub id, unless it was deleted.
pub async fn by_uri(
    executor: impl PgExecutor<'_>,
    uri: &str,
) -> Result<Option<Status>, StoreError> {
    Ok(
        sqlx::query_as("select * from statuses where uri = $1 and deleted_at is null")
            .bind(uri)
            .fetch_optional(executor)
            .await?,
    )
}

/// Those of `ids` that `viewer` (nobody when `None`) may read: the one rule of who sees what.
/// Hides deleted posts, posts of suspended accounts, and posts between accounts of which either
/// blocks the other; a boost is seen only when its original is.
pub async fn visible(
    executor: impl PgExecutor<'_>,
    ids: &[i64],
    viewer: Option<i64>,
) -> Result<Vec<Status>, StoreError> {
    Ok(sqlx::query_as(
        "select s.* from statuses s
         join accounts a on a.id = s.account_id
         left join statuses o on o.id = s.reblog_of_id
         left join accounts oa on oa.id = o.account_id
         where s.id = any($1) and s.deleted_at is null
           and a.suspended_at is null and a.deleted_at is null
           and (s.reblog_of_id is null or (o.id is not null and o.deleted_at is null
                and oa.suspended_at is null and oa.deleted_at is null))
           and (s.visibility in ('public', 'unlisted')
                or s.account_id = $2
                or exists (select 1 from mentions m where m.status_id = s.id and m.account_id = $2)
                or (s.visibility = 'private' and exists (
                    select 1 from follows f where f.account_id = $2 and f.target_id = s.account_id
                                              and f.state = 'accepted')))
           and (o.id is null or o.visibility in ('public', 'unlisted') or o.account_id = $2
                or (o.visibility = 'private' and o.account_id = s.account_id))
           and not exists (select 1 from blocks b
                where (b.account_id = $2 and b.target_id in (s.account_id, o.account_id))
                   or (b.target_id = $2 and b.account_id in (s.account_id, o.account_id)))",
    )
    .bind(ids)
    .bind(viewer)
    .fetch_all(executor)
    .await?)
}

/// A local post to insert.
#[derive(Debug, Clone)]
pub struct NewLocalStatus<'a> {
    /// From [`crate::accounts::next_id`].
    pub id: i64,
    /// Its ActivityPub id.
    pub uri: &'a str,
    /// Its page.
    pub url: &'a str,
    /// Its author.
    pub account_id: i64,
    /// As typed.
    pub text: &'a str,
    /// Safe HTML made from `text`.
    pub content: &'a str,
    /// Content warning.
    pub spoiler_text: &'a str,
    /// Who may see it.
    pub visibility: Visibility,
    /// Whether media are hidden at first.
    pub sensitive: bool,
    /// BCP 47 code.
    pub language: Option<&'a str>,
    /// The parent.
    pub in_reply_to: Option<&'a Status>,
    /// The app that posted it.
    pub app_id: Option<i64>,
    /// Mentioned accounts.
    pub mentions: &'a [i64],
    /// Hashtags, lower-case.
    pub tags: &'a [String],
}

/// Inserts a local post with its mentions and hashtags.
pub async fn insert_local(
    connection: &mut PgConnection,
    new: &NewLocalStatus<'_>,
) -> Result<Status, StoreError> {
    let status: Status = sqlx::query_as(
        "insert into statuses (id, uri, url, account_id, local, text, content, spoiler_text,
                               visibility, sensitive, language, in_reply_to_id,
                               in_reply_to_account_id, in_reply_to_uri, app_id)
         values ($1, $2, $3, $4, true, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         returning *",
    )
    .bind(new.id)
    .bind(new.uri)
    .bind(new.url)
    .bind(new.account_id)
    .bind(new.text)
    .bind(new.content)
    .bind(new.spoiler_text)
    .bind(new.visibility.as_str())
    .bind(new.sensitive)
    .bind(new.language)
    .bind(new.in_reply_to.map(|parent| parent.id))
    .bind(new.in_reply_to.map(|parent| parent.account_id))
    .bind(new.in_reply_to.map(|parent| parent.uri.as_str()))
    .bind(new.app_id)
    .fetch_one(&mut *connection)
    .await?;
    attach(connection, status.id, new.mentions, new.tags).await?;
    count_new(connection, &status).await?;
    Ok(status)
}

/// Inserts a remote post; `None` when it is known, or was deleted before it came (B16).
///
/// `author` must be the stored account of `note.attributed_to`. `mentions` are the known
/// accounts among the mentioned; `parent` is the known parent.
pub async fn insert_remote(
    connection: &mut PgConnection,
    note: &RemoteNote,
    author: &Account,
    mentions: &[i64],
    parent: Option<&Status>,
) -> Result<Option<Status>, StoreError> {
    let status: Option<Status> = sqlx::query_as(
        "insert into statuses (uri, url, account_id, local, content, spoiler_text, visibility,
                               sensitive, language, in_reply_to_id, in_reply_to_account_id,
                               in_reply_to_uri, attachments, emojis, created_at)
         select $1, $2, $3, false, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
         where not exists (select 1 from tombstones where uri = $1)
         on conflict (uri) do nothing
         returning *",
    )
    .bind(&note.uri)
    .bind(&note.url)
    .bind(author.id)
    .bind(&note.content)
    .bind(&note.spoiler_text)
    .bind(note.addressing.visibility.as_str())
    .bind(note.sensitive)
    .bind(&note.language)
    .bind(parent.map(|status| status.id))
    .bind(parent.map(|status| status.account_id))
    .bind(&note.in_reply_to)
    .bind(Json(&note.attachments))
    .bind(Json(&note.emojis))
    .bind(note.published)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(status) = &status {
        attach(connection, status.id, mentions, &note.tags).await?;
        count_new(connection, status).await?;
        // Replies that came before their parent find it now, and count as if they had not.
        let adopted = sqlx::query(
            "update statuses set in_reply_to_id = $1, in_reply_to_account_id = $2
             where in_reply_to_uri = $3 and in_reply_to_id is null and deleted_at is null",
        )
        .bind(status.id)
        .bind(status.account_id)
        .bind(&status.uri)
        .execute(&mut *connection)
        .await?
        .rows_affected();
        sqlx::query("update statuses set replies_count = replies_count + $2 where id = $1")
            .bind(status.id)
            .bind(adopted as i64)
            .execute(connection)
            .await?;
    }
    Ok(status)
}

/// Earlier versions that are kept of a remote post: more than people look at, few enough that
/// a post which is edited without end costs little.
const MAX_VERSIONS: i64 = 100;

/// Takes over the edit of a remote post that happened at `updated`, unless the post is gone or
/// an edit at least as new is there already; tells whether it did. The earlier version is kept.
/// Owner, audience and parent are never altered.
pub async fn update_remote(
    connection: &mut PgConnection,
    id: i64,
    note: &RemoteNote,
    updated: OffsetDateTime,
) -> Result<bool, StoreError> {
    sqlx::query(
        "insert into status_edits (status_id, content, spoiler_text, sensitive, created_at)
         select s.id, s.content, s.spoiler_text, s.sensitive, coalesce(s.edited_at, s.created_at)
         from (select * from statuses
               where id = $1 and not local and deleted_at is null
                 and coalesce(edited_at, created_at) < $2
               for update) s
         where (select count(*) from status_edits e where e.status_id = s.id) < $3",
    )
    .bind(id)
    .bind(updated)
    .bind(MAX_VERSIONS)
    .execute(&mut *connection)
    .await?;
    let changed = sqlx::query(
        "update statuses set content = $2, spoiler_text = $3, sensitive = $4, language = $5,
                             url = $6, attachments = $7, emojis = $8, edited_at = $9
         where id = $1 and not local and deleted_at is null
           and coalesce(edited_at, created_at) < $9",
    )
    .bind(id)
    .bind(&note.content)
    .bind(&note.spoiler_text)
    .bind(note.sensitive)
    .bind(&note.language)
    .bind(&note.url)
    .bind(Json(&note.attachments))
    .bind(Json(&note.emojis))
    .bind(updated)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if changed == 1 {
        sqlx::query("delete from status_tags where status_id = $1")
            .bind(id)
            .execute(&mut *connection)
            .await?;
        attach(connection, id, &[], &note.tags).await?;
    }
    Ok(changed == 1)
}

/// Inserts a boost of `original` by `account_id`; `None` when it is there already.
/// `id` and `uri` are new ones for a local boost; a remote one brings its activity's id.
pub async fn insert_reblog(
    connection: &mut PgConnection,
    account_id: i64,
    local: bool,
    original: &Status,
    id: i64,
    uri: &str,
    visibility: Visibility,
) -> Result<Option<Status>, StoreError> {
    let status: Option<Status> = sqlx::query_as(
        "insert into statuses (id, uri, account_id, local, visibility, reblog_of_id)
         select $1, $2, $3, $4, $5, $6
         where not exists (select 1 from tombstones where uri = $2)
         on conflict do nothing
         returning *",
    )
    .bind(id)
    .bind(uri)
    .bind(account_id)
    .bind(local)
    .bind(visibility.as_str())
    .bind(original.id)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(status) = &status {
        count_new(connection, status).await?;
    }
    Ok(status)
}

/// Marks a post as deleted, leaves a tombstone, and takes its boosts with it. Returns the row as
/// it was; `None` when it was deleted before. Later reads do not find it; planning and delivery
/// of its earlier activities stop.
pub async fn delete(connection: &mut PgConnection, id: i64) -> Result<Option<Status>, StoreError> {
    // The author first, as a new answer to this post locks them; or the two could deadlock.
    sqlx::query(
        "select 1 from accounts where id = (select account_id from statuses where id = $1)
         for no key update",
    )
    .bind(id)
    .execute(&mut *connection)
    .await?;
    let status: Option<Status> = sqlx::query_as(
        "update statuses set deleted_at = now() where id = $1 and deleted_at is null returning *",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(status) = status else {
        return Ok(None);
    };
    sqlx::query("insert into tombstones (uri, account_id) values ($1, $2) on conflict do nothing")
        .bind(&status.uri)
        .bind(status.account_id)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "update statuses set deleted_at = now() where reblog_of_id = $1 and deleted_at is null",
    )
    .bind(id)
    .execute(&mut *connection)
    .await?;
    // A notification of a boost points at the original and has the boost as its source.
    sqlx::query(
        "delete from notifications
         where status_id = $1 or (source_id = $1 and kind = 'reblog')",
    )
    .bind(id)
    .execute(&mut *connection)
    .await?;
    count(connection, &status, -1).await?;
    Ok(Some(status))
}

async fn attach(
    connection: &mut PgConnection,
    status_id: i64,
    mentions: &[i64],
    tags: &[String],
) -> Result<(), StoreError> {
    if !mentions.is_empty() {
        sqlx::query(
            "insert into mentions (status_id, account_id)
             select $1, unnest($2::bigint[]) on conflict do nothing",
        )
        .bind(status_id)
        .bind(mentions)
        .execute(&mut *connection)
        .await?;
    }
    if !tags.is_empty() {
        sqlx::query(
            "insert into status_tags (status_id, name)
             select $1, unnest($2::text[]) on conflict do nothing",
        )
        .bind(status_id)
        .bind(tags)
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn count_new(connection: &mut PgConnection, status: &Status) -> Result<(), StoreError> {
    count(connection, status, 1).await?;
    sqlx::query("update accounts set last_status_at = now() where id = $1")
        .bind(status.account_id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps the counters of author, parent and original in step.
async fn count(connection: &mut PgConnection, status: &Status, by: i64) -> Result<(), StoreError> {
    if status.visibility().reaches_followers() {
        sqlx::query(
            "update accounts set statuses_count = greatest(0, statuses_count + $2) where id = $1",
        )
        .bind(status.account_id)
        .bind(by)
        .execute(&mut *connection)
        .await?;
    }
    if let Some(parent) = status.in_reply_to_id {
        sqlx::query(
            "update statuses set replies_count = greatest(0, replies_count + $2) where id = $1",
        )
        .bind(parent)
        .bind(by)
        .execute(&mut *connection)
        .await?;
    }
    if let Some(original) = status.reblog_of_id {
        sqlx::query(
            "update statuses set reblogs_count = greatest(0, reblogs_count + $2) where id = $1",
        )
        .bind(original)
        .bind(by)
        .execute(connection)
        .await?;
    }
    Ok(())
}
