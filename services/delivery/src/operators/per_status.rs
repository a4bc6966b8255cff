//! Where one post went, for its author: totals, and every host that has not got everything. All
//! words are from a fixed list, and none tells what people elsewhere decided about the author.

use tidegate_model::DeliveryState;
use time::OffsetDateTime;

use super::{OperatorError, Operators};

/// Hosts that are named at most; the total beside them is complete. Nobody reads more.
const NAMED: i64 = 200;

/// How a post stands at one host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the table say it")]
pub struct StatusHost {
    pub host: String,
    pub state: String,
    /// A word of the fixed list; empty when there is nothing to say.
    pub reason: &'static str,
    pub attempts: i32,
    pub last_status: Option<i32>,
    pub next_try_at: Option<OffsetDateTime>,
}

/// Where a post went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusDelivery {
    /// Deliveries of all activities about the post, by state.
    pub totals: Vec<(String, i64)>,
    /// Hosts that have not got everything, by name.
    pub hosts: Vec<StatusHost>,
    /// How many there are.
    pub hosts_total: i64,
}

impl StatusDelivery {
    /// Deliveries in one state.
    pub fn total(&self, state: DeliveryState) -> i64 {
        self.totals
            .iter()
            .find(|(name, _)| name == state.as_str())
            .map_or(0, |(_, count)| *count)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    host: String,
    state: String,
    reason: Option<String>,
    attempts: i32,
    last_status: Option<i32>,
    next_try_at: Option<OffsetDateTime>,
    hosts_total: i64,
}

impl Operators {
    /// Where a local post went. Whether the asker may know is the caller's question.
    pub async fn per_status(&self, status_id: i64) -> Result<StatusDelivery, OperatorError> {
        let totals = sqlx::query_as(TOTALS)
            .bind(status_id)
            .fetch_all(&self.pool)
            .await?;
        let rows: Vec<Row> = sqlx::query_as(HOSTS)
            .bind(status_id)
            .bind(NAMED)
            .fetch_all(&self.pool)
            .await?;
        let hosts_total = rows.first().map_or(0, |row| row.hosts_total);
        let hosts = rows.into_iter().map(|row| StatusHost {
            reason: public_reason(row.reason.as_deref().unwrap_or_default()),
            host: row.host,
            state: row.state,
            attempts: row.attempts,
            last_status: row.last_status,
            next_try_at: row.next_try_at,
        });
        Ok(StatusDelivery {
            totals,
            hosts: hosts.collect(),
            hosts_total,
        })
    }
}

/// Only what the author did with the post: others' boosts and likes of it are theirs.
const TOTALS: &str = "
select d.state, count(*)
from statuses s
join activities a on a.status_id = s.id and a.account_id = s.account_id
join deliveries d on d.activity_id = a.id
where s.id = $1
group by d.state";

/// Of several deliveries to a host the one that says most, then the latest.
const HOSTS: &str = "
select o.*, count(*) over () as hosts_total
from (
    select distinct on (d.host) d.host, d.state, d.reason, d.attempts, d.last_status,
           case when d.state = 'parked'
                then coalesce(d.not_before, case when h.state <> 'ok' then h.next_probe_at end)
           end as next_try_at
    from statuses s
    join activities a on a.status_id = s.id and a.account_id = s.account_id
    join deliveries d on d.activity_id = a.id
    left join hosts h on h.host = d.host
    where s.id = $1 and d.state <> 'delivered'
    order by d.host, array_position(array['dead', 'parked', 'queued', 'cancelled'], d.state),
             d.activity_id desc
) o
order by o.host
limit $2";

/// The reason as its author may read it. That somebody blocked them or stopped following is
/// nobody's to tell; what is not in the list is only called `other`.
fn public_reason(reason: &str) -> &'static str {
    const SAME: [&str; 29] = [
        "",
        "order",
        "slow",
        "host",
        "paused",
        "replay",
        "purged",
        "unavailable",
        "exhausted",
        "deleted",
        "withdrawn",
        "superseded",
        "pair",
        "timeout",
        "connect_timeout",
        "connect",
        "broken",
        "redirect",
        "status_401",
        "status_404",
        "status_405",
        "status_408",
        "status_410",
        "status_425",
        "status_429",
        "status_500",
        "status_502",
        "status_503",
        "status_504",
    ];
    if let Some(word) = SAME.into_iter().find(|word| *word == reason) {
        return word;
    }
    match reason {
        "behind" | "takeover" | "shards" => "order",
        "blocked" | "audience" => "not_addressed",
        "our_401" => "status_401",
        _ if reason.starts_with("tls") => "tls",
        _ if reason.starts_with("dns") => "dns",
        _ if reason.starts_with("status_4") => "refused",
        _ if reason.starts_with("status_5") => "status_5xx",
        _ => "other",
    }
}
