//! Deliveries as operators see them: a page of those that match, oldest first.

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use tidegate_model::DeliveryState;
use time::OffsetDateTime;

use super::filter::Narrowed;
use super::{Filter, OperatorError, Operators, page};

/// Rows that a total counts at most; beyond that it says "at least".
const COUNTED: i64 = 100_000;

/// What is listed when no state is asked for: what is not over.
const OPEN: [DeliveryState; 3] = [
    DeliveryState::Queued,
    DeliveryState::Parked,
    DeliveryState::Dead,
];

/// Where a page starts: after this pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the columns of the key say it")]
pub struct Cursor {
    pub activity_id: i64,
    pub inbox_id: i64,
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns of the table say it")]
pub struct DeliveryView {
    pub activity_id: i64,
    pub inbox_id: i64,
    /// Follow, Create, ...
    pub kind: String,
    /// The local account that signs.
    pub account_id: i64,
    pub status_id: Option<i64>,
    pub host: String,
    pub inbox_url: String,
    pub lane: String,
    pub state: String,
    pub reason: Option<String>,
    pub attempts: i32,
    pub last_status: Option<i32>,
    pub last_error: Option<String>,
    /// The row's own time, or that of the next probe of the host that it waits for.
    pub next_try_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

impl DeliveryView {
    /// The cursor of the page after this row.
    pub const fn cursor(&self) -> Cursor {
        Cursor {
            activity_id: self.activity_id,
            inbox_id: self.inbox_id,
        }
    }
}

/// A page, and how many match in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDeliveries {
    /// The page.
    pub rows: Vec<DeliveryView>,
    /// Matches by state, each counted up to `counted_to`.
    pub totals: Vec<(&'static str, i64)>,
    /// Where counting ended.
    pub counted_to: i64,
}

/// Rows of one state that match, as a function from the state to the statement. `$1` to `$9` are
/// bound by [`matching`]. Each state spells the conditions of the partial indexes that hold it
/// (migrations 0043 and 0044): a parameter alone implies none of them.
macro_rules! matching {
    ($name:ident: $before:literal, $columns:literal, $rest:literal) => {
        pub(super) const fn $name(state: DeliveryState) -> &'static str {
            macro_rules! of {
                ($condition:literal) => {
                    concat!(
                        $before,
                        "select ",
                        $columns,
                        " from deliveries d join activities a on a.id = d.activity_id
                         where d.state = $1 and ",
                        $condition,
                        " and d.activity_id between $2 and $3 and a.id between $2 and $3
                          and (d.activity_id, d.inbox_id) > ($4, $5)
                          and ($6::text is null or d.host = $6)
                          and ($7::text is null or d.reason = $7)
                          and ($8::bigint is null or a.account_id = $8)
                          and ($9::bigint is null or a.status_id = $9) ",
                        $rest
                    )
                };
            }
            match state {
                DeliveryState::Queued => of!("d.state = 'queued'
                     and coalesce(d.state in ('queued', 'parked', 'dead'), false)"),
                DeliveryState::Parked => of!("coalesce(d.state = 'parked', false)
                     and coalesce(d.state in ('queued', 'parked', 'dead'), false)"),
                DeliveryState::Dead => of!("d.state = 'dead'
                     and coalesce(d.state in ('queued', 'parked', 'dead'), false)"),
                DeliveryState::Cancelled => of!("coalesce(d.state = 'cancelled', false)"),
                DeliveryState::Delivered => of!("d.state = 'delivered'"),
            }
        }
    };
}

// The first pairs of one state that match.
matching!(pairs: "", "d.activity_id, d.inbox_id",
    "order by d.activity_id, d.inbox_id limit $10");

// How many there are.
matching!(count: "select count(*) from (", "1", "limit $10) counted");

// A page of them; it is cut before anything else is looked up for it.
matching!(views:
    "select d.activity_id, d.inbox_id, d.kind, d.account_id, d.status_id, d.host,
            i.url as inbox_url, d.lane, d.state, d.reason, d.attempts, d.last_status,
            d.last_error,
            case when d.state = 'parked'
                 then coalesce(d.not_before, case when h.state <> 'ok' then h.next_probe_at end)
            end as next_try_at,
            d.created_at, d.updated_at
     from (",
    "d.*, a.kind, a.account_id, a.status_id",
    "order by d.activity_id, d.inbox_id limit $10) d
     join inboxes i on i.id = d.inbox_id
     left join hosts h on h.host = d.host
     order by d.activity_id, d.inbox_id");

/// A statement made by `matching!` with everything bound: rows of `state` after `after`.
pub(super) fn matching<'a, T>(
    statement: fn(DeliveryState) -> &'static str,
    state: DeliveryState,
    narrowed: &'a Narrowed,
    after: Cursor,
    limit: i64,
) -> QueryAs<'a, Postgres, T, PgArguments>
where
    T: for<'r> sqlx::FromRow<'r, PgRow>,
{
    sqlx::query_as(statement(state))
        .bind(state.as_str())
        .bind(narrowed.from_id)
        .bind(narrowed.to_id)
        .bind(after.activity_id)
        .bind(after.inbox_id)
        .bind(&narrowed.host)
        .bind(&narrowed.reason)
        .bind(narrowed.account_id)
        .bind(narrowed.status_id)
        .bind(limit)
}

impl Operators {
    /// A page of the deliveries that match, oldest first.
    pub async fn deliveries(
        &self,
        filter: &Filter,
        limit: i64,
        after: Cursor,
    ) -> Result<Vec<DeliveryView>, OperatorError> {
        let narrowed = self.narrow_list(filter).await?;
        self.page(&narrowed, page(limit)?, after).await
    }

    /// The same with how many match in all.
    pub async fn deliveries_with_totals(
        &self,
        filter: &Filter,
        limit: i64,
        after: Cursor,
    ) -> Result<ListedDeliveries, OperatorError> {
        let narrowed = self.narrow_list(filter).await?;
        let rows = self.page(&narrowed, page(limit)?, after).await?;
        let mut totals = Vec::new();
        for &state in &narrowed.states {
            let (total,): (i64,) = matching(count, state, &narrowed, Cursor::default(), COUNTED)
                .fetch_one(&self.pool)
                .await?;
            totals.push((state.as_str(), total));
        }
        Ok(ListedDeliveries {
            rows,
            totals,
            counted_to: COUNTED,
        })
    }

    async fn narrow_list(&self, filter: &Filter) -> Result<Narrowed, OperatorError> {
        let names_one = filter.activity_id.is_some() || filter.status_id.is_some();
        let default: &[DeliveryState] = if names_one {
            &DeliveryState::ALL
        } else {
            &OPEN
        };
        let all = &DeliveryState::ALL;
        filter
            .narrow(&self.pool, &self.instance, default, all, "there are")
            .await
    }

    async fn page(
        &self,
        narrowed: &Narrowed,
        limit: i64,
        after: Cursor,
    ) -> Result<Vec<DeliveryView>, OperatorError> {
        let mut rows: Vec<DeliveryView> = Vec::new();
        for &state in &narrowed.states {
            let found = matching(views, state, narrowed, after, limit)
                .fetch_all(&self.pool)
                .await?;
            rows.extend(found);
        }
        rows.sort_by_key(DeliveryView::cursor);
        // One that moved between two of the statements was seen in both states.
        rows.dedup_by_key(|row| row.cursor());
        rows.truncate(usize::try_from(limit).unwrap_or_default());
        Ok(rows)
    }
}
