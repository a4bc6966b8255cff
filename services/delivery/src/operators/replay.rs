//! Dead rows get another life: they wait for their host like everything that waits for it, so
//! that they are sent in order and no faster than it takes them. Their ladder and their age begin
//! anew; `attempts` and `touched` stay, because they tell what happened on the wire.

use sqlx::PgConnection;
use tidegate_store::StoreError;

use super::moves::Moved;

/// Replays rows that are dead.
pub(super) async fn rows(
    connection: &mut PgConnection,
    pairs: &[(i64, i64)],
) -> Result<Moved, StoreError> {
    let (activities, inboxes): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
    let (moved, waiting) = sqlx::query_as(REPLAY)
        .bind(&activities)
        .bind(&inboxes)
        .bind(activities.iter().min())
        .bind(activities.iter().max())
        .fetch_one(connection)
        .await?;
    Ok(Moved {
        rows: moved,
        waiting,
        mail: false,
    })
}

/// A Follow whose request is gone stays dead: the other side would believe in a follow that
/// nobody here asks for any more. The hosts are marked in the same statement, so that no row
/// waits for a host that nobody looks at.
const REPLAY: &str = "
with moved as (
    update deliveries d
    set state = 'parked', not_before = null, own_failures = 0, republish_count = 0, refused_since = null,
        replayed_at = now(), updated_at = now(),
        reason = coalesce((select case when h.paused_at is not null then 'paused'
                                       when h.state <> 'ok' then 'host' end
                           from hosts h where h.host = d.host), 'replay')
    from unnest($1::bigint[], $2::bigint[]) as p(activity_id, inbox_id)
    join activities a on a.id = p.activity_id
    where d.activity_id = p.activity_id and d.inbox_id = p.inbox_id and d.state = 'dead'
      and d.activity_id between $3 and $4
      and not (a.kind = 'Follow' and not exists (select 1 from follows f where f.uri = a.uri))
    returning d.host, d.shard, d.reason
), marked as (
    insert into hosts (host, shard, backlog, steered_at)
    select distinct on (host) host, shard, true, now() from moved order by host
    on conflict (host) do update
        set backlog = true, shard = excluded.shard, steered_at = excluded.steered_at
    returning 1
)
select (select count(*) from moved),
       (select count(*) from moved where reason <> 'replay')";
