//! The shards of this process: taking their messages while they are ours, and handing them over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_model::{Lane, Message};
use tidegate_queue::{Consumer, Delivered};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::Event;
use super::item::{Batch, Origin};
use super::reading::read;
use super::{Context, Engine};
use crate::lease::LeaseEvent;

/// How long a shard may take to be handed over: what is under way then may still arrive, and the
/// next owner is told so.
const HAND_OVER: Duration = Duration::from_secs(5);

/// How long before a consumer that could not be started is tried again, and a message for which
/// the database was away comes again.
const AGAIN: Duration = Duration::from_secs(1);

/// One shard that is ours.
struct Shard {
    /// Ends taking messages.
    quiet: CancellationToken,
    /// Ends the channel as well; messages in hand are the queue's again.
    closed: CancellationToken,
    unsettled_until: Option<Instant>,
    /// Being handed over; given up waiting then.
    leaving: Option<Instant>,
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.quiet.cancel();
        self.closed.cancel();
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Shards(HashMap<u32, Shard>);

impl Shards {
    /// Whether rows of the shard may be taken in.
    pub(super) fn has(&self, shard: u32) -> bool {
        self.0
            .get(&shard)
            .is_some_and(|shard| shard.leaving.is_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For how long what has a predecessor is not sent.
    pub(super) fn unsettled(&self, shard: u32, now: Instant) -> Option<Duration> {
        let until = self.0.get(&shard)?.unsettled_until?;
        until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// Those that are looked after, as the database spells them.
    pub(super) fn numbers(&self) -> Vec<i32> {
        let mut numbers: Vec<i32> = self
            .0
            .iter()
            .filter(|(_, shard)| shard.leaving.is_none())
            .filter_map(|(shard, _)| i32::try_from(*shard).ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Keeps the leases, and tells the engine.
pub(super) async fn lease(context: Context) -> anyhow::Result<()> {
    let told = |event: LeaseEvent| context.tell(Event::Lease(event));
    context.leases.run(told, &context.stop).await;
    Ok(())
}

impl Engine {
    pub(super) fn lease_changed(&mut self, event: LeaseEvent) {
        match event {
            LeaseEvent::Gained { shard, unsettled } => {
                let (quiet, closed) = (CancellationToken::new(), CancellationToken::new());
                for lane in Lane::ALL {
                    let taking = take(
                        self.context.clone(),
                        shard,
                        lane,
                        quiet.clone(),
                        closed.clone(),
                    );
                    self.tasks.spawn(taking);
                }
                let ours = Shard {
                    quiet,
                    closed,
                    unsettled_until: unsettled.map(|left| Instant::now() + left),
                    leaving: None,
                };
                self.shards.0.insert(shard, ours);
                self.looks.shard_gained();
            }
            LeaseEvent::GiveUp { shard } => {
                let Some(ours) = self.shards.0.get_mut(&shard) else {
                    let leases = self.context.leases.clone();
                    self.tasks
                        .spawn(async move { leases.release(shard, true).await });
                    return;
                };
                ours.quiet.cancel();
                ours.leaving = Some(Instant::now() + HAND_OVER);
                self.drop_waiting(shard);
                self.shards_step();
            }
            LeaseEvent::Lost { shard } => {
                if self.shards.0.remove(&shard).is_some() {
                    tracing::warn!(shard, "the lease of a shard ran out; another may have it");
                    self.drop_waiting(shard);
                    self.hosts.forget_shard(shard);
                }
            }
        }
    }

    /// What waits in memory for a shard that is no longer ours goes back to its queue.
    fn drop_waiting(&mut self, shard: u32) {
        for item in self.scheduler.take_shard(shard) {
            self.let_go(&item);
        }
    }

    /// Shards that are being handed over and have nothing under way any more are free.
    pub(super) fn shards_step(&mut self) {
        let now = Instant::now();
        let mut free = Vec::new();
        for (shard, ours) in &self.shards.0 {
            let Some(deadline) = ours.leaving else {
                continue;
            };
            let is_settled =
                self.scheduler.in_flight_of(*shard) == 0 && !self.has_record_of(*shard);
            if is_settled || now >= deadline {
                free.push((*shard, is_settled));
            }
        }
        for (shard, is_settled) in free {
            self.shards.0.remove(&shard);
            self.hosts.forget_shard(shard);
            let leases = self.context.leases.clone();
            self.tasks
                .spawn(async move { leases.release(shard, is_settled).await });
        }
    }

    fn has_record_of(&self, shard: u32) -> bool {
        let pending = self.pending.iter();
        self.is_writing
            || pending
                .map(|record| &record.item.place)
                .any(|place| place.shard == shard)
    }
}

/// Takes the messages of one lane of a shard until it is given up.
async fn take(
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
        tokio::select! {
            () = quiet.cancelled() => return,
            () = take_one(context, delivered, shard, lane, room) => {}
        }
    }
}

/// Reads a message's rows and hands them to the engine.
async fn take_one(
    context: &Context,
    delivered: Delivered,
    shard: u32,
    lane: Lane,
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
    let reading = match read(&context.pool, &pairs, context.clock.now()).await {
        Ok(reading) => Arc::new(reading),
        Err(error) => {
            tracing::warn!(%error, "a message waits for the database");
            return delivered.give_back(AGAIN).await;
        }
    };
    // A row that was published again says a later time than its message: the earliest counts.
    let published = reading.rows.values().map(|row| row.published_at);
    if let Some(published_at) = published.min() {
        context.watermarks.taken(lane, shard, published_at);
    }
    let batch = Batch::of_message(pairs, Arc::clone(&reading), delivered, shard, permit);
    let event = Engine::rows_event(Arc::new(batch), reading, Origin::Queue, None);
    context.tell(event).await;
}
