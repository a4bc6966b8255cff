//! Taking `Deliver` messages from the queue, each lane by its own consumer with its own share,
//! so that profile updates never stand before a follow.

mod activity;
mod attempt;
mod in_hand;
mod message;
mod recorder;
mod slots;
mod snapshot;
mod verdict;
mod window;

use std::sync::Arc;
use std::time::Duration;

use tidegate_model::{Lane, Message};
use tidegate_queue::{Consumer, Delivered, QueueError};
use tidegate_telemetry::Stop;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::activity::Activities;
use self::attempt::Sender;
use self::in_hand::InHand;
use self::message::{Done, Workshop};
use self::recorder::Recorder;
use self::slots::Slots;
use self::window::Windows;
use crate::Delivery;

/// How long a message waits before it comes again when the database was away.
const AGAIN: Duration = Duration::from_secs(2);

/// How long before a consumer that could not be started is tried again.
const RESTART: Duration = Duration::from_secs(2);

/// Consumes all lanes until stopped; what is in hand then is finished first. `wake` is told
/// when parked rows became due.
pub(crate) async fn run(delivery: &Delivery, wake: Arc<Notify>, stop: &Stop) -> anyhow::Result<()> {
    let deps = &delivery.deps;
    let options = &delivery.options;
    let (recorder, writer) = Recorder::start(deps.pool.clone(), wake, stop.hard.clone());
    let shared = Workshop {
        lane: Lane::Now,
        pool: deps.pool.clone(),
        activities: Activities::new(deps.pool.clone()),
        sender: Sender {
            client: delivery.client.clone(),
            signer: delivery.signer.clone(),
            clock: deps.clock.clone(),
        },
        recorder,
        windows: Windows::new(options.window, options.window_waiting, options.window_wait),
        in_hand: InHand::default(),
        slots: Slots::new(options.posts_per_lane, options.window_wait),
        watermarks: delivery.watermarks.clone(),
        options: Arc::clone(options),
    };
    let lanes = Lane::ALL.map(|lane| {
        let workshop = Workshop {
            lane,
            slots: Slots::new(options.posts_per_lane, options.window_wait),
            ..shared.clone()
        };
        run_lane(delivery, workshop, stop)
    });
    drop(shared);
    futures::future::try_join_all(lanes).await?;
    // All senders are gone: the recorder writes what it has and ends.
    writer.await?;
    Ok(())
}

async fn run_lane(delivery: &Delivery, workshop: Workshop, stop: &Stop) -> anyhow::Result<()> {
    let deps = &delivery.deps;
    let lane = workshop.lane;
    let queues: Vec<String> = (0..deps.queues.shards())
        .map(|shard| deps.queues.deliver(lane, shard))
        .collect();
    while !stop.is_stopping() {
        let prefetch = delivery.options.messages_per_lane;
        match deps.queue.consume(&queues, prefetch).await {
            Ok(consumer) => consume(consumer, &workshop, stop).await,
            Err(error @ QueueError::Refused(_)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, lane = lane.as_str(), "the queue cannot be consumed yet");
            }
        }
        stop.sleep(RESTART).await;
    }
    Ok(())
}

/// Takes messages until the consumer ends or a stop is asked for, then finishes what is in hand.
async fn consume(mut consumer: Box<dyn Consumer>, workshop: &Workshop, stop: &Stop) {
    let mut in_hand = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.soft.cancelled() => break,
            Some(_) = in_hand.join_next() => {}
            next = consumer.next() => match next {
                Some(delivered) => {
                    in_hand.spawn(handle(delivered, workshop.clone()));
                }
                None => break,
            },
        }
    }
    consumer.stop().await;
    let finish = async { while in_hand.join_next().await.is_some() {} };
    tokio::select! {
        () = finish => {}
        () = stop.hard.cancelled() => in_hand.shutdown().await,
    }
}

async fn handle(delivered: Delivered, workshop: Workshop) {
    let Message::Deliver {
        activity_id,
        shard,
        inbox_ids,
    } = &delivered.message
    else {
        return delivered.bury("not a delivery").await;
    };
    match workshop
        .message(*activity_id, *shard, inbox_ids.clone())
        .await
    {
        Done::Ack => delivered.ack().await,
        Done::Again => delivered.give_back(AGAIN).await,
    }
}
