//! Who follows whom. A follow counts only once it is accepted (rule R11).
//!
//! Whatever changes a follow locks the two accounts first, in the order of their ids, and the
//! follow after: the order in which a refreshed actor moves its follows to its new inbox.

use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

use crate::{StoreError, accounts::Account, inboxes};

/// A row of `follows`.
#[derive(Debug, Clone, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
pub struct Follow {
    pub id: i64,
    pub account_id: i64,
    pub target_id: i64,
    pub uri: String,
    pub state: String,
    pub inbox_id: Option<i64>,
    pub show_reblogs: bool,
    pub notify: bool,
    pub languages: Option<Vec<String>>,
    pub created_at: OffsetDateTime,
}

impl Follow {
    /// Whether the followed agreed.
    pub fn is_accepted(&self) -> bool {
        self.state == "accepted"
    }
}

/// The follow from one account to another, in either state.
pub async fn between(
    executor: impl PgExecutor<'_>,
    account_id: i64,
    target_id: i64,
) -> Result<Option<Follow>, StoreError> {
    Ok(
        sqlx::query_as("select * from follows where account_id = $1 and target_id = $2")
            .bind(account_id)
            .bind(target_id)
            .fetch_optional(executor)
            .await?,
    )
}

/// The follow with this activity id.
pub async fn by_uri(
    executor: impl PgExecutor<'_>,
    uri: &str,
) -> Result<Option<Follow>, StoreError> {
    Ok(sqlx::query_as("select * from follows where uri = $1")
        .bind(uri)
        .fetch_optional(executor)
        .await?)
}

/// Inserts a follow, or returns the one there is; the flag tells whether it is new. A repeat by
/// a remote follower with a new activity id takes the new id, so that our Accept names the
/// Follow that its sender remembers. One that is pending is accepted when `accepted` is asked:
/// the followed has stopped deciding by hand since.
pub async fn request(
    connection: &mut PgConnection,
    follower: &Account,
    target: &Account,
    uri: &str,
    accepted: bool,
) -> Result<(Follow, bool), StoreError> {
    let inbox_id = if follower.is_local() {
        None
    } else {
        inboxes::intern(
            connection,
            follower.preferred_inbox(),
            follower.shared_inbox_url.is_some(),
        )
        .await?
    };
    lock(connection, &[follower.id, target.id]).await?;
    let inserted: Option<Follow> = sqlx::query_as(
        "insert into follows (account_id, target_id, uri, state, inbox_id)
         values ($1, $2, $3, $4, $5)
         on conflict (account_id, target_id) do nothing
         returning *",
    )
    .bind(follower.id)
    .bind(target.id)
    .bind(uri)
    .bind(if accepted { "accepted" } else { "pending" })
    .bind(inbox_id)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(follow) = inserted {
        if accepted {
            count(connection, follower.id, target.id, 1).await?;
        }
        return Ok((follow, true));
    }
    let mut existing: Follow = sqlx::query_as(
        "update follows set uri = case when $4 then $3 else uri end
         where account_id = $1 and target_id = $2 returning *",
    )
    .bind(follower.id)
    .bind(target.id)
    .bind(uri)
    .bind(!follower.is_local())
    .fetch_one(&mut *connection)
    .await?;
    if accepted && accept(connection, &existing).await? {
        "accepted".clone_into(&mut existing.state);
    }
    Ok((existing, false))
}

/// Marks a pending follow as accepted; `false` when it was accepted before.
pub async fn accept(connection: &mut PgConnection, follow: &Follow) -> Result<bool, StoreError> {
    lock(connection, &[follow.account_id, follow.target_id]).await?;
    let changed =
        sqlx::query("update follows set state = 'accepted' where id = $1 and state = 'pending'")
            .bind(follow.id)
            .execute(&mut *connection)
            .await?
            .rows_affected();
    if changed == 1 {
        count(connection, follow.account_id, follow.target_id, 1).await?;
    }
    Ok(changed == 1)
}

/// Removes the follow from one account to another and returns it as it was.
pub async fn remove(
    connection: &mut PgConnection,
    account_id: i64,
    target_id: i64,
) -> Result<Option<Follow>, StoreError> {
    lock(connection, &[account_id, target_id]).await?;
    let removed: Option<Follow> =
        sqlx::query_as("delete from follows where account_id = $1 and target_id = $2 returning *")
            .bind(account_id)
            .bind(target_id)
            .fetch_optional(&mut *connection)
            .await?;
    if removed.as_ref().is_some_and(Follow::is_accepted) {
        count(connection, account_id, target_id, -1).await?;
    }
    Ok(removed)
}

/// Removes at most `limit` follows of and by one account, with their share in the counters, and
/// returns how many there were. For an account that goes: one batch is one short transaction.
pub async fn remove_batch(
    connection: &mut PgConnection,
    account_id: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let batch: Vec<(i64, i64, i64)> = sqlx::query_as(
        "select id, account_id, target_id from follows
         where account_id = $1 or target_id = $1
         order by case when account_id = $1 then target_id else account_id end limit $2",
    )
    .bind(account_id)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let ids: Vec<i64> = batch.iter().map(|(id, ..)| *id).collect();
    let people: Vec<i64> = batch
        .iter()
        .flat_map(|(_, one, other)| [*one, *other])
        .collect();
    lock(connection, &people).await?;
    sqlx::query(
        "with gone as (
             delete from follows where id = any($1) returning account_id, target_id, state
         ), ends as (
             select id, sum(following) as following, sum(followers) as followers
             from gone
             cross join lateral (values (account_id, 1, 0), (target_id, 0, 1))
                  as side (id, following, followers)
             where state = 'accepted' group by id
         )
         update accounts a set
             following_count = greatest(0, a.following_count - ends.following),
             followers_count = greatest(0, a.followers_count - ends.followers)
         from ends where a.id = ends.id",
    )
    .bind(&ids)
    .execute(connection)
    .await?;
    Ok(ids.len() as u64)
}

/// Local accounts that follow `target_id`, from `start` on, by account id.
pub async fn local_followers(
    executor: impl PgExecutor<'_>,
    target_id: i64,
    start: i64,
    end: i64,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "select account_id from follows
         where target_id = $1 and account_id between $2 and $3
           and state = 'accepted' and inbox_id is null
         order by account_id limit $4",
    )
    .bind(target_id)
    .bind(start)
    .bind(end)
    .bind(limit)
    .fetch_all(executor)
    .await?)
}

/// Locks accounts in the order of their ids, so that two people who follow each other at once
/// cannot deadlock.
async fn lock(connection: &mut PgConnection, ids: &[i64]) -> Result<(), StoreError> {
    sqlx::query("select 1 from accounts where id = any($1) order by id for no key update")
        .bind(ids)
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps the two counters in step; both accounts are locked.
async fn count(
    connection: &mut PgConnection,
    account_id: i64,
    target_id: i64,
    by: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "update accounts set
             following_count = following_count + case when id = $1 then $3 else 0 end,
             followers_count = followers_count + case when id = $2 then $3 else 0 end
         where id in ($1, $2)",
    )
    .bind(account_id)
    .bind(target_id)
    .bind(by)
    .execute(connection)
    .await?;
    Ok(())
}
