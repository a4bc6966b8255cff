//! From the audience that an activity names to `deliveries` rows.

use std::collections::HashSet;

use tidegate_model::{host_of, shard_of};
use tidegate_store::{accounts, inboxes, shards};

use super::Activity;
use crate::FanoutDeps;
use crate::trouble::Trouble;

/// Rows per statement: large enough that a row costs microseconds, small enough that the lock on
/// the activity and the connection are held for milliseconds.
const BATCH: usize = 1_000;

/// Inserts what is missing of the activity's rows and returns how many were.
pub(super) async fn expand(deps: &FanoutDeps, activity: &Activity) -> Result<u64, Trouble> {
    let mut inserted = 0;
    let named = named_inboxes(deps, activity).await?;
    for batch in named.chunks(BATCH) {
        inserted += insert(deps, activity, batch).await?;
    }
    if activity.to_earlier_recipients {
        for batch in earlier_recipients(deps, activity).await?.chunks(BATCH) {
            inserted += insert(deps, activity, batch).await?;
        }
    }
    if let Some(followed) = activity.to_followers_of {
        let mut after = 0;
        loop {
            let batch = follower_inboxes(deps, followed, after).await?;
            inserted += insert(deps, activity, &batch).await?;
            match batch.last() {
                Some(last) if batch.len() == BATCH => after = *last,
                _ => break,
            }
        }
    }
    Ok(inserted)
}

/// Distinct inboxes of remote followers above `after`, from the covering index alone.
async fn follower_inboxes(
    deps: &FanoutDeps,
    followed: i64,
    after: i64,
) -> Result<Vec<i64>, Trouble> {
    Ok(sqlx::query_scalar(
        "select distinct inbox_id from follows
         where target_id = $1 and inbox_id > $2 and state = 'accepted'
         order by inbox_id limit $3",
    )
    .bind(followed)
    .bind(after)
    .bind(BATCH as i64)
    .fetch_all(&deps.pool)
    .await?)
}

/// The inboxes of accounts that the activity names. Suspended ones get nothing; what shows a
/// post does not go to accounts on either side of a block.
async fn named_inboxes(deps: &FanoutDeps, activity: &Activity) -> Result<Vec<i64>, Trouble> {
    let mut ids = Vec::new();
    for batch in activity.to_accounts.chunks(BATCH) {
        let mut recipients = accounts::by_ids(&deps.pool, batch).await?;
        recipients.sort_by_key(|account| account.id);
        let blocked = if activity.shows() {
            blocked(deps, activity.account_id, batch).await?
        } else {
            HashSet::new()
        };
        for account in recipients {
            if account.is_local() || account.suspended_at.is_some() {
                continue;
            }
            if blocked.contains(&account.id) {
                continue;
            }
            let mut connection = deps.pool.acquire().await?;
            let shared = account.shared_inbox_url.is_some();
            ids.extend(inboxes::intern(&mut connection, account.preferred_inbox(), shared).await?);
        }
    }
    Ok(ids)
}

/// Those of the accounts that are on either side of a block with the sender.
async fn blocked(
    deps: &FanoutDeps,
    sender: i64,
    accounts: &[i64],
) -> Result<HashSet<i64>, Trouble> {
    let blocked: Vec<i64> = sqlx::query_scalar(
        "select target_id from blocks where account_id = $1 and target_id = any($2)
         union
         select account_id from blocks where target_id = $1 and account_id = any($2)",
    )
    .bind(sender)
    .bind(accounts)
    .fetch_all(&deps.pool)
    .await?;
    Ok(blocked.into_iter().collect())
}

/// The inboxes that earlier activities about the same status were planned for.
async fn earlier_recipients(deps: &FanoutDeps, activity: &Activity) -> Result<Vec<i64>, Trouble> {
    let ids: Option<Vec<i64>> =
        sqlx::query_scalar("select inbox_ids from status_recipients where status_id = $1")
            .bind(activity.status_id)
            .fetch_optional(&deps.pool)
            .await?;
    Ok(ids.unwrap_or_default())
}

