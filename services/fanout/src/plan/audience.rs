//! From the audience that an activity names to `deliveries` rows.

use std::collections::HashSet;

use sqlx::PgConnection;
use tidegate_model::{Lane, host_of, is_always_sent, shard_of};
use tidegate_store::{accounts, inboxes, shards};

use super::Activity;
use crate::FanoutDeps;
use crate::trouble::Trouble;

/// Rows per statement: large enough that a row costs microseconds, small enough that the lock on
/// the activity and the connection are held for milliseconds.
const BATCH: usize = 1_000;

/// Inserts what is missing of the activity's rows, closes it, and returns how many were missing.
/// What somebody waits for is nearly always for a few inboxes: that is one transaction. Many
/// inboxes are one transaction for each batch.
pub(super) async fn expand(deps: &FanoutDeps, activity: &Activity) -> Result<u64, Trouble> {
    let mut named = named_inboxes(deps, activity).await?;
    let awaited = awaited_hosts(deps, activity, &named).await?;
    let is_small = activity.to_followers_of.is_none()
        && !activity.to_earlier_recipients
        && named.len() <= BATCH;
    let last = if is_small {
        std::mem::take(&mut named)
    } else {
        Vec::new()
    };
    let mut inserted = insert_all(deps, activity, &awaited, &named).await?;
    let rows = rows_for(deps, activity, &awaited, &last).await?;
    let mut transaction = tidegate_store::begin(&deps.pool).await?;
    if !rows.is_empty() {
        hold_shards(deps, &mut transaction).await?;
        // Before the rows: the lock that inserting takes would have to grow, and two planners
        // would wait for each other.
        super::lock(&mut transaction, activity).await?;
        inserted += insert(&mut transaction, activity, &rows).await?;
    }
    super::close(&mut transaction, activity).await?;
    transaction.commit().await?;
    Ok(inserted)
}

/// Batch by batch, each in a short transaction of its own.
async fn insert_all(
    deps: &FanoutDeps,
    activity: &Activity,
    awaited: &HashSet<String>,
    named: &[i64],
) -> Result<u64, Trouble> {
    let mut inserted = 0;
    for batch in named.chunks(BATCH) {
        inserted += insert_batch(deps, activity, awaited, batch).await?;
    }
    if activity.to_earlier_recipients {
        for batch in earlier_recipients(deps, activity).await?.chunks(BATCH) {
            inserted += insert_batch(deps, activity, awaited, batch).await?;
        }
    }
    if let Some(followed) = activity.to_followers_of {
        let mut after = 0;
        loop {
            let batch = follower_inboxes(deps, followed, after).await?;
            inserted += insert_batch(deps, activity, awaited, &batch).await?;
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
            let mut transaction = tidegate_store::begin(&deps.pool).await?;
            let shared = account.shared_inbox_url.is_some();
            ids.extend(inboxes::intern(&mut transaction, account.preferred_inbox(), shared).await?);
            transaction.commit().await?;
        }
    }
    Ok(ids)
}

/// Hosts of people whom a post names: they wait for it, and get it in the lane `now` however many
/// followers get it in bulk. A boost names only whose post it is, who can wait.
async fn awaited_hosts(
    deps: &FanoutDeps,
    activity: &Activity,
    named: &[i64],
) -> Result<HashSet<String>, Trouble> {
    let is_a_post = matches!(activity.kind.as_str(), "Create" | "Update" | "Delete");
    if activity.lane() != Lane::Bulk || !is_a_post || named.is_empty() {
        return Ok(HashSet::new());
    }
    let hosts: Vec<String> =
        sqlx::query_scalar("select coalesce(state_host, host) from inboxes where id = any($1)")
            .bind(named)
            .fetch_all(&deps.pool)
            .await?;
    Ok(hosts.into_iter().collect())
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
    is_ours: bool,
    /// Whose state its deliveries have.
    host: String,
    /// The host failed for seven days (design section 6).
    is_unavailable: bool,
}

