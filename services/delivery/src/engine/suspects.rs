//! Messages that came back too often are handled alone: one that ends its process each time must
//! not take two hundred others with it, and clean hand-overs do not come near the count.

use std::sync::Arc;
use std::time::Duration;

use tidegate_model::Message;
use tidegate_queue::{Consumer, Delivered, Outgoing};
use tokio::sync::Semaphore;

use super::Context;
use super::taking::{AGAIN, take_one};
use crate::metrics::SUSPECTS;

/// Returns above which a message is suspect (design section 6): twenty hand-overs or crashes
/// while it was in hand, which no healthy message sees.
const RETURNS: u32 = 20;

/// Before a message of somebody else's shard is offered again. Above the wait that is spent in a
/// consumer's hand, so that it does not keep out the next one; short, because who has the shard
/// is one of a few.
const ELSEWHERE: Duration = Duration::from_secs(2);

/// Moves a suspect message to the queue of its kind. Returned as it is when it is not suspect,
/// or when that queue cannot take it: a broker that refuses messages must still be emptied.
pub(super) async fn set_apart(context: &Context, delivered: Delivered) -> Option<Delivered> {
    if delivered.redeliveries <= RETURNS {
        return Some(delivered);
    }
    let outgoing = Outgoing {
        queue: context.queues.suspect(),
        message: delivered.message.clone(),
    };
    match context.queue.publish(vec![outgoing]).await.pop() {
        Some(Ok(())) => {
            SUSPECTS.inc();
            tracing::warn!(
                queue = delivered.queue,
                returns = delivered.redeliveries,
                "a message came back too often and is handled alone"
            );
            delivered.ack().await;
            None
        }
        Some(Err(error)) => {
            tracing::warn!(%error, "a suspect message could not be set apart");
            Some(delivered)
        }
        None => Some(delivered),
    }
}

/// Takes suspect messages one at a time until a stop.
pub(super) async fn take(context: Context) -> anyhow::Result<()> {
    let names = [context.queues.suspect()];
    let stop = context.stop.soft.clone();
    while !stop.is_cancelled() {
        match context.queue.consume(&names, 1).await {
            Ok(mut consumer) => {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = read_all(&context, &mut *consumer) => {}
                }
                consumer.stop().await;
            }
            Err(error) => tracing::warn!(%error, "suspect messages cannot be consumed yet"),
        }
        context.stop.sleep(AGAIN).await;
    }
    Ok(())
}

async fn read_all(context: &Context, consumer: &mut dyn Consumer) {
    // The prefetch of one is the bound; the rows of one message always have room.
    let room = Arc::new(Semaphore::new(context.options.prefetch_inboxes.max(1)));
    while let Some(delivered) = consumer.next().await {
        let Message::Deliver { shard, .. } = delivered.message else {
            delivered.bury("not a delivery").await;
            continue;
        };
        if shard >= context.queues.shards() {
            // There is no such shard any more: whoever changed the number parked the rows.
            delivered.ack().await;
        } else if context.leases.holds(shard) {
            take_one(context, delivered, shard, None, &room).await;
        } else {
            delivered.give_back(ELSEWHERE).await;
        }
    }
}
