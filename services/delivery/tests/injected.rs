//! Messages that somebody wrote into a queue by hand: a message is a hint to look at rows, and
//! what has no row is not sent, whoever asks for it.

#[macro_use]
#[path = "common/both.rs"]
mod both;
mod common;

use std::time::Duration;

use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::HostBehaviour;
use tidegate_model::{Lane, Message};
use tidegate_queue::Outgoing;
use tokio::time::Instant;

const FOLLOWER: &str = "http://friend.sim.test/inbox";
const STRANGER: &str = "http://stranger.sim.test/inbox";

on_both_queues!(
    a_message_by_hand_sends_no_private_post_to_a_stranger,
    what_is_no_delivery_dies_at_once,
    a_message_by_hand_takes_back_no_follow,
);

/// A post to followers only, planned for the one follower.
async fn private_post(rig: &Rig) -> i64 {
    let friend = rig.person("f", "friend.sim.test", true).await;
    rig.follow(friend, rig.author, FOLLOWER, "accepted").await;
    let plan = Plan {
        status_id: Some(rig.post("private").await),
        to_followers_of: Some(rig.author),
        ..Plan::new("Create", "private", 1, &[FOLLOWER])
    };
    rig.plan(&plan).await
}

async fn a_message_by_hand_sends_no_private_post_to_a_stranger(mut rig: Rig) {
    for host in ["friend.sim.test", "stranger.sim.test"] {
        rig.sim.add_host(host, HostBehaviour::default());
    }
    let id = private_post(&rig).await;
    let (friend, _) = rig.inbox(FOLLOWER).await;
    let (stranger, _) = rig.inbox(STRANGER).await;
    // Every queue, every shard number, alone and together with who may have it.
    let mut batch = Vec::new();
    for queue in rig.deps.queues.for_delivery() {
        for shard in 0..3 {
            for inbox_ids in [vec![stranger], vec![friend, stranger, stranger]] {
                let message = Message::Deliver {
                    activity_id: id,
                    shard,
                    inbox_ids,
                };
                batch.push(Outgoing {
                    queue: queue.clone(),
                    message,
                });
            }
        }
    }
    for result in rig.deps.queue.publish(batch).await {
        result.expect("published");
    }
    rig.start();
    rig.until(id, FOLLOWER, "delivered").await;
    rig.stop_when_all_is_done().await;
    let received = rig
        .sim
        .ledger()
        .received(|entry| *entry.host == *"stranger.sim.test");
    assert!(received.is_empty(), "{received:?}");
    let rows: i64 = sqlx::query_scalar("select count(*) from deliveries where activity_id = $1")
        .bind(id)
        .fetch_one(rig.pool())
        .await
        .expect("a count");
    assert_eq!(rows, 1, "no row came of it");
    // Who may have it has it once.
    let received = rig
        .sim
        .ledger()
        .received(|entry| entry.is_activity("Create"));
    assert_eq!(received.len(), 1, "{received:?}");
}

/// A pair without a row cannot die: what the activity asked for stands.
async fn a_message_by_hand_takes_back_no_follow(mut rig: Rig) {
    let asked = rig
        .plan(&Plan::new("Follow", "relation:1:2", 1, &[FOLLOWER]))
        .await;
    rig.asked(asked).await;
    let (stranger, _) = rig.inbox(STRANGER).await;
    let batch = rig.deps.queues.for_delivery().into_iter().map(|queue| {
        let message = Message::Deliver {
            activity_id: asked,
            shard: 0,
            inbox_ids: vec![stranger],
        };
        Outgoing { queue, message }
    });
    for result in rig.deps.queue.publish(batch.collect()).await {
        result.expect("published");
    }
    rig.start();
    rig.stop_when_all_is_done().await;
    let waiting = "select count(*) from follows where state = 'pending'";
    assert_eq!(rig.number(waiting).await, 1, "it was taken back");
    assert_eq!(rig.number("select count(*) from outbox").await, 0);
    assert_eq!(rig.row(asked, FOLLOWER).await.state, "queued");
}

async fn what_is_no_delivery_dies_at_once(mut rig: Rig) {
    rig.start();
    let strays = [
        rig.deps.queues.deliver(Lane::Now, 0),
        rig.deps.queues.suspect(),
    ];
    let batch = strays.iter().map(|queue| Outgoing {
        queue: queue.clone(),
        message: Message::Plan { activity_id: 1 },
    });
    for result in rig.deps.queue.publish(batch.collect()).await {
        result.expect("published");
    }
    let deadline = Instant::now() + PATIENCE;
    while rig.number("select count(*) from dead_messages").await < 2 {
        assert!(Instant::now() < deadline, "they live");
        rig.bring_dead_messages().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.until_queue_is_empty().await;
    let dead: Vec<(String, String)> =
        sqlx::query_as("select queue, reason from dead_messages order by queue")
            .fetch_all(rig.pool())
            .await
            .expect("dead messages");
    let expected = strays.map(|queue| (queue, "not a delivery".to_owned()));
    assert_eq!(dead, expected);
}
