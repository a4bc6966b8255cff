//! From typed text to a post: its length, its mentions and hashtags, its HTML, its document.

use futures::future::join_all;
use sqlx::PgConnection;
use tidegate_federation::document::{MentionDoc, NoteDoc};
use tidegate_federation::html::{self, MentionLink};
use tidegate_store::StoreError;
use tidegate_store::accounts::Account;
use tidegate_store::statuses::Status;
use tokio::time::timeout;

use super::{limits, resolve};
use crate::client::handle::Handle;
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// A text that was read.
#[derive(Debug, Clone)]
pub(crate) struct Composed {
    /// Safe HTML.
    pub(crate) content: String,
    /// Known accounts that the text names, in its order.
    pub(crate) mentions: Vec<Account>,
    /// Lower-case, without #.
    pub(crate) tags: Vec<String>,
}

/// 422 unless the text may be posted.
pub(crate) fn validate(text: &str, spoiler_text: &str, max: usize) -> ApiResult<()> {
    if text.trim().is_empty() {
        return Err(ApiError::validation("Text can't be blank"));
    }
    if html::count_characters(text, spoiler_text) > max {
        return Err(ApiError::validation(&format!(
            "Text character limit of {max} exceeded"
        )));
    }
    Ok(())
}

/// Reads a text. Handles that are not known here are looked up where they live, within bounds;
/// those that are not found stay plain text. Holds no connection while it waits.
pub(crate) async fn compose(app: &App, author: &Account, text: &str) -> ApiResult<Composed> {
    let us = &app.deps.instance;
    let mut handles: Vec<Handle> = Vec::new();
    for (username, domain) in html::mentions_in(text) {
        let spelled = match domain {
            Some(domain) => format!("{username}@{domain}"),
            None => username,
        };
        if let Some(handle) = Handle::parse(&spelled, us)
            && !handles.contains(&handle)
        {
            handles.push(handle);
        }
    }
    handles.truncate(limits::MENTIONS);
    let mentions = mentioned(app, author, &handles).await?;
    let links: Vec<MentionLink> = mentions
        .iter()
        .map(|account| MentionLink {
            username: account.username.clone(),
            domain: account.domain.clone(),
            url: account.url.clone(),
        })
        .collect();
    Ok(Composed {
        content: html::format_status(text, &links, us),
        mentions,
        tags: html::hashtags_in(text),
    })
}

async fn mentioned(app: &App, author: &Account, handles: &[Handle]) -> ApiResult<Vec<Account>> {
    if handles.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = known(app, handles).await?;
    let unknown: Vec<String> = handles
        .iter()
        .filter(|handle| !found.iter().any(|account| is(account, handle)))
        .filter_map(Handle::remote)
        .take(limits::UNKNOWN_MENTIONS)
        .collect();
    if !unknown.is_empty() {
        let lookups = join_all(unknown.iter().map(|handle| resolve::remote(app, handle)));
        if timeout(limits::UNKNOWN_MENTIONS_TIME, lookups)
            .await
            .is_err()
        {
            tracing::debug!("mentioned accounts were not all found in time");
        }
        // What was found is stored, also when others of the batch were too slow.
        found = known(app, handles).await?;
    }
    found.retain(|account| account.suspended_at.is_none() || account.id == author.id);
    // In the order of the text.
    found.sort_by_key(|account| handles.iter().position(|handle| is(account, handle)));
    Ok(found)
}

async fn known(app: &App, handles: &[Handle]) -> Result<Vec<Account>, StoreError> {
    let names: Vec<String> = handles
        .iter()
        .map(|handle| handle.username.to_lowercase())
        .collect();
    let domains: Vec<String> = handles
        .iter()
        .map(|handle| handle.domain.clone().unwrap_or_default())
        .collect();
    Ok(sqlx::query_as(
        "select a.* from unnest($1::text[], $2::text[]) as wanted (username, domain)
         join accounts a on lower(a.username) = wanted.username
                        and lower(coalesce(a.domain, '')) = wanted.domain
         where a.deleted_at is null",
    )
    .bind(names)
    .bind(domains)
    .fetch_all(&app.deps.pool)
    .await?)
}

fn is(account: &Account, handle: &Handle) -> bool {
    account.domain == handle.domain && account.username.eq_ignore_ascii_case(&handle.username)
}

/// The accounts that an activity about a post goes to beside followers: the mentioned, and, for
/// an open post, the author that it answers. A narrower post goes to nobody who is not
/// addressed in it (rule R11).
pub(crate) fn named(status: &Status, mentions: &[i64]) -> Vec<i64> {
    let mut named = mentions.to_vec();
    if status.visibility().is_open()
        && let Some(parent) = status.in_reply_to_account_id
        && parent != status.account_id
        && !named.contains(&parent)
    {
        named.push(parent);
    }
    named
}

/// Everybody whom a stored post mentions, silently or not.
pub(crate) async fn mention_ids(
    connection: &mut PgConnection,
    status_id: i64,
) -> Result<Vec<i64>, StoreError> {
    Ok(
        sqlx::query_scalar("select account_id from mentions where status_id = $1")
            .bind(status_id)
            .fetch_all(connection)
            .await?,
    )
}

/// A post as it is published.
pub(crate) fn note_doc(
    author: &Account,
    status: &Status,
    mentions: &[Account],
    tags: &[String],
) -> NoteDoc {
    NoteDoc {
        id: status.id,
        username: author.username.clone(),
        content: status.content.clone(),
        spoiler_text: status.spoiler_text.clone(),
        sensitive: status.sensitive,
        language: status.language.clone(),
        visibility: status.visibility(),
        mentions: mentions
            .iter()
            .map(|account| MentionDoc {
                uri: account.uri.clone(),
                acct: account.acct(),
            })
            .collect(),
        tags: tags.to_vec(),
        in_reply_to: status.in_reply_to_uri.clone(),
        published: status.created_at,
        updated: status.edited_at,
        attachments: status.attachments.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_within_the_limit_may_be_posted() {
        assert!(validate("hello", "", 500).is_ok());
        assert!(validate(" \n", "warning", 500).is_err());
        assert!(validate(&"x".repeat(500), "", 500).is_ok());
        assert!(validate(&"x".repeat(500), "y", 500).is_err());
    }
}
