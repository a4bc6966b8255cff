//! What the database says about the rows of one message right before they are sent: one
//! statement for all of them, valid for two seconds (design section 5.7).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tidegate_store::StoreError;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a reading may be used: a block or deletion is felt by everything that leaves later.
const VALID: Duration = Duration::from_secs(2);

/// One row and everything that decides whether it is sent now.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) inbox_id: i64,
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) state: String,
    pub(crate) attempts: i32,
    /// The scheme that the host took last.
    pub(crate) signature: String,
    /// Seconds after which it is worth looking again, because something of the same order key
    /// goes first on this host.
    pub(crate) behind_seconds: Option<f64>,
    /// When its message was handed to the queue.
    pub(crate) published_at: Option<OffsetDateTime>,
    /// Why it is no longer wanted.
    pub(crate) unwanted: Option<String>,
}

/// Rows by inbox, and when they were read.
type Reading = (Instant, Arc<HashMap<i64, Row>>);

/// The readings of one message.
pub(crate) struct Snapshots {
    pool: PgPool,
    activity_id: i64,
    inbox_ids: Vec<i64>,
    latest: Mutex<Option<Reading>>,
}

impl Snapshots {
    pub(crate) fn new(pool: PgPool, activity_id: i64, inbox_ids: Vec<i64>) -> Self {
        Self {
            pool,
            activity_id,
            inbox_ids,
            latest: Mutex::new(None),
        }
    }

    /// A reading that is valid now; read again when the last one is too old.
    pub(crate) async fn fresh(&self) -> Result<Arc<HashMap<i64, Row>>, StoreError> {
        let mut latest = self.latest.lock().await;
        if let Some((read_at, rows)) = &*latest
            && read_at.elapsed() < VALID
        {
            return Ok(Arc::clone(rows));
        }
        // The time before the statement: what changed while it ran counts as later.
        let read_at = Instant::now();
        let rows = Arc::new(self.read().await?);
        *latest = Some((read_at, Arc::clone(&rows)));
        Ok(rows)
    }

    async fn read(&self) -> Result<HashMap<i64, Row>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(READ)
            .bind(self.activity_id)
            .bind(&self.inbox_ids)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|row| (row.inbox_id, row)).collect())
    }
}

/// A predecessor counts until it is final on the same *host*: a person's own inbox and the
/// shared one are the same server. One that is not planned yet counts on every host; after a day
/// it is taken for lost, and waits no longer.
///
/// A parked predecessor whose status was deleted since is not waited for: it is about to be
/// cancelled (the replayer hastens it).
///
/// Blocks are known where a personal inbox names the person. For posts that are not open the
/// audience on the host is looked for again, for edits too: a host whose Create was cancelled
/// must not get the text with the Update. Only what withdraws goes to earlier recipients anyway.
///
/// What was taken back meanwhile is not sent either (a dead row that is replayed): when the host
/// has the end of a later Delete, of an Undo that names this very activity, or of the Reject of
/// what this accepts.
const READ: &str = "
select d.inbox_id, i.url, d.host, d.state, d.attempts, d.published_at,
       coalesce(h.signature, 'cavage') as signature,
       greatest(
           (select max(case when s.deleted_at is not null then 0.5::float8
                            else greatest(extract(epoch from p.not_before - now()), 0.0)::float8
                                 + 0.5 end)
            from deliveries p
            where p.order_key = d.order_key and p.host = d.host and p.seq < d.seq
              and p.state = 'parked'),
           (select 2.0::float8
            from deliveries p
            where p.order_key = d.order_key and p.host = d.host and p.seq < d.seq
              and p.state = 'queued'
            limit 1),
           (select 1.0::float8
            from activities u
            where u.order_key = d.order_key and u.seq < d.seq and u.planned_at is null
              and u.created_at > now() - interval '1 day'
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
               when s.visibility in ('private', 'direct')
                    and not exists (
                       select 1 from inboxes fi
                       join follows f on f.inbox_id = fi.id
                       where fi.host = d.host and f.target_id = a.to_followers_of
                         and f.state = 'accepted'
                         and not exists (
                             select 1 from blocks b
                             where (b.account_id = f.account_id and b.target_id = f.target_id)
                                or (b.account_id = f.target_id and b.target_id = f.account_id)))
                    and not exists (
                       select 1 from accounts r
                       where r.id = any(a.to_accounts)
                         and (r.inbox_url = i.url or r.shared_inbox_url = i.url
                              or r.domain = d.host)
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
                 where hi.host = d.host and ld.state in ('delivered', 'dead', 'cancelled')))
           then 'withdrawn' end) as unwanted
from deliveries d
join activities a on a.id = d.activity_id
join inboxes i on i.id = d.inbox_id
left join hosts h on h.host = d.host
left join statuses s on s.id = a.status_id
left join accounts author on author.id = a.account_id
where d.activity_id = $1 and d.inbox_id = any($2)";
