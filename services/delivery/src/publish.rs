//! Rows back onto the queue: grouped into messages as planning groups them.

use std::collections::BTreeMap;

use tidegate_model::{Lane, Message};
use tidegate_queue::Outgoing;

use crate::Delivery;

/// Rows of one message (design section 6).
const ROWS_PER_MESSAGE: usize = 100;

/// A row that was set to `queued` and has to be published.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Due {
    pub(crate) activity_id: i64,
    pub(crate) inbox_id: i64,
    pub(crate) shard: i32,
    pub(crate) lane: String,
}

/// Rows as messages: one activity, one shard, one lane, at most a hundred inboxes each.
fn group(rows: &[Due]) -> Vec<(Lane, Message)> {
    let mut groups: BTreeMap<(Lane, i64, i32), Vec<i64>> = BTreeMap::new();
    for row in rows {
        // The schema knows these three lanes only.
        let lane = Lane::parse(&row.lane).unwrap_or(Lane::Slow);
        groups
            .entry((lane, row.activity_id, row.shard))
            .or_default()
            .push(row.inbox_id);
    }
    let mut messages = Vec::new();
    for ((lane, activity_id, shard), inbox_ids) in groups {
        for chunk in inbox_ids.chunks(ROWS_PER_MESSAGE) {
            let message = Message::Deliver {
                activity_id,
                shard: u32::try_from(shard).unwrap_or(0),
                inbox_ids: chunk.to_vec(),
            };
            messages.push((lane, message));
        }
    }
    messages
}

/// Publishes rows; returns those whose message the queue did not take.
pub(crate) async fn publish(delivery: &Delivery, rows: &[Due]) -> Vec<(i64, i64)> {
    let deps = &delivery.deps;
    let messages = group(rows);
    let batch = messages.iter().map(|(lane, message)| Outgoing {
        queue: deps.queues.of(message, *lane),
        message: message.clone(),
    });
    let results = deps.queue.publish(batch.collect()).await;
    let mut refused = Vec::new();
    for ((_, message), result) in messages.iter().zip(results) {
        let Err(error) = result else { continue };
        if refused.is_empty() {
            tracing::warn!(%error, "deliveries could not be queued again yet");
        }
        if let Message::Deliver {
            activity_id,
            inbox_ids,
            ..
        } = message
        {
            refused.extend(inbox_ids.iter().map(|inbox_id| (*activity_id, *inbox_id)));
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_travel_by_activity_shard_and_lane_urgent_first() {
        let row = |activity_id, inbox_id, shard, lane: &str| Due {
            activity_id,
            inbox_id,
            shard,
            lane: lane.to_owned(),
        };
        let mut rows: Vec<Due> = (0..150).map(|inbox| row(1, inbox, 3, "bulk")).collect();
        rows.push(row(1, 900, 4, "bulk"));
        rows.push(row(2, 901, 3, "now"));
        let messages = group(&rows);
        let sizes: Vec<(Lane, usize)> = messages
            .iter()
            .map(|(lane, message)| match message {
                Message::Deliver { inbox_ids, .. } => (*lane, inbox_ids.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            (Lane::Now, 1),
            (Lane::Bulk, 100),
            (Lane::Bulk, 50),
            (Lane::Bulk, 1),
        ];
        assert_eq!(sizes, expected);
    }
}
