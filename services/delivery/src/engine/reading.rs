//! What the database says about rows right before they are sent: one statement for a whole
//! message, valid for two seconds (design section 5.7).

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgPool;
use tidegate_store::{ReadOnly, StoreError, begin_steady};
use time::{Date, OffsetDateTime};
use tokio::time::Instant;

/// How long a reading may be used: a block or deletion is felt by everything that leaves later.
pub(super) const VALID: Duration = Duration::from_secs(2);

/// One row and everything that decides whether it is sent now.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) activity_id: i64,
    pub(crate) inbox_id: i64,
    pub(crate) url: String,
    /// Whether several accounts of the host share the inbox.
    pub(crate) shared: bool,
    pub(crate) host: String,
    pub(crate) shard: i32,
    pub(crate) lane: String,
    pub(crate) order_key: String,
    pub(crate) seq: i64,
    pub(crate) kind: String,
    pub(crate) body_bytes: i32,
    pub(crate) activity_at: OffsetDateTime,
    /// About a post for named people only.
    pub(crate) is_direct: bool,
    pub(crate) state: String,
    pub(crate) own_failures: i32,
    /// Since when its host has answered 429 to it, and nothing else.
    pub(crate) paced_since: Option<OffsetDateTime>,
    /// When its message was handed to the queue, or was about to be.
    pub(crate) published_at: OffsetDateTime,
    /// Seconds after which it is worth looking again, because something of the same order key
    /// goes first on this host.
    pub(crate) behind_seconds: Option<f64>,
    /// Why it is no longer wanted.
    pub(crate) unwanted: Option<String>,
    /// The scheme that the host took last.
    pub(crate) signature: String,
    pub(crate) host_state: String,
    pub(crate) host_backlog: bool,
    pub(crate) host_paused: bool,
    pub(crate) next_probe_at: Option<OffsetDateTime>,
    pub(crate) probe_interval: Option<f64>,
    pub(crate) failing_since: Option<OffsetDateTime>,
    pub(crate) failed_days: Vec<Date>,
    pub(crate) last_probe_activity_id: Option<i64>,
    pub(crate) last_success_at: Option<OffsetDateTime>,
    pub(crate) rate: Option<f64>,
    pub(crate) rate_until: Option<OffsetDateTime>,
    pub(crate) held_until: Option<OffsetDateTime>,
    /// Since when its shared inbox is gone.
    pub(crate) gone_since: Option<OffsetDateTime>,
}

impl Row {
    /// Whether it still waits for its end.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "queued" | "parked")
    }
}

/// Rows by (activity, inbox).
pub(crate) type Rows = HashMap<(i64, i64), Row>;

/// Rows as they were at one moment.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) read_at: Instant,
    pub(crate) rows: Rows,
}

impl Reading {
    /// Whether it may still be acted on.
    pub(crate) fn is_valid(&self) -> bool {
        self.read_at.elapsed() < VALID
    }
}

/// Reads the rows of these pairs.
pub(crate) async fn read(
    pool: &PgPool,
    pairs: &[(i64, i64)],
    now: OffsetDateTime,
) -> Result<Reading, StoreError> {
    // The time before the statement: what changed while it ran counts as later.
    let read_at = Instant::now();
    let (activities, inboxes): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
    let mut snapshot = begin_steady(pool, ReadOnly::Yes).await?;
    let rows: Vec<Row> = sqlx::query_as(READ)
        .bind(&activities)
        .bind(&inboxes)
        .bind(now)
        .fetch_all(&mut *snapshot)
        .await?;
    snapshot.commit().await?;
    Ok(Reading {
        read_at,
        rows: rows
            .into_iter()
            .map(|row| ((row.activity_id, row.inbox_id), row))
            .collect(),
    })
}

