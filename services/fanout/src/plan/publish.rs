//! From planned rows to messages of the delivery role.

use tidegate_model::Message;
use tidegate_queue::Outgoing;

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
    shard: i32,
    inbox_id: i64,
}

/// Publishes every row of the activity, and notes on the activity that the queue took them all: a
/// note on each row would cost as much as the row. A crash or a refusal in between publishes some
/// twice; the row's state absorbs it.
pub(super) async fn all(deps: &FanoutDeps, activity: &Activity) -> Result<(), Trouble> {
    if activity.is_published {
        return Ok(());
    }
    let (mut shard, mut inbox_id) = (-1, 0);
    loop {
        let rows: Vec<Row> = sqlx::query_as(
            "select shard, inbox_id from deliveries
             where activity_id = $1 and state = 'queued' and (shard, inbox_id) > ($2, $3)
             order by shard, inbox_id limit $4",
        )
        .bind(activity.id)
        .bind(shard)
        .bind(inbox_id)
        .bind(ROWS_PER_ROUND)
        .fetch_all(&deps.pool)
        .await?;
        round(deps, activity, &rows).await?;
        match rows.last() {
            Some(last) if rows.len() as i64 == ROWS_PER_ROUND => {
                (shard, inbox_id) = (last.shard, last.inbox_id);
            }
            _ => break,
        }
    }
    sqlx::query("update activities set published_at = now() where id = $1")
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
        .map(|message| Outgoing {
            queue: deps.queues.of(&message, activity.lane()),
            message,
        })
        .collect();
    for result in deps.queue.publish(batch).await {
        result?;
    }
    Ok(())
}

/// Rows, sorted by shard, as messages of one shard each.
fn messages(activity_id: i64, rows: &[Row]) -> Vec<Message> {
    rows.chunk_by(|a, b| a.shard == b.shard)
        .flat_map(|shard| shard.chunks(INBOXES_PER_MESSAGE))
        .map(|chunk| Message::Deliver {
            activity_id,
            shard: chunk[0].shard as u32,
            inbox_ids: chunk.iter().map(|row| row.inbox_id).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_one_shard_and_at_most_a_hundred_inboxes() {
        let rows: Vec<Row> = (0..250)
            .map(|n| Row {
                shard: i32::from(n >= 120),
                inbox_id: n,
            })
            .collect();
        let sizes: Vec<(u32, usize)> = messages(1, &rows)
            .iter()
            .map(|message| match message {
                Message::Deliver {
                    shard, inbox_ids, ..
                } => (*shard, inbox_ids.len()),
                other => panic!("not a delivery: {other:?}"),
            })
            .collect();
        assert_eq!(sizes, [(0, 100), (0, 20), (1, 100), (1, 30)]);
    }
}
