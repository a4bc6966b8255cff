//! Who follows whom. A follow counts only once it is accepted (rule R11).

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
/// Follow that its sender remembers.
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
    let existing: Follow = sqlx::query_as(
        "update follows set uri = case when $4 then $3 else uri end
         where account_id = $1 and target_id = $2 returning *",
    )
    .bind(follower.id)
    .bind(target.id)
    .bind(uri)
    .bind(!follower.is_local())
    .fetch_one(connection)
    .await?;
    Ok((existing, false))
}

/// Marks a pending follow as accepted; `false` when it was accepted before.
pub async fn accept(connection: &mut PgConnection, follow: &Follow) -> Result<bool, StoreError> {
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

/// Keeps the two counters in step. Rows are locked in the order of their ids, so that two
/// people who follow each other at once cannot deadlock.
async fn count(
    connection: &mut PgConnection,
    account_id: i64,
    target_id: i64,
    by: i64,
) -> Result<(), StoreError> {
    sqlx::query("select 1 from accounts where id in ($1, $2) order by id for no key update")
        .bind(account_id)
        .bind(target_id)
        .execute(&mut *connection)
        .await?;
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