#[derive(sqlx::FromRow)]
struct Inbox {
    id: i64,
    host: String,
    /// The host failed for seven days (design section 6).
    is_unavailable: bool,
}

/// One batch in one short statement. Does nothing once the activity is closed.
async fn insert(deps: &FanoutDeps, activity: &Activity, ids: &[i64]) -> Result<u64, Trouble> {
    if ids.is_empty() {
        return Ok(0);
    }
    let inboxes: Vec<Inbox> = sqlx::query_as(
        "select i.id, i.host, coalesce(h.state = 'unavailable', false) as is_unavailable
             from inboxes i left join hosts h on h.host = i.host
             where i.id = any($1) order by i.id",
    )
    .bind(ids)
    .fetch_all(&deps.pool)
    .await?;
    let barred = barred(deps, activity, ids).await?;
    let always = is_always_planned(deps, activity).await?;
    let our_host = host_of(deps.instance.base()).unwrap_or_default();
    let (mut inbox_ids, mut hosts, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for inbox in inboxes {
        if inbox.host == our_host || barred.contains(&inbox.id) {
            continue;
        }
        if inbox.is_unavailable && !always {
            continue;
        }
        numbers.push(shard_of(&inbox.host, deps.queues.shards()) as i32);
        hosts.push(inbox.host);
        inbox_ids.push(inbox.id);
    }
    let mut transaction = tidegate_store::begin(&deps.pool).await?;
    // Rows of another number of shards would be nobody's.
    if !shards::hold(&mut transaction, deps.queues.shards()).await? {
        return Err(Trouble::Away(
            "the number of shards was changed: this process must be started with the new one"
                .to_owned(),
        ));
    }
    let inserted = sqlx::query(
        "with open as (
             select id from activities where id = $1 and planned_at is null for share
         )
         insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq)
         select open.id, row.inbox_id, row.host, row.shard, $5, $6, $7
         from open, unnest($2::bigint[], $3::text[], $4::int[]) as row (inbox_id, host, shard)
         on conflict (activity_id, inbox_id) do nothing",
    )
    .bind(activity.id)
    .bind(&inbox_ids)
    .bind(&hosts)
    .bind(&numbers)
    .bind(&activity.lane)
    .bind(&activity.order_key)
    .bind(activity.seq)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    transaction.commit().await?;
    Ok(inserted)
}

/// Whether it goes to unavailable hosts too: somebody waits for the answer, and the attempt
/// tells whether the host is back (design section 6).
async fn is_always_planned(deps: &FanoutDeps, activity: &Activity) -> Result<bool, Trouble> {
    if matches!(
        activity.kind.as_str(),
        "Follow" | "Accept" | "Reject" | "Undo" | "Block"
    ) {
        return Ok(true);
    }
    let Some(status_id) = activity.status_id else {
        return Ok(false);
    };
    Ok(sqlx::query_scalar(
        "select exists (select 1 from statuses where id = $1 and visibility = 'direct')",
    )
    .bind(status_id)
    .fetch_one(&deps.pool)
    .await?)
}

/// Those of the inboxes that belong to one account alone which is suspended or on either side of
/// a block. A shared inbox serves others too; its server keeps the block for its own user.
async fn barred(
    deps: &FanoutDeps,
    activity: &Activity,
    ids: &[i64],
) -> Result<HashSet<i64>, Trouble> {
    if !activity.shows() {
        return Ok(HashSet::new());
    }
    let barred: Vec<i64> = sqlx::query_scalar(
        "select i.id
         from inboxes i join accounts a on a.inbox_url = i.url
         where i.id = any($1) and not i.shared
           and a.domain is not null and a.shared_inbox_url is null
           and (a.suspended_at is not null or exists (
                select 1 from blocks b
                where (b.account_id = a.id and b.target_id = $2)
                   or (b.account_id = $2 and b.target_id = a.id)))",
    )
    .bind(ids)
    .bind(activity.account_id)
    .fetch_all(&deps.pool)
    .await?;
    Ok(barred.into_iter().collect())
}