/// A predecessor counts until it is final on the same *host*: a person's own inbox and the
/// shared one are the same server. One that is not planned yet counts on every host; after a day
/// it is taken for lost, and waits no longer.
///
/// A parked predecessor whose status was deleted since is not waited for long: it is about to be
/// cancelled. One that waits for its host has no time; what is behind it looks again later.
///
/// Blocks are known where a personal inbox names the person. For posts whose activity names an
/// audience that audience is looked for again on the inbox: a host that nobody follows from any
/// more gets nothing new. For posts that are not open this holds for edits too: a host whose
/// Create was cancelled must not get the text with the Update. Only what withdraws goes to
/// earlier recipients anyway.
///
/// Who is addressed and what a host has is asked of the inbox's own host, which many hosts of one
/// domain may share a state with (`d.host`): one of them must not see what is for another.
///
/// The odd spellings of `state in (...)` and of `planned_at is null` keep the planner from other
/// partial indexes than the one that is meant (migration 0043).
///
/// A predecessor is not older than the first activity of its order key nor newer than the row: said,
/// because otherwise every day's partition is looked into for every row, three weeks of them. Ids
/// begin with the time, and an hour of them is left for clocks that step back.
///
/// What was taken back meanwhile is not sent either (a dead row that is replayed): when the host
/// has the end of a later Delete, of an Undo that names this very activity, or of the Reject of
/// what this accepts. Nor is what the host has in a later version, or was asked for anew: an Undo
/// when it has another such activity since, a Reject when it has an Accept.
pub(super) const READ: &str = "
select d.activity_id, d.inbox_id, i.url, i.shared, d.host, d.shard, d.lane, d.order_key, d.seq,
       a.kind, octet_length(a.body) as body_bytes, a.created_at as activity_at,
       coalesce(s.visibility = 'direct', false) as is_direct, d.state, d.own_failures,
       d.refused_since as paced_since,
       coalesce(d.published_at, d.created_at) as published_at,
       coalesce(h.signature, 'cavage') as signature,
       coalesce(h.state, 'ok') as host_state,
       coalesce(h.backlog, false) as host_backlog,
       h.paused_at is not null as host_paused,
       h.next_probe_at, h.probe_interval, h.failing_since,
       coalesce(h.failed_days, '{}') as failed_days,
       h.last_probe_activity_id, h.last_success_at, h.rate, h.rate_until, h.held_until, h.gone_since,
       greatest(
           (select max(case when p.state = 'queued' then 2.0::float8
                            when s.deleted_at is not null then 0.5::float8
                            else greatest(extract(epoch from
                                     coalesce(p.not_before, $3 + interval '1 minute') - $3),
                                     0.0)::float8 + 0.5 end)
            from deliveries p
            where d.seq > 1 and p.order_key = d.order_key and p.host = d.host and p.seq < d.seq
              and p.activity_id >= (select f.id - (3600000::bigint << 16) from activities f
                                    where f.order_key = d.order_key order by f.seq limit 1)
              and p.activity_id <= d.activity_id + (3600000::bigint << 16)
              and coalesce(p.state in ('queued', 'parked'), false)),
           (select 1.0::float8
            from activities u
            where u.order_key = d.order_key and u.seq < d.seq
              and coalesce(u.planned_at, 'infinity') = 'infinity'
              and u.created_at > $3 - interval '1 day'
            limit 1)
       ) as behind_seconds,
       coalesce(case when a.kind in ('Create', 'Update', 'Announce', 'Like') then
           case
               when a.status_id is not null and (s.id is null or s.deleted_at is not null)
                   then 'deleted'
               when author.id is null or author.suspended_at is not null
                    or author.deleted_at is not null
                   then 'suspended'
               when not i.shared and exists (
                       select 1 from accounts r
                       join blocks b on (b.account_id = r.id and b.target_id = a.account_id)
                                     or (b.account_id = a.account_id and b.target_id = r.id)
                       where r.inbox_url = i.url and r.domain is not null
                         and r.shared_inbox_url is null)
                   then 'blocked'
               when a.status_id is not null
                    and (s.visibility in ('private', 'direct')
                         or a.kind in ('Create', 'Announce') and not a.to_earlier_recipients
                            and (a.to_followers_of is not null or a.to_accounts <> '{}'))
                    and not exists (
                       select 1 from follows f
                       where f.target_id = a.to_followers_of and f.inbox_id = d.inbox_id
                         and f.state = 'accepted'
                         and not exists (
                             select 1 from blocks b
                             where (b.account_id = f.account_id and b.target_id = f.target_id)
                                or (b.account_id = f.target_id and b.target_id = f.account_id)))
                    and not exists (
                       select 1 from inboxes fi
                       join follows f on f.inbox_id = fi.id
                       where s.visibility in ('private', 'direct')
                         and fi.host = i.host and f.target_id = a.to_followers_of
                         and f.state = 'accepted'
                         and not exists (
                             select 1 from blocks b
                             where (b.account_id = f.account_id and b.target_id = f.target_id)
                                or (b.account_id = f.target_id and b.target_id = f.account_id)))
                    and not exists (
                       select 1 from accounts r
                       where r.id = any(a.to_accounts)
                         and (r.inbox_url = i.url or r.shared_inbox_url = i.url
                              or r.domain = i.host)
                         and not exists (
                             select 1 from blocks b
                             where (b.account_id = r.id and b.target_id = a.account_id)
                                or (b.account_id = a.account_id and b.target_id = r.id)))
                   then 'audience'
           end
       end, case when exists (
           select 1 from activities l
           where l.order_key = a.order_key and l.seq > a.seq
             and (l.kind = 'Delete' and a.kind <> 'Delete'
                  or l.kind = 'Reject' and a.kind = 'Accept'
                  or l.kind = 'Undo'
                     and position(convert_to(to_json(a.uri)::text, 'UTF8') in l.body) > 0)
             and exists (
                 select 1 from inboxes hi
                 join deliveries ld on ld.activity_id = l.id and ld.inbox_id = hi.id
                 where hi.host = i.host and ld.state in ('delivered', 'dead', 'cancelled')))
           then 'withdrawn'
           when a.kind in ('Create', 'Update', 'Reject', 'Undo') and exists (
           select 1 from activities l
           join inboxes hi on hi.host = i.host
           join deliveries ld on ld.activity_id = l.id and ld.inbox_id = hi.id
           where d.replayed_at is not null
             and l.order_key = a.order_key and l.seq > a.seq and ld.state = 'delivered'
             and l.kind = case a.kind
                 when 'Reject' then 'Accept'
                 when 'Undo' then (
                     select e.kind from activities e
                     where e.order_key = a.order_key and e.seq < a.seq
                       and position(convert_to(to_json(e.uri)::text, 'UTF8') in a.body) > 0
                     order by e.seq desc limit 1)
                 else 'Update' end)
           then 'superseded' end) as unwanted
from unnest($1::bigint[], $2::bigint[]) as pair(activity_id, inbox_id)
-- Row by row, each in the one partition of its activity: `offset 0` keeps the join in this order.
cross join lateral (
    select * from deliveries r
    where r.activity_id = pair.activity_id and r.inbox_id = pair.inbox_id offset 0) d
join activities a on a.id = d.activity_id
join inboxes i on i.id = d.inbox_id
left join hosts h on h.host = d.host
left join statuses s on s.id = a.status_id
left join accounts author on author.id = a.account_id";
