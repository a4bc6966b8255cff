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

use sqlx::{PgConnection, PgPool};
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
    for activity in with_predecessors(&deps.pool, activity_id).await? {
        if !activity.is_planned {
            if is_wanted(&deps.pool, &activity).await? {
                PLANNED_ROWS.inc_by(audience::expand(deps, &activity).await?);
            } else {
                let mut transaction = tidegate_store::begin(&deps.pool).await?;
                close(&mut transaction, &activity).await?;
                transaction.commit().await?;
            }
        }
        publish::all(deps, &activity).await?;
    }
    Ok(())
}

/// The activity itself, behind those before it in its order that are not planned yet. Somebody
/// else may plan them meanwhile: then there is nothing to insert and nothing to close.
async fn with_predecessors(pool: &PgPool, activity_id: i64) -> Result<Vec<Activity>, Trouble> {
    Ok(sqlx::query_as(
        "select p.id, p.kind, p.account_id, p.order_key, p.seq, p.lane, p.status_id,
                p.to_followers_of, p.to_accounts, p.to_earlier_recipients,
                p.planned_at is not null as is_planned,
                p.published_at is not null as is_published
         from activities a
         join activities p on p.order_key = a.order_key and p.seq <= a.seq
         where a.id = $1 and (p.id = a.id or p.planned_at is null)
         order by p.seq",
    )
    .bind(activity_id)
    .fetch_all(pool)
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

/// Locks the activity against batches under way; from then on no row can be added. Whether it was
/// open.
async fn lock(connection: &mut PgConnection, activity: &Activity) -> Result<bool, Trouble> {
    let open: Option<i64> = sqlx::query_scalar(
        "select id from activities where id = $1 and planned_at is null for no key update",
    )
    .bind(activity.id)
    .fetch_optional(connection)
    .await?;
    Ok(open.is_some())
}

/// Freezes the recipients: the count on the activity, the inboxes beside the status.
async fn close(connection: &mut PgConnection, activity: &Activity) -> Result<(), Trouble> {
    if !lock(connection, activity).await? {
        return Ok(());
    }
    sqlx::query(
        "update activities set planned_at = now(),
             planned_count = (select count(*) from deliveries where activity_id = $1)
         where id = $1",
    )
    .bind(activity.id)
    .execute(&mut *connection)
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
        .execute(&mut *connection)
        .await?;
    }
    PLANNED_ACTIVITIES.inc();
    Ok(())
}
