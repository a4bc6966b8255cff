//! Posts with everything that a client shows beside them.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use tidegate_federation::html::{hashtag_url, sanitize};
use tidegate_model::Instance;
use tidegate_store::accounts::Account as AccountRow;
use tidegate_store::statuses::{self, Status as Row};
use tidegate_store::{StoreError, accounts};

use crate::client::entities::{
    Application, Content, Mention, QuoteApproval, Status, StatusTag, ViewerFlags, account,
    datetime, emoji, media,
};

/// What a batch of posts needs, loaded with six statements at most.
struct Batch<'a> {
    instance: &'a Instance,
    viewer: Option<i64>,
    originals: HashMap<i64, Row>,
    accounts: HashMap<i64, AccountRow>,
    mentions: HashMap<i64, Vec<Mention>>,
    tags: HashMap<i64, Vec<StatusTag>>,
    apps: HashMap<i64, (String, Option<String>)>,
    favourited: HashSet<i64>,
    reblogged: HashSet<i64>,
    bookmarked: HashSet<i64>,
}

/// Renders rows that the viewer may see, in their order. A row whose author or original is gone
/// in the meantime is left out.
pub(crate) async fn statuses(
    connection: &mut PgConnection,
    instance: &Instance,
    viewer: Option<i64>,
    rows: &[Row],
) -> Result<Vec<Status>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let batch = Batch::load(connection, instance, viewer, rows).await?;
    Ok(rows.iter().filter_map(|row| batch.render(row)).collect())
}

/// Renders one row.
pub(crate) async fn status(
    connection: &mut PgConnection,
    instance: &Instance,
    viewer: Option<i64>,
    row: &Row,
) -> Result<Status, StoreError> {
    statuses(connection, instance, viewer, std::slice::from_ref(row))
        .await?
        .pop()
        .ok_or(StoreError::NotFound)
}

/// Those of `ids` that the viewer may see, rendered in the order of `ids`.
pub(crate) async fn visible_in_order(
    connection: &mut PgConnection,
    instance: &Instance,
    viewer: Option<i64>,
    ids: &[i64],
) -> Result<Vec<Status>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: HashMap<i64, Row> = statuses::visible(&mut *connection, ids, viewer)
        .await?
        .into_iter()
        .map(|row| (row.id, row))
        .collect();
    let rows: Vec<Row> = ids.iter().filter_map(|id| found.remove(id)).collect();
    self::statuses(connection, instance, viewer, &rows).await
}

impl<'a> Batch<'a> {
    async fn load(
        connection: &mut PgConnection,
        instance: &'a Instance,
        viewer: Option<i64>,
        rows: &[Row],
    ) -> Result<Self, StoreError> {
        let original_ids: Vec<i64> = rows.iter().filter_map(|row| row.reblog_of_id).collect();
        let originals: HashMap<i64, Row> = if original_ids.is_empty() {
            HashMap::new()
        } else {
            statuses::by_ids(&mut *connection, &original_ids)
                .await?
                .into_iter()
                .map(|row| (row.id, row))
                .collect()
        };
        let all = || rows.iter().chain(originals.values());
        let ids: Vec<i64> = all().map(|row| row.id).collect();
        let authors: HashSet<i64> = all().map(|row| row.account_id).collect();
        let authors: Vec<i64> = authors.into_iter().collect();
        let app_ids: Vec<i64> = all().filter_map(|row| row.app_id).collect();
        let accounts = accounts::by_ids(&mut *connection, &authors)
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
        let mentions = mentions_of(&mut *connection, &ids).await?;
        let tags = tags_of(&mut *connection, instance, &ids).await?;
        let apps = apps_of(&mut *connection, &app_ids).await?;
        let mut batch = Self {
            instance,
            viewer,
            originals,
            accounts,
            mentions,
            tags,
            apps,
            favourited: HashSet::new(),
            reblogged: HashSet::new(),
            bookmarked: HashSet::new(),
        };
        if let Some(viewer) = viewer {
            batch.load_flags(connection, viewer, &ids).await?;
        }
        Ok(batch)
    }

    async fn load_flags(
        &mut self,
        connection: &mut PgConnection,
        viewer: i64,
        ids: &[i64],
    ) -> Result<(), StoreError> {
        let flags: Vec<(i64, bool, bool, bool)> = sqlx::query_as(
            "select s.id,
                 exists (select 1 from favourites f where f.account_id = $1 and f.status_id = s.id),
                 exists (select 1 from bookmarks b where b.account_id = $1 and b.status_id = s.id),
                 exists (select 1 from statuses r where r.account_id = $1 and r.reblog_of_id = s.id
                                                    and r.deleted_at is null)
             from unnest($2::bigint[]) as s (id)",
        )
        .bind(viewer)
        .bind(ids)
        .fetch_all(connection)
        .await?;
        for (id, favourited, bookmarked, reblogged) in flags {
            if favourited {
                self.favourited.insert(id);
            }
            if bookmarked {
                self.bookmarked.insert(id);
            }
            if reblogged {
                self.reblogged.insert(id);
            }
        }
        Ok(())
    }

