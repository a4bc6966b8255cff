//! Whom a remote post concerns here. What concerns nobody is not stored.

use sqlx::PgPool;
use tidegate_model::{RemoteNote, Visibility};
use tidegate_store::accounts::{self, Account};
use tidegate_store::statuses;

use super::context::Halt;
use crate::FanoutDeps;

/// Local accounts that a post names or addresses.
#[derive(Debug, Default)]
pub(super) struct Addressed {
    /// Named in the text.
    pub(super) mentioned: Vec<i64>,
    /// Addressed only; they may read it all the same.
    pub(super) silent: Vec<i64>,
}

impl Addressed {
    pub(super) fn is_empty(&self) -> bool {
        self.mentioned.is_empty() && self.silent.is_empty()
    }
}

/// Finds the local accounts among those that the note mentions and addresses.
pub(super) async fn addressed(deps: &FanoutDeps, note: &RemoteNote) -> Result<Addressed, Halt> {
    let mut found = Addressed::default();
    let uris: Vec<&String> = note
        .mentions
        .iter()
        .chain(&note.addressing.recipients)
        .filter(|uri| deps.instance.owns(uri))
        .collect();
    if uris.is_empty() {
        return Ok(found);
    }
    let ids: Vec<i64> = sqlx::query_scalar("select id from accounts where uri = any($1)")
        .bind(&uris)
        .fetch_all(&deps.pool)
        .await?;
    let mut named = accounts::by_ids(&deps.pool, &ids).await?;
    named.sort_by_key(|account| account.id);
    for account in named {
        if !is_person_here(&account) {
            continue;
        }
        if note.mentions.contains(&account.uri) {
            found.mentioned.push(account.id);
        } else {
            found.silent.push(account.id);
        }
    }
    Ok(found)
}

/// Whether the account is one of our users, and may act.
pub(super) fn is_person_here(account: &Account) -> bool {
    account.is_local() && account.suspended_at.is_none() && account.actor_type != "Application"
}

/// Whether somebody here follows the account.
pub(super) async fn has_local_follower(pool: &PgPool, account_id: i64) -> Result<bool, Halt> {
    Ok(sqlx::query_scalar(
        "select exists (select 1 from follows
             where target_id = $1 and state = 'accepted' and inbox_id is null)",
    )
    .bind(account_id)
    .fetch_one(pool)
    .await?)
}

/// Whether the post concerns anybody here: it addresses them, or its author is followed here,
/// or it answers a post that is ours or whose author is followed here.
pub(super) async fn concerns_us(
    pool: &PgPool,
    note: &RemoteNote,
    author_id: i64,
    addressed: &Addressed,
) -> Result<bool, Halt> {
    if !addressed.is_empty() {
        return Ok(true);
    }
    if note.addressing.visibility == Visibility::Direct {
        return Ok(false);
    }
    if has_local_follower(pool, author_id).await? {
        return Ok(true);
    }
    if !note.addressing.visibility.is_open() {
        return Ok(false);
    }
    let Some(parent) = &note.in_reply_to else {
        return Ok(false);
    };
    match statuses::by_uri(pool, parent).await? {
        Some(parent) if parent.local => Ok(true),
        Some(parent) => has_local_follower(pool, parent.account_id).await,
        None => Ok(false),
    }
}
