//! Hosts as operators see them.

use tidegate_model::canonical_host;
use time::OffsetDateTime;

use super::{OperatorError, Operators, page};

/// Rows of one state that a line of the list counts at most, so that a page of hosts with large
/// backlogs is still one quick statement.
const COUNTED_IN_LIST: i64 = 1_000;

/// The same for one host alone: some hundred milliseconds.
const COUNTED_ALONE: i64 = 100_000;

/// Characters of a prefix: the longest name has 253.
const MAX_PREFIX: usize = 253;

/// Which hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFilter {
    /// `ok`, `failing` or `unavailable`.
    pub state: Option<String>,
    /// Only those that an operator paused.
    pub paused: bool,
    /// Only those for which something waits.
    pub backlog: bool,
    /// How the name starts.
    pub name_prefix: String,
}

impl HostFilter {
    fn check(&self) -> Result<(), OperatorError> {
        if let Some(state) = &self.state
            && !["ok", "failing", "unavailable"].contains(&state.as_str())
        {
            return Err(OperatorError::invalid(format!(
                "there is no state \"{}\" of a host; there are ok, failing, unavailable",
                state
                    .chars()
                    .take(MAX_PREFIX)
                    .collect::<String>()
                    .escape_debug()
            )));
        }
        if self.name_prefix.len() > MAX_PREFIX {
            return Err(OperatorError::invalid("no host has a name of that length"));
        }
        Ok(())
    }
}

/// One host, and what waits for it.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns of migration 0040 say it")]
pub struct HostView {
    pub host: String,
    pub state: String,
    pub paused_at: Option<OffsetDateTime>,
    pub paused_reason: String,
    pub backlog: bool,
    pub failing_since: Option<OffsetDateTime>,
    pub unavailable_since: Option<OffsetDateTime>,
    pub next_probe_at: Option<OffsetDateTime>,
    /// Days on which a probe failed.
    pub failed_days: i32,
    pub last_success_at: Option<OffsetDateTime>,
    pub last_failure_at: Option<OffsetDateTime>,
    /// A fixed word of ours.
    pub last_error: String,
    /// Requests a second that the host is sent, once it has answered 429.
    pub rate: Option<f64>,
    /// Rows in each state that is not over, counted up to `counted_to`.
    pub queued: i64,
    pub parked: i64,
    pub dead: i64,
    pub counted_to: i64,
}

/// A host with its counts. What stands in for `hosts h` is a table expression; `$1` bounds the
/// counts.
macro_rules! host_views {
    ($hosts:literal) => {
        concat!(
            "select h.host, h.state, h.paused_at, coalesce(h.paused_reason, '') as paused_reason,
                    h.backlog, h.failing_since, h.unavailable_since, h.next_probe_at,
                    cardinality(h.failed_days) as failed_days, h.last_success_at,
                    h.last_failure_at, coalesce(h.last_error, '') as last_error,
                    case when h.rate_until > now() then h.rate end as rate,
                    (select count(*) from (select 1 from deliveries d
                     where d.host = h.host and d.state = 'queued'
                       and coalesce(d.state in ('queued', 'parked', 'dead'), false)
                     limit $1) c) as queued,
                    (select count(*) from (select 1 from deliveries d
                     where d.host = h.host and d.state = 'parked'
                       and coalesce(d.state in ('queued', 'parked', 'dead'), false)
                     limit $1) c) as parked,
                    (select count(*) from (select 1 from deliveries d
                     where d.host = h.host and d.state = 'dead'
                       and coalesce(d.state in ('queued', 'parked', 'dead'), false)
                     limit $1) c) as dead,
                    $1 as counted_to
             from ",
            $hosts,
            " h order by h.host"
        )
    };
}

impl Operators {
    /// A page of hosts by name, after the name `after`.
    pub async fn hosts(
        &self,
        filter: &HostFilter,
        limit: i64,
        after: &str,
    ) -> Result<Vec<HostView>, OperatorError> {
        filter.check()?;
        Ok(sqlx::query_as(host_views!(
            "(select * from hosts
              where ($2::text is null or state = $2) and (not $3 or paused_at is not null)
                and (not $4 or backlog) and starts_with(host, $5) and host > $6
              order by host limit $7)"
        ))
        .bind(COUNTED_IN_LIST)
        .bind(&filter.state)
        .bind(filter.paused)
        .bind(filter.backlog)
        .bind(filter.name_prefix.to_lowercase())
        .bind(after)
        .bind(page(limit)?)
        .fetch_all(&self.pool)
        .await?)
    }

    /// How many hosts match.
    pub async fn count_hosts(&self, filter: &HostFilter) -> Result<i64, OperatorError> {
        filter.check()?;
        Ok(sqlx::query_scalar(
            "select count(*) from hosts
             where ($1::text is null or state = $1) and (not $2 or paused_at is not null)
               and (not $3 or backlog) and starts_with(host, $4)",
        )
        .bind(&filter.state)
        .bind(filter.paused)
        .bind(filter.backlog)
        .bind(filter.name_prefix.to_lowercase())
        .fetch_one(&self.pool)
        .await?)
    }

    /// One host.
    pub async fn host(&self, name: &str) -> Result<HostView, OperatorError> {
        let host = canonical(name)?;
        let found: Option<HostView> = sqlx::query_as(host_views!(
            "(select name.host, coalesce(k.state, 'ok') as state, k.paused_at, k.paused_reason,
                     coalesce(k.backlog, false) as backlog, k.failing_since, k.unavailable_since,
                     k.next_probe_at, coalesce(k.failed_days, '{}') as failed_days,
                     k.last_success_at, k.last_failure_at, k.last_error, k.rate, k.rate_until
              from (select $2::text as host) name
              left join hosts k on k.host = name.host
              where k.host is not null or exists (select 1 from inboxes i where i.host = $2))"
        ))
        .bind(COUNTED_ALONE)
        .bind(&host)
        .fetch_optional(&self.pool)
        .await?;
        found.ok_or_else(|| {
            OperatorError::NotFound(format!(
                "nothing is known of {host}: no delivery ever had to go there; check the spelling"
            ))
        })
    }
}

/// The one spelling of a host's name.
pub(super) fn canonical(name: &str) -> Result<String, OperatorError> {
    canonical_host(name.trim()).map_err(|_| {
        OperatorError::invalid(format!(
            "\"{}\" is not a host name: write it like mastodon.example, without https:// or a path",
            name.chars()
                .take(MAX_PREFIX)
                .collect::<String>()
                .escape_debug()
        ))
    })
}
