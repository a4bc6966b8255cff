//! The books: everything that was planned is somewhere, and nothing is missing.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_model::DeliveryState;
use tidegate_store::StoreError;

/// How many differences are listed; the numbers beside them are complete.
const LISTED: i64 = 1_000;

/// An activity that is unplanned for longer than this is a difference: planning takes seconds,
/// and what it lost is published again after ten minutes.
const PLANNED_WITHIN: Duration = Duration::from_mins(15);

/// Rows in each state, each counted by a query of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// What planning recorded.
    pub planned: i64,
    /// With the queue, or about to be.
    pub queued: i64,
    /// Waiting in PostgreSQL.
    pub parked: i64,
    /// Answered with 2xx.
    pub delivered: i64,
    /// Given up.
    pub dead: i64,
    /// No longer wanted.
    pub cancelled: i64,
}

impl Counts {
    /// The right side of the equation.
    pub const fn found(&self) -> i64 {
        self.queued + self.parked + self.delivered + self.dead + self.cancelled
    }
}

/// An activity that has not as many rows as it was planned to.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Miscounted {
    /// The activity.
    pub activity_id: i64,
    /// Rows that planning recorded.
    pub planned: i64,
    /// Rows that are there.
    pub found: i64,
}

/// An inbox that a status was planned for, and for which no row is there.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Missing {
    /// The first activity about the status.
    pub activity_id: i64,
    /// The inbox.
    pub inbox_id: i64,
}

/// What the books say. Rows that were dropped with their day are not looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Both sides of the equation.
    pub counts: Counts,
    /// Activities whose planning is not finished; not part of the equation.
    pub unplanned: i64,
    /// Those of them that should have been planned long ago.
    pub overdue: i64,
    /// Activities that differ, at most a thousand.
    pub miscounted: Vec<Miscounted>,
    /// Pairs that are missing, at most a thousand.
    pub missing: Vec<Missing>,
}

impl Verification {
    /// Whether everything agrees.
    pub fn is_clean(&self) -> bool {
        self.counts.planned == self.counts.found()
            && self.overdue == 0
            && self.miscounted.is_empty()
            && self.missing.is_empty()
    }
}

/// Counts and compares, all from one moment.
pub async fn verify(pool: &PgPool) -> Result<Verification, StoreError> {
    let mut snapshot = tidegate_store::begin(pool).await?;
    // Counting takes as long as it takes; an operator waits for it.
    sqlx::query("set transaction isolation level repeatable read, read only")
        .execute(&mut *snapshot)
        .await?;
    sqlx::query("set local statement_timeout = 0")
        .execute(&mut *snapshot)
        .await?;
    let counts = count_in(&mut snapshot).await?;
    let (unplanned, overdue) = sqlx::query_as(
        "select count(*),
                count(*) filter (where created_at < now() - make_interval(secs => $1))
         from activities where planned_at is null",
    )
    .bind(PLANNED_WITHIN.as_secs_f64())
    .fetch_one(&mut *snapshot)
    .await?;
    let miscounted = sqlx::query_as(
        "select a.id as activity_id, coalesce(a.planned_count, 0) as planned, r.found
         from activities a
         cross join lateral (select count(*) as found from deliveries d
                             where d.activity_id = a.id) r
         where a.planned_at is not null and coalesce(a.planned_count, 0) <> r.found
           and not exists (select 1 from deliveries_dropped x
                           where a.id >= x.from_id and a.id < x.to_id)
         order by a.id limit $1",
    )
    .bind(LISTED)
    .fetch_all(&mut *snapshot)
    .await?;
    let missing = sqlx::query_as(
        "select first.id as activity_id, inbox.id as inbox_id
         from status_recipients s
         cross join lateral (select min(a.id) as id from activities a
                             where a.status_id = s.status_id and a.planned_at is not null) first
         cross join lateral unnest(s.inbox_ids) as inbox(id)
         where not exists (
             select 1 from activities a join deliveries d on d.activity_id = a.id
             where a.status_id = s.status_id and d.inbox_id = inbox.id)
           and not exists (select 1 from deliveries_dropped x
                           where first.id >= x.from_id and first.id < x.to_id)
         order by 1, 2 limit $1",
    )
    .bind(LISTED)
    .fetch_all(&mut *snapshot)
    .await?;
    Ok(Verification {
        counts,
        unplanned,
        overdue,
        miscounted,
        missing,
    })
}

/// The numbers alone.
pub(crate) async fn counts(pool: &PgPool) -> Result<Counts, StoreError> {
    let mut connection = pool.acquire().await?;
    count_in(&mut connection).await
}

async fn count_in(connection: &mut sqlx::PgConnection) -> Result<Counts, StoreError> {
    let mut counts = Counts {
        planned: sqlx::query_scalar(
            "select coalesce(sum(planned_count), 0)::bigint from activities a
             where planned_at is not null and not exists (
                 select 1 from deliveries_dropped x where a.id >= x.from_id and a.id < x.to_id)",
        )
        .fetch_one(&mut *connection)
        .await?,
        ..Counts::default()
    };
    for state in DeliveryState::ALL {
        // Rows of an activity that is still being planned are not on the other side yet.
        let rows: i64 = sqlx::query_scalar(
            "select count(*) from deliveries d
             where d.state = $1
               and not exists (
                   select 1 from activities a where a.id = d.activity_id and a.planned_at is null)
               and not exists (
                   select 1 from deliveries_dropped x
                   where d.activity_id >= x.from_id and d.activity_id < x.to_id)",
        )
        .bind(state.as_str())
        .fetch_one(&mut *connection)
        .await?;
        *match state {
            DeliveryState::Queued => &mut counts.queued,
            DeliveryState::Parked => &mut counts.parked,
            DeliveryState::Delivered => &mut counts.delivered,
            DeliveryState::Dead => &mut counts.dead,
            DeliveryState::Cancelled => &mut counts.cancelled,
        } = rows;
    }
    Ok(counts)
}
