//! Messages that somebody wrote into a queue by hand: a message is a hint to look at rows, and
//! what has no row is not sent, whoever asks for it.

mod common;

use common::{Plan, Rig};
use tidegate_loadtest::HostBehaviour;
use tidegate_model::{Lane, Message};
use tidegate_queue::Outgoing;

const FOLLOWER: &str = "http://friend.sim.test/inbox";
const STRANGER: &str = "http://stranger.sim.test/inbox";

/// A post to followers only, planned for the one follower.
async fn private_post(rig: &Rig) -> i64 {
    let status = rig.post("private").await;
    let (inbox, _) = rig.inbox(FOLLOWER).await;
    let follower: i64 = sqlx::query_scalar(
        "insert into accounts (username, domain, uri, url, inbox_url, key_id, public_key_pem)
         values ('f', 'friend.sim.test', 'http://friend.sim.test/users/f', '', $1, 'k', '')
         returning id",
    )
    .bind(FOLLOWER)
    .fetch_one(rig.pool())
    .await
    .expect("an account");
    sqlx::query(
        "insert into follows (account_id, target_id, uri, inbox_id, state)
         values ($1, $2, 'f', $3, 'accepted')",
    )
    .bind(follower)
    .bind(rig.author)
    .bind(inbox)
    .execute(rig.pool())
    .await
    .expect("a follow");
    let plan = Plan {
        status_id: Some(status),
        ..Plan::new("Create", "private", 1, &[FOLLOWER])
    };
    let id = rig.plan(&plan).await;
    sqlx::query("update activities set to_followers_of = account_id where id = $1")
        .bind(id)
        .execute(rig.pool())
        .await
        .expect("an audience");
    id
}

#[tokio::test]
async fn a_message_by_hand_sends_no_private_post_to_a_stranger() {
    let mut rig = Rig::new().await;
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
    rig.until_queue_is_empty().await;
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

#[tokio::test]
async fn what_is_no_delivery_dies_at_once() {
    let rig = Rig::running().await;
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
    rig.until_queue_is_empty().await;
    let dead: Vec<(String, String)> =
        sqlx::query_as("select queue, reason from dead_messages order by queue")
            .fetch_all(rig.pool())
            .await
            .expect("dead messages");
    let expected = strays.map(|queue| (queue, "not a delivery".to_owned()));
    assert_eq!(dead, expected);
}