/// What goes before it to the same host and is not over decides the lane: one order key has one
/// lane for each host (design section 6), though an edit names somebody new. Spelled as the index
/// has it (migration 0043), with bounds that keep it to the partitions of the order key's days.
const INSERT: &str = "
with open as (select id from activities where id = $1 and planned_at is null for share)
insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq)
select open.id, row.inbox_id, row.host, row.shard,
       case when $7 = 1 then row.lane else coalesce(
           (select p.lane from deliveries p
            where p.order_key = $6 and p.host = row.host and p.seq < $7
              and p.activity_id >= (select f.id - (3600000::bigint << 16) from activities f
                                    where f.order_key = $6 order by f.seq limit 1)
              and p.activity_id <= $1 + (3600000::bigint << 16)
              and coalesce(p.state in ('queued', 'parked'), false)
            order by p.seq desc limit 1), row.lane) end,
       $6, $7
from open,
     unnest($2::bigint[], $3::text[], $4::int[], $5::text[]) as row (inbox_id, host, shard, lane)
on conflict (activity_id, inbox_id) do nothing";

/// Rows to insert, column by column.
#[derive(Default)]
struct Rows {
    inbox_ids: Vec<i64>,
    hosts: Vec<String>,
    shards: Vec<i32>,
    lanes: Vec<&'static str>,
}

impl Rows {
    const fn is_empty(&self) -> bool {
        self.inbox_ids.is_empty()
    }
}

async fn insert_batch(
    deps: &FanoutDeps,
    activity: &Activity,
    awaited: &HashSet<String>,
    ids: &[i64],
) -> Result<u64, Trouble> {
    let rows = rows_for(deps, activity, awaited, ids).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut transaction = tidegate_store::begin(&deps.pool).await?;
    hold_shards(deps, &mut transaction).await?;
    let inserted = insert(&mut transaction, activity, &rows).await?;
    transaction.commit().await?;
    Ok(inserted)
}

/// What these inboxes get, without ourselves, who is barred, and hosts that are gone.
async fn rows_for(
    deps: &FanoutDeps,
    activity: &Activity,
    awaited: &HashSet<String>,
    ids: &[i64],
) -> Result<Rows, Trouble> {
    let mut rows = Rows::default();
    if ids.is_empty() {
        return Ok(rows);
    }
    let inboxes: Vec<Inbox> = sqlx::query_as(
        "select i.id, i.host = $2 as is_ours, coalesce(i.state_host, i.host) as host,
                coalesce(h.state = 'unavailable', false) as is_unavailable
         from inboxes i left join hosts h on h.host = coalesce(i.state_host, i.host)
         where i.id = any($1) order by i.id",
    )
    .bind(ids)
    .bind(host_of(deps.instance.base()).unwrap_or_default())
    .fetch_all(&deps.pool)
    .await?;
    let barred = barred(deps, activity, ids).await?;
    let always = is_always_planned(deps, activity).await?;
    for inbox in inboxes {
        if inbox.is_ours || barred.contains(&inbox.id) {
            continue;
        }
        if inbox.is_unavailable && !always {
            continue;
        }
        let lane = if awaited.contains(&inbox.host) {
            Lane::Now
        } else {
            activity.lane()
        };
        rows.lanes.push(lane.as_str());
        rows.shards
            .push(shard_of(&inbox.host, deps.queues.shards()) as i32);
        rows.hosts.push(inbox.host);
        rows.inbox_ids.push(inbox.id);
    }
    Ok(rows)
}

/// Rows of another number of shards would be nobody's.
async fn hold_shards(deps: &FanoutDeps, connection: &mut PgConnection) -> Result<(), Trouble> {
    if shards::hold(connection, deps.queues.shards()).await? {
        return Ok(());
    }
    Err(Trouble::Away(
        "the number of shards was changed: this process must be started with the new one"
            .to_owned(),
    ))
}

/// One short statement. Does nothing once the activity is closed.
async fn insert(
    connection: &mut PgConnection,
    activity: &Activity,
    rows: &Rows,
) -> Result<u64, Trouble> {
    let inserted = sqlx::query(INSERT)
        .bind(activity.id)
        .bind(&rows.inbox_ids)
        .bind(&rows.hosts)
        .bind(&rows.shards)
        .bind(&rows.lanes)
        .bind(&activity.order_key)
        .bind(activity.seq)
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected())
}

/// Whether it goes to unavailable hosts too: somebody waits for the answer, and the attempt
/// tells whether the host is back (design section 6).
async fn is_always_planned(deps: &FanoutDeps, activity: &Activity) -> Result<bool, Trouble> {
    if is_always_sent(&activity.kind) {
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
