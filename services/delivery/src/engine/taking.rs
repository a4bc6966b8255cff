//! Messages from their queues to the engine.

use std::sync::Arc;
use std::time::Duration;

use tidegate_model::{Lane, Message};
use tidegate_queue::{Consumer, Delivered};
use tidegate_store::StoreError;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::item::{Batch, Origin};
use super::reading::{Reading, read};
use super::{Context, Engine, suspects};

/// How long before a consumer that could not be started is tried again, and before a message for
/// which the database was away is looked at again.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// How often a message's rows are asked for when the database refuses, and is not away.
const REFUSALS: u32 = 3;

/// Takes the messages of one lane of a shard until it is given up.
pub(super) async fn lane(
    context: Context,
    shard: u32,
    lane: Lane,
    quiet: CancellationToken,
    closed: CancellationToken,
) {
    let name = context.queues.deliver(lane, shard);
    let room = Arc::new(Semaphore::new(context.options.prefetch_inboxes));
    while !quiet.is_cancelled() {
        let names = [name.clone()];
        match context
            .queue
            .consume(&names, context.options.prefetch_messages)
            .await
        {
            Ok(mut consumer) => {
                read_all(&context, &mut *consumer, shard, lane, &room, &quiet).await;
                consumer.stop().await;
                // What is in hand is acknowledged on the consumer's channel: it stays until then.
                if quiet.is_cancelled() {
                    closed.cancelled().await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, queue = name, "the queue cannot be consumed yet");
            }
        }
        tokio::select! {
            () = quiet.cancelled() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn read_all(
    context: &Context,
    consumer: &mut dyn Consumer,
    shard: u32,
    lane: Lane,
    room: &Arc<Semaphore>,
    quiet: &CancellationToken,
) {
    loop {
        let next = tokio::select! {
            () = quiet.cancelled() => return,
            next = consumer.next() => next,
        };
        let Some(delivered) = next else { return };
        let taking = async {
            if let Some(delivered) = suspects::set_apart(context, delivered).await {
                take_one(context, delivered, shard, Some(lane), room).await;
            }
        };
        tokio::select! {
            () = quiet.cancelled() => return,
            () = taking => {}
        }
    }
}

/// Reads a message's rows and hands them to the engine. `lane`: the queue that it came from,
/// when it is one of the shard's own.
pub(super) async fn take_one(
    context: &Context,
    delivered: Delivered,
    shard: u32,
    lane: Option<Lane>,
    room: &Arc<Semaphore>,
) {
    let Message::Deliver {
        activity_id,
        inbox_ids,
        ..
    } = &delivered.message
    else {
        return delivered.bury("not a delivery").await;
    };
    let (activity_id, mut inbox_ids) = (*activity_id, inbox_ids.clone());
    inbox_ids.sort_unstable();
    inbox_ids.dedup();
    if inbox_ids.is_empty() {
        return delivered.ack().await;
    }
    // A message that is larger than all the room there is has all of it.
    let wanted = inbox_ids.len().min(context.options.prefetch_inboxes).max(1);
    let wanted = u32::try_from(wanted).unwrap_or(1);
    let Ok(permit) = Arc::clone(room).acquire_many_owned(wanted).await else {
        return;
    };
    let pairs: Vec<(i64, i64)> = inbox_ids.into_iter().map(|id| (activity_id, id)).collect();
    let Some(reading) = read_patiently(context, &pairs, lane).await else {
        // Given back by being dropped.
        return;
    };
    if let Some(lane) = lane {
        // A row that was published again says a later time than its message: the earliest counts.
        let published = reading.rows.values().map(|row| row.published_at);
        if let Some(published_at) = published.min() {
            context.watermarks.taken(lane, shard, published_at);
        }
    }
    let batch = Batch::of_message(pairs, Arc::clone(&reading), delivered, shard, permit);
    let event = Engine::rows_event(Arc::new(batch), reading, Origin::Queue, Vec::new());
    context.tell(event).await;
}

/// Holds the message while the database is away, as long as the shard is ours: given back each
/// second it would count as returned, and an outage would make every message suspect. `None`: the
/// database is there and refuses this very question; the message is given back, and in the end
/// suspect.
async fn read_patiently(
    context: &Context,
    pairs: &[(i64, i64)],
    lane: Option<Lane>,
) -> Option<Arc<Reading>> {
    let mut refused = 0;
    loop {
        let answer = {
            let _place = match lane {
                Some(Lane::Now) => None,
                // It is never closed.
                _ => context.patient_reads.acquire().await.ok(),
            };
            read(&context.pool, pairs, context.clock.now()).await
        };
        let error = match answer {
            Ok(reading) => return Some(Arc::new(reading)),
            Err(error) => error,
        };
        tracing::warn!(%error, "a message waits for the database");
        refused += u32::from(!matches!(error, StoreError::Unavailable(_)));
        if refused >= REFUSALS {
            return None;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
