//! Another number of shards while work waits.

#[macro_use]
#[path = "common/both.rs"]
mod both;
mod common;

use std::time::Duration;

use common::{PATIENCE, Plan, Rig};
use tidegate_delivery::{ReshardError, change_shards, verify};
use tidegate_loadtest::HostBehaviour;
use tidegate_model::{Queues, shard_of};
use tokio::time::Instant;

on_both_queues!(
    more_shards_take_what_waits_in_order,
    fewer_shards_take_what_waits_in_order,
);

const HOSTS: usize = 12;

fn host(number: usize) -> String {
    format!("h{number}.sim.test")
}

/// Activities in the order in which each host took them.
fn order(rig: &Rig, host: &str) -> Vec<String> {
    let effects = rig
        .sim
        .ledger()
        .received(|entry| entry.effect && *entry.host == *host);
    let heads = effects.iter().filter_map(|entry| entry.activity.as_ref());
    heads.map(|head| head.id.to_string()).collect()
}

/// Plans three activities of one order key for every host; the last is parked, the others queued.
async fn plan(rig: &Rig) -> Vec<i64> {
    let urls: Vec<String> = (0..HOSTS)
        .map(|number| format!("http://{}/inbox", host(number)))
        .collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let mut ids = Vec::new();
    for seq in 1..=3 {
        ids.push(rig.send(&Plan::new("Update", "k", seq, &urls)).await);
    }
    sqlx::query(
        "update deliveries set state = 'parked', reason = 'slow', not_before = now()
         where activity_id = $1",
    )
    .bind(ids[2])
    .execute(rig.pool())
    .await
    .expect("parked");
    ids
}

async fn changes_shards(mut rig: Rig, before: u32, after: u32) {
    for number in 0..HOSTS {
        rig.sim.add_host(&host(number), HostBehaviour::default());
    }
    rig.shards(before).await;
    // Leases and hosts as a worker of the old number leaves them.
    let warm = Plan::new("Create", "warm", 1, &["http://h0.sim.test/inbox"]);
    let warm = rig.send(&warm).await;
    rig.start();
    rig.until(warm, "http://h0.sim.test/inbox", "delivered")
        .await;
    rig.until_queue_is_empty().await;
    rig.stop().await;
    let ids = plan(&rig).await;

    rig.shards(after).await;
    let done = change_shards(rig.pool(), &rig.deps.queues)
        .await
        .expect("changes");
    let moving = (0..HOSTS).filter(|n| shard_of(&host(*n), before) != shard_of(&host(*n), after));
    assert_eq!(done.rows, 3 * moving.count() as u64, "{done:?}");
    assert!(done.rows > 0);
    let old = before.saturating_sub(after) as usize;
    assert_eq!(done.old_queues.len(), 3 * old);
    let strays: Vec<(String, i32)> = sqlx::query_as(
        "select host, shard from deliveries where state in ('queued', 'parked')
         union select host, shard from hosts where shard is not null",
    )
    .fetch_all(rig.pool())
    .await
    .expect("rows");
    for (host, shard) in strays {
        assert_eq!(shard as u32, shard_of(&host, after), "{host}");
    }

    rig.start();
    for id in &ids {
        for number in 0..HOSTS {
            rig.until(*id, &format!("http://{}/inbox", host(number)), "delivered")
                .await;
        }
    }
    let expected: Vec<String> = (1..=3)
        .map(|seq| format!("http://us.test/activities/k-{seq}"))
        .collect();
    for number in 0..HOSTS {
        let mut took = order(&rig, &host(number));
        took.retain(|id| !id.contains("warm"));
        assert_eq!(took, expected, "host {number}");
    }
    rig.until_queue_is_empty().await;
    assert!(verify(rig.pool()).await.expect("books").is_clean());
}

async fn more_shards_take_what_waits_in_order(rig: Rig) {
    changes_shards(rig, 4, 8).await;
}

async fn fewer_shards_take_what_waits_in_order(rig: Rig) {
    changes_shards(rig, 8, 3).await;
}

#[tokio::test]
async fn shards_are_not_changed_under_a_worker_and_it_claims_nothing_afterwards() {
    let mut rig = Rig::running().await;
    let deadline = Instant::now() + PATIENCE;
    while leases_of(&rig).await < 2 {
        assert!(Instant::now() < deadline, "it claims nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let more = Queues::new("t", 4);
    let refused = change_shards(rig.pool(), &more).await;
    assert!(matches!(refused, Err(ReshardError::Busy(1))), "{refused:?}");
    rig.stop().await;
    change_shards(rig.pool(), &more).await.expect("changes");
    // One that was started with the old number is none: it neither lives nor holds anything.
    rig.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(leases_of(&rig).await, 0);
    change_shards(rig.pool(), &rig.deps.queues)
        .await
        .expect("changes back");
    let deadline = Instant::now() + PATIENCE;
    while leases_of(&rig).await < 2 {
        assert!(Instant::now() < deadline, "it claims nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn leases_of(rig: &Rig) -> i64 {
    sqlx::query_scalar("select count(*) from shard_leases where expires_at > now()")
        .fetch_one(rig.pool())
        .await
        .expect("a count")
}
