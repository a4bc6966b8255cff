//! From planned rows to messages of the delivery role.

use tidegate_model::{Lane, Message};
use tidegate_queue::Outgoing;
use tidegate_store::unwaited;

use super::Activity;
use crate::FanoutDeps;
use crate::trouble::Trouble;

/// Inboxes per message (design section 6): all of one shard, small enough that one message is
/// done in seconds.
const INBOXES_PER_MESSAGE: usize = 100;

/// Rows per round: fifty full messages, well within the queue's window of confirms.
const ROWS_PER_ROUND: i64 = 5_000;

#[derive(sqlx::FromRow)]
struct Row {
    lane: String,
    shard: i32,
    inbox_id: i64,
}

/// Publishes every row of the activity, and notes on the activity that the queue took them all: a
/// note on each row would cost as much as the row. A crash or a refusal in between publishes some
/// twice; the row's state absorbs it.
///
/// The odd spelling of `state = 'queued'` keeps the planner from the index of all queued rows
/// (migration 0043).
pub(super) async fn all(deps: &FanoutDeps, activity: &Activity) -> Result<(), Trouble> {
    if activity.is_published {
        return Ok(());
    }
    let (mut lane, mut shard, mut inbox_id) = (String::new(), -1, 0);
    loop {
        let mut rows: Vec<Row> = sqlx::query_as(
            "select lane, shard, inbox_id from deliveries
             where activity_id = $1 and coalesce(state = 'queued', false)
               and (lane, shard, inbox_id) > ($2, $3, $4)
             order by lane, shard, inbox_id limit $5",
        )
        .bind(activity.id)
        .bind(&lane)
        .bind(shard)
        .bind(inbox_id)
        .bind(ROWS_PER_ROUND)
        .fetch_all(&deps.pool)
        .await?;
        round(deps, activity, &rows).await?;
        let is_full = rows.len() as i64 == ROWS_PER_ROUND;
        match rows.pop() {
            Some(last) if is_full => {
                (lane, shard, inbox_id) = (last.lane, last.shard, last.inbox_id);
            }
            _ => break,
        }
    }
    // Forgotten in a crash of the database, it is published once more.
    sqlx::query(concat!(
        "update activities set published_at = now() where id = $1 and ",
        unwaited!()
    ))
    .bind(activity.id)
    .execute(&deps.pool)
    .await?;
    Ok(())
}

async fn round(deps: &FanoutDeps, activity: &Activity, rows: &[Row]) -> Result<(), Trouble> {
    let messages = messages(activity.id, rows);
    if messages.is_empty() {
        return Ok(());
    }
    let batch = messages
        .into_iter()
        .map(|(lane, message)| Outgoing {
            queue: deps.queues.of(&message, lane),
            message,
        })
        .collect();
    for result in deps.queue.publish(batch).await {
        result?;
    }
    Ok(())
}

/// Rows, sorted by lane and shard, as messages of one lane and shard each.
fn messages(activity_id: i64, rows: &[Row]) -> Vec<(Lane, Message)> {
    rows.chunk_by(|a, b| a.shard == b.shard && a.lane == b.lane)
        .flat_map(|shard| shard.chunks(INBOXES_PER_MESSAGE))
        .map(|chunk| {
            let message = Message::Deliver {
                activity_id,
                shard: chunk[0].shard as u32,
                inbox_ids: chunk.iter().map(|row| row.inbox_id).collect(),
            };
            // The column has a check.
            (Lane::parse(&chunk[0].lane).unwrap_or(Lane::Bulk), message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_one_lane_and_shard_and_at_most_a_hundred_inboxes() {
        let rows: Vec<Row> = (0..250)
            .map(|n| Row {
                lane: if n < 130 { "bulk" } else { "now" }.to_owned(),
                shard: i32::from(n >= 120),
                inbox_id: n,
            })
            .collect();
        let sizes: Vec<(Lane, u32, usize)> = messages(1, &rows)
            .iter()
            .map(|(lane, message)| match message {
                Message::Deliver {
                    shard, inbox_ids, ..
                } => (*lane, *shard, inbox_ids.len()),
                other => panic!("not a delivery: {other:?}"),
            })
            .collect();
        let (bulk, now) = (Lane::Bulk, Lane::Now);
        assert_eq!(
            sizes,
            [
                (bulk, 0, 100),
                (bulk, 0, 20),
                (bulk, 1, 10),
                (now, 1, 100),
                (now, 1, 20)
            ]
        );
    }
}
