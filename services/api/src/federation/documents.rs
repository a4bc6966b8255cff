//! From rows to the documents that we publish.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::PgConnection;
use tidegate_federation::{
    document::{self, ActorDoc, Boost, MentionDoc, NoteDoc},
    html,
};
use tidegate_model::{Instance, RemoteField};
use tidegate_store::{
    StoreError,
    accounts::{self, Account},
    statuses::{self, Status},
};

use crate::client::field_value;

/// The actor document's contents.
pub(crate) async fn actor(
    connection: &mut PgConnection,
    us: &Instance,
    account: &Account,
) -> Result<ActorDoc, StoreError> {
    let keys = accounts::keys_of(connection, account.id).await?;
    let present = |url: &String| (!url.is_empty()).then(|| url.clone());
    Ok(ActorDoc {
        username: account.username.clone(),
        display_name: account.display_name.clone(),
        note_html: html::format_status(&account.note, &[], us),
        bot: account.bot,
        locked: account.locked,
        discoverable: account.discoverable.unwrap_or(false),
        indexable: account.indexable,
        created_at: account.created_at,
        fields: account
            .fields
            .iter()
            .map(|field| RemoteField {
                name: field.name.clone(),
                value: field_value(&field.value, us),
            })
            .collect(),
        avatar_url: present(&account.avatar_url),
        header_url: present(&account.header_url),
        public_key_pem: account.public_key_pem.clone(),
        ed25519_public: keys.map(|keys| keys.ed25519_public),
    })
}

/// The contents of `posts`, all by `author`, in their order, with a constant number of queries.
pub(super) async fn notes(
    connection: &mut PgConnection,
    author: &Account,
    posts: &[Status],
) -> Result<Vec<NoteDoc>, StoreError> {
    let ids: Vec<i64> = posts.iter().map(|post| post.id).collect();
    let mentioned: Vec<(i64, String, String, Option<String>)> = sqlx::query_as(
        "select m.status_id, a.uri, a.username, a.domain
         from mentions m join accounts a on a.id = m.account_id
         where m.status_id = any($1) order by m.status_id, a.id",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    let tagged: Vec<(i64, String)> = sqlx::query_as(
        "select status_id, name from status_tags where status_id = any($1)
         order by status_id, name",
    )
    .bind(&ids)
    .fetch_all(connection)
    .await?;
    let mut mentions: HashMap<i64, Vec<MentionDoc>> = HashMap::new();
    for (status_id, uri, username, domain) in mentioned {
        let acct = match domain {
            Some(domain) => format!("{username}@{domain}"),
            None => username,
        };
        let mention = MentionDoc { uri, acct };
        mentions.entry(status_id).or_default().push(mention);
    }
    let mut tags: HashMap<i64, Vec<String>> = HashMap::new();
    for (status_id, name) in tagged {
        tags.entry(status_id).or_default().push(name);
    }
    Ok(posts
        .iter()
        .map(|post| NoteDoc {
            id: post.id,
            username: author.username.clone(),
            content: post.content.clone(),
            spoiler_text: post.spoiler_text.clone(),
            sensitive: post.sensitive,
            language: post.language.clone(),
            visibility: post.visibility(),
            mentions: mentions.remove(&post.id).unwrap_or_default(),
            tags: tags.remove(&post.id).unwrap_or_default(),
            in_reply_to: post.in_reply_to_uri.clone(),
            published: post.created_at,
            updated: post.edited_at,
            attachments: post.attachments.to_vec(),
        })
        .collect())
}

/// The activities that made `rows`, all by `author`, in their order: Create for posts, Announce
/// for boosts. A boost whose original is gone is left out.
pub(super) async fn activities(
    connection: &mut PgConnection,
    us: &Instance,
    author: &Account,
    rows: &[Status],
) -> Result<Vec<Value>, StoreError> {
    let (boosts, posts): (Vec<&Status>, Vec<&Status>) =
        rows.iter().partition(|row| row.reblog_of_id.is_some());
    let posts: Vec<Status> = posts.into_iter().cloned().collect();
    let originals: Vec<i64> = boosts.iter().filter_map(|row| row.reblog_of_id).collect();
    let originals = statuses::by_ids(&mut *connection, &originals).await?;
    let authors: Vec<i64> = originals.iter().map(|post| post.account_id).collect();
    let authors = accounts::by_ids(&mut *connection, &authors).await?;
    let mut documents: HashMap<i64, Value> = notes(connection, author, &posts)
        .await?
        .iter()
        .map(|note| (note.id, document::create(us, note)))
        .collect();
    for row in boosts {
        let original = originals
            .iter()
            .find(|post| Some(post.id) == row.reblog_of_id);
        let by = original.and_then(|post| authors.iter().find(|one| one.id == post.account_id));
        if let (Some(original), Some(by)) = (original, by) {
            let boost = Boost {
                id: row.id,
                username: author.username.clone(),
                object: original.uri.clone(),
                author: by.uri.clone(),
                visibility: row.visibility(),
                published: row.created_at,
            };
            documents.insert(row.id, document::announce(us, &boost));
        }
    }
    Ok(rows
        .iter()
        .filter_map(|row| documents.remove(&row.id))
        .collect())
}
