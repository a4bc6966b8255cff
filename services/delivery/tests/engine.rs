//! What the engine's own tasks owe each other: one that ends badly ends the process, a shard is
//! another's only when nobody here takes from it, and long work keeps nobody waiting.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::hosts::FLAKY;
use common::queues::Watched;
use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::HostBehaviour;
use tidegate_model::Lane;
use tidegate_telemetry::Stop;
use tokio::time::Instant;

const INBOX: &str = "http://a.sim.test/inbox";

/// What a task owes would never come. The process that ends is started again, and another takes
/// over meanwhile.
#[tokio::test]
async fn a_task_that_panics_ends_the_role() {
    let mut rig = Rig::new().await;
    rig.sim.add_host("a.sim.test", HostBehaviour::default());
    rig.deps.queue = Arc::new(Watched::broken(Arc::clone(&rig.deps.queue)));
    let delivery = rig.delivery();
    let running = tokio::spawn(async move { delivery.run(Stop::default()).await });
    rig.send(&Plan::new("Create", "k", 1, &[INBOX])).await;
    let ended = tokio::time::timeout(PATIENCE, running).await;
    let error = ended
        .expect("it ends")
        .expect("the panic stays in its task")
        .expect_err("it is told");
    let told = format!("{error:#}");
    assert!(told.contains("a task of the engine"), "{told}");
}

/// Messages of a shard that another has are that one's, in all three lanes.
#[tokio::test]
async fn nothing_is_taken_of_a_shard_that_another_has() {
    let mut rig = Rig::new().await;
    rig.shards(1).await;
    rig.sim.add_host("a.sim.test", HostBehaviour::default());
    rig.sim.add_actor("a.sim.test", "bob", true);
    rig.run(
        "insert into shard_leases (shard, holder, expires_at)
         values (0, gen_random_uuid(), now() + interval '1 hour')",
    )
    .await;
    let mut ids = Vec::new();
    for (n, lane) in Lane::ALL.into_iter().enumerate() {
        let key = format!("k{n}");
        let plan = Plan {
            lane,
            ..Plan::new("Create", &key, 1, &[INBOX])
        };
        ids.push(rig.send(&plan).await);
    }
    rig.start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let untouched = "select count(*) from queue_messages where deliveries = 0 and holder is null";
    assert_eq!(rig.number(untouched).await, 3);
    rig.run("update shard_leases set expires_at = now()").await;
    for id in ids {
        rig.until(id, INBOX, "delivered").await;
    }
}

/// The next owner finds in the queue what was not worked on.
#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn a_shard_is_free_only_when_its_channels_are_closed() {
    let mut rig = Rig::new().await;
    rig.shards(1).await;
    let open = Arc::new(AtomicUsize::new(0));
    rig.deps.queue = Arc::new(Watched::new(Arc::clone(&rig.deps.queue), &open));
    rig.start();
    let deadline = Instant::now() + PATIENCE;
    while open.load(Ordering::SeqCst) < 3 {
        assert!(Instant::now() < deadline, "a consumer for each lane");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pool = rig.pool().clone();
    let open_when_free = async {
        loop {
            let free = "select exists (select 1 from shard_leases where holder is null)";
            let is_free: bool = sqlx::query_scalar(free)
                .fetch_one(&pool)
                .await
                .expect("a question");
            if is_free {
                return open.load(Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (open_when_free, ()) = tokio::join!(open_when_free, rig.stop());
    assert_eq!(open_when_free, 0);
}

/// Moving a million rows of a host that failed takes minutes.
#[tokio::test]
async fn the_rows_of_a_host_that_fails_keep_nobody_elses_outcome_waiting() {
    let mut rig = Rig::new().await;
    rig.nobody().await;
    rig.options.probe_first = Duration::from_hours(1);
    rig.sim.add_host("a.sim.test", HostBehaviour::default());
    rig.sim.add_actor("a.sim.test", "bob", true);
    rig.plan(&Plan::new("Create", "waits", 1, &[FLAKY])).await;
    rig.run(
        "update deliveries set state = 'parked', reason = 'status_500',
                               not_before = now() + interval '1 day'",
    )
    .await;
    // Somebody works on that row, and whoever moves it waits.
    let mut busy = rig.pool().begin().await.expect("a transaction");
    sqlx::query("select 1 from deliveries for update")
        .execute(&mut *busy)
        .await
        .expect("locked");
    rig.start();
    rig.send(&Plan::new("Create", "fails", 1, &[FLAKY])).await;
    rig.until_number("select count(*) from hosts where state = 'failing'", 1)
        .await;
    for n in 0..5 {
        let id = rig
            .send(&Plan::new("Create", &format!("k{n}"), 1, &[INBOX]))
            .await;
        rig.until(id, INBOX, "delivered").await;
    }
    let moved = "select count(*) from deliveries where reason = 'host' and not_before is null
                   and order_key = 'waits'";
    assert_eq!(rig.number(moved).await, 0, "it is still locked");
    busy.rollback().await.expect("let go");
    rig.until_number(moved, 1).await;
}
