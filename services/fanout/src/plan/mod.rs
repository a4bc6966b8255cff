//! Planning: from an activity's audience to one `deliveries` row per inbox, then to messages.
//!
//! Three steps, each of which may be repeated at any point: rows are inserted in batches while
//! the activity is open; closing it counts them, freezes the count and remembers the inboxes for
//! later Updates and the Delete; publishing hands every row that was not handed over yet to the
//! queue. Rows are inserted only under a shared lock on the open activity, so that none can
//! slip in behind the count.
//!
//! An activity is planned after everything before it in its order key: that keeps a Delete from
//! asking for earlier recipients before its Create has any, and an Update from overtaking.
//! Whoever meets an unplanned predecessor plans it; the predecessor's own message then finds
//! nothing to do.

mod audience;
mod publish;

use sqlx::PgPool;
use tidegate_model::Lane;
use tidegate_store::statuses;

use crate::FanoutDeps;
use crate::metrics::{PLANNED_ACTIVITIES, PLANNED_ROWS};
use crate::trouble::Trouble;

/// What planning needs of an activity; never its body.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Activity {
    id: i64,
    kind: String,
    account_id: i64,
    order_key: String,
    seq: i64,
    lane: String,
    status_id: Option<i64>,
    to_followers_of: Option<i64>,
    to_accounts: Vec<i64>,
    to_earlier_recipients: bool,
    is_planned: bool,
    /// Whether the queue took every row once.
    is_published: bool,
}

impl Activity {
    /// The lane; the column has a check.
    fn lane(&self) -> Lane {
        Lane::parse(&self.lane).unwrap_or(Lane::Bulk)
    }

    /// Whether it withdraws something, and therefore goes out although its status is gone.
    fn withdraws(&self) -> bool {
        matches!(self.kind.as_str(), "Delete" | "Undo")
    }

    /// Whether it shows a post, and therefore stays away from inboxes behind a block.
    fn shows(&self) -> bool {
        matches!(self.kind.as_str(), "Create" | "Update" | "Announce")
    }
}

/// The activity of one `Plan` message, after what comes before it.
pub(crate) async fn activity(deps: &FanoutDeps, activity_id: i64) -> Result<(), Trouble> {
    for id in with_predecessors(&deps.pool, activity_id).await? {
        let Some(activity) = read(&deps.pool, id).await? else {
            continue;
        };
        if !activity.is_planned {
            if is_wanted(&deps.pool, &activity).await? {
                PLANNED_ROWS.inc_by(audience::expand(deps, &activity).await?);
            }
            close(&deps.pool, &activity).await?;
        }
        publish::all(deps, &activity).await?;
    }
    Ok(())
}

/// The activity itself, behind those before it in its order that are not planned yet.
async fn with_predecessors(pool: &PgPool, activity_id: i64) -> Result<Vec<i64>, Trouble> {
    Ok(sqlx::query_scalar(
        "select p.id from activities a
         join activities p on p.order_key = a.order_key and p.seq <= a.seq
         where a.id = $1 and (p.id = a.id or p.planned_at is null)
         order by p.seq",
    )
    .bind(activity_id)
    .fetch_all(pool)
    .await?)
}

async fn read(pool: &PgPool, id: i64) -> Result<Option<Activity>, Trouble> {
    Ok(sqlx::query_as(
        "select id, kind, account_id, order_key, seq, lane, status_id, to_followers_of,
                to_accounts, to_earlier_recipients, planned_at is not null as is_planned,
                published_at is not null as is_published
         from activities where id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?)
}

/// Whether anybody should still get it: not when its status was deleted meanwhile.
async fn is_wanted(pool: &PgPool, activity: &Activity) -> Result<bool, Trouble> {
    match activity.status_id {
        Some(status_id) if !activity.withdraws() => {
            Ok(statuses::by_id(pool, status_id).await?.is_some())
        }
        _ => Ok(true),
    }
}

/// Freezes the recipients: the count on the activity, the inboxes beside the status.
async fn close(pool: &PgPool, activity: &Activity) -> Result<(), Trouble> {
    let mut transaction = tidegate_store::begin(pool).await?;
    // Waits for batches under way; from here on no row can be added.
    let open: Option<i64> = sqlx::query_scalar(
        "select id from activities where id = $1 and planned_at is null for no key update",
    )
    .bind(activity.id)
    .fetch_optional(&mut *transaction)
    .await?;
    if open.is_none() {
        return Ok(());
    }
    sqlx::query(
        "update activities set planned_at = now(),
             planned_count = (select count(*) from deliveries where activity_id = $1)
         where id = $1",
    )
    .bind(activity.id)
    .execute(&mut *transaction)
    .await?;
    if let (Some(status_id), true) = (activity.status_id, activity.shows()) {
        sqlx::query(
            "insert into status_recipients as r (status_id, inbox_ids)
             select $2, array_agg(inbox_id order by inbox_id)
             from deliveries where activity_id = $1 having count(*) > 0
             on conflict (status_id) do update set inbox_ids = array(
                 select unnest(r.inbox_ids) union select unnest(excluded.inbox_ids) order by 1)",
        )
        .bind(activity.id)
        .bind(status_id)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    PLANNED_ACTIVITIES.inc();
    Ok(())
}