    /// A boost, with its original inside; or a post.
    fn render(&self, row: &Row) -> Option<Status> {
        let Some(original_id) = row.reblog_of_id else {
            return self.render_one(row, row);
        };
        let original = self.originals.get(&original_id)?;
        let inner = self.render_one(original, original)?;
        let mut outer = self.render_one(row, original)?;
        outer.reblog = Some(Box::new(inner));
        Some(outer)
    }

    /// Renders `row` with the words of `shown`: a boost repeats what its original says.
    fn render_one(&self, row: &Row, shown: &Row) -> Option<Status> {
        let author = self.accounts.get(&row.account_id)?;
        Some(Status {
            id: row.id.to_string(),
            created_at: datetime(row.created_at),
            in_reply_to_id: row.in_reply_to_id.map(|id| id.to_string()),
            in_reply_to_account_id: row.in_reply_to_account_id.map(|id| id.to_string()),
            sensitive: shown.sensitive,
            spoiler_text: shown.spoiler_text.clone(),
            visibility: row.visibility().as_str(),
            language: shown.language.clone(),
            uri: row.uri.clone(),
            url: page_of(row),
            replies_count: shown.replies_count,
            reblogs_count: shown.reblogs_count,
            favourites_count: shown.favourites_count,
            quotes_count: 0,
            edited_at: shown.edited_at.map(datetime),
            body: Content::Content(safe(shown, &shown.content)),
            reblog: None,
            application: self.application(row),
            account: account(author, self.instance),
            media_attachments: shown
                .attachments
                .iter()
                .enumerate()
                .map(|(index, stored)| media(shown.id, index, stored))
                .collect(),
            mentions: self.mentions.get(&shown.id).cloned().unwrap_or_default(),
            tags: self.tags.get(&shown.id).cloned().unwrap_or_default(),
            emojis: shown.emojis.iter().map(emoji).collect(),
            tagged_collections: [],
            card: None,
            poll: None,
            quote: None,
            quote_approval: QuoteApproval::default(),
            viewer: self.viewer.map(|viewer| self.flags(row, shown, viewer)),
        })
    }

    /// A boost carries the flags of its original: the buttons below it act on that.
    fn flags(&self, row: &Row, shown: &Row, viewer: i64) -> ViewerFlags {
        let pinnable = row.account_id == viewer
            && row.reblog_of_id.is_none()
            && row.visibility().reaches_followers();
        ViewerFlags {
            favourited: self.favourited.contains(&shown.id),
            reblogged: self.reblogged.contains(&shown.id),
            muted: false,
            bookmarked: self.bookmarked.contains(&shown.id),
            pinned: pinnable.then_some(false),
            filtered: [],
        }
    }

    fn application(&self, row: &Row) -> Option<Application> {
        let (name, website) = self.apps.get(&row.app_id?)?;
        Some(Application {
            name: name.clone(),
            website: website.clone(),
        })
    }
}

/// The page of a post. A remote one without a page of its own is read at its id; a boost has
/// none.
fn page_of(row: &Row) -> Option<String> {
    match (&row.url, row.reblog_of_id) {
        (Some(url), _) => Some(url.clone()),
        (None, None) => Some(row.uri.clone()),
        (None, Some(_)) => None,
    }
}

#[derive(sqlx::FromRow)]
struct MentionRow {
    status_id: i64,
    id: i64,
    username: String,
    domain: Option<String>,
    url: String,
}

async fn mentions_of(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<HashMap<i64, Vec<Mention>>, StoreError> {
    let rows: Vec<MentionRow> = sqlx::query_as(
        "select m.status_id, a.id, a.username, a.domain, a.url
         from mentions m join accounts a on a.id = m.account_id
         where m.status_id = any($1) and not m.silent and a.deleted_at is null
         order by m.status_id, a.id",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let mut found: HashMap<i64, Vec<Mention>> = HashMap::new();
    for row in rows {
        let acct = match row.domain {
            Some(domain) => format!("{}@{domain}", row.username),
            None => row.username.clone(),
        };
        found.entry(row.status_id).or_default().push(Mention {
            id: row.id.to_string(),
            username: row.username,
            url: row.url,
            acct,
        });
    }
    Ok(found)
}

async fn tags_of(
    connection: &mut PgConnection,
    instance: &Instance,
    ids: &[i64],
) -> Result<HashMap<i64, Vec<StatusTag>>, StoreError> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "select status_id, name from status_tags where status_id = any($1) order by status_id, name",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let mut found: HashMap<i64, Vec<StatusTag>> = HashMap::new();
    for (status_id, name) in rows {
        let url = hashtag_url(instance, &name);
        found
            .entry(status_id)
            .or_default()
            .push(StatusTag { name, url });
    }
    Ok(found)
}

async fn apps_of(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<HashMap<i64, (String, Option<String>)>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(i64, String, Option<String>)> =
        sqlx::query_as("select id, name, website from apps where id = any($1)")
            .bind(ids)
            .fetch_all(connection)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(id, name, website)| (id, (name, website)))
        .collect())
}

/// A version of a post's words as HTML. What came from elsewhere was made safe when it was
/// stored, and is again: no row that got in another way runs a script in an app (R9). Ours we made
/// ourselves.
pub(crate) fn safe(row: &Row, content: &str) -> String {
    if row.local {
        content.to_owned()
    } else {
        sanitize(content)
    }
}
