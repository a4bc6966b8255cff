//! Rows that an operator gives up: cancelled, never deleted, so that the books still agree.

use sqlx::PgConnection;
use tidegate_model::Queues;
use tidegate_store::{OutboxHandle, StoreError};

use super::moves::Moved;
use crate::engine::{Post, withdraw};

/// Cancels rows that are parked or dead. A request under way ends as it ends, and changes
/// nothing any more.
pub(super) async fn rows(
    connection: &mut PgConnection,
    outbox: &OutboxHandle,
    queues: &Queues,
    pairs: &[(i64, i64)],
) -> Result<Moved, StoreError> {
    let (activities, inboxes): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
    let cancelled: Vec<i64> = sqlx::query_scalar(PURGE)
        .bind(&activities)
        .bind(&inboxes)
        .bind(activities.iter().min())
        .bind(activities.iter().max())
        .fetch_all(&mut *connection)
        .await?;
    let post = Post {
        outbox: outbox.clone(),
        queues: queues.clone(),
    };
    // A follow request that is never sent must not look as if somebody might answer it.
    let mail = withdraw(connection, &post, &cancelled).await?;
    Ok(Moved {
        rows: cancelled.len() as i64,
        waiting: 0,
        mail,
    })
}

/// What waited only behind a purged row becomes due.
const PURGE: &str = "
with moved as (
    update deliveries d
    set state = 'cancelled', reason = 'purged', not_before = null, updated_at = now()
    from unnest($1::bigint[], $2::bigint[]) as p(activity_id, inbox_id)
    where d.activity_id = p.activity_id and d.inbox_id = p.inbox_id
      and d.state in ('parked', 'dead') and d.activity_id between $3 and $4
    returning d.activity_id, d.inbox_id, d.order_key, d.host, d.seq
), released as (
    update deliveries w set not_before = now(), updated_at = now()
    from (select order_key, host, min(seq) as seq from moved group by order_key, host) f
    where w.order_key = f.order_key and w.host = f.host and w.seq > f.seq
      and w.state = 'parked' and w.reason = 'order' and w.not_before > now()
      and coalesce(w.state in ('queued', 'parked'), false)
      and not exists (select 1 from moved m
                      where m.activity_id = w.activity_id and m.inbox_id = w.inbox_id)
    returning 1
)
select activity_id from moved";
