//! Hosts that hang, queues that are long, and messages that are gone.

mod common;

use std::time::Duration;

use common::{Plan, Rig};
use tidegate_delivery::verify;
use tidegate_loadtest::HostBehaviour;
use tidegate_model::Message;
use tokio::time::Instant;

#[tokio::test]
async fn forty_tarpits_do_not_keep_a_healthy_host_waiting() {
    const HEALTHY: &str = "http://well.sim.test/inbox";
    let mut rig = Rig::new().await;
    // Nothing ends by itself while the test looks.
    rig.options.egress.total_timeout = Duration::from_secs(25);
    rig.start();
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    let pits: Vec<String> = (0..40)
        .flat_map(|n| (0..8).map(move |m| format!("http://pit{n}.sim.test/users/u{m}/inbox")))
        .collect();
    for n in 0..40 {
        let name = format!("pit{n}.sim.test");
        rig.sim
            .add_host(&name, HostBehaviour::slow(Duration::from_secs(24)));
    }
    for (seq, urls) in pits.chunks(80).enumerate() {
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let key = format!("pit:{seq}");
        rig.send(&Plan::new("Create", &key, 1, &urls)).await;
    }
    // By now they hold whatever they can get.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let started = Instant::now();
    let id = rig.send(&Plan::new("Create", "well", 1, &[HEALTHY])).await;
    rig.until(id, HEALTHY, "delivered").await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
}

#[tokio::test]
async fn a_row_in_a_long_queue_is_not_published_again() {
    let mut rig = Rig::new().await;
    rig.options.prefetch_messages = 1;
    rig.options.prefetch_inboxes = 1;
    rig.options.republish_after = Duration::from_millis(300);
    rig.options.reconcile_interval = Duration::from_millis(100);
    rig.options.egress.total_timeout = Duration::from_secs(10);
    rig.sim
        .add_host("a.sim.test", HostBehaviour::slow(Duration::from_secs(3)));
    let inbox = "http://a.sim.test/inbox";
    // Its message is gone, and an earlier one than what the queue gives out.
    let lost = rig.plan(&Plan::new("Create", "lost", 1, &[inbox])).await;
    tokio::time::sleep(rig.options.republish_after / 5).await;
    let first = rig.send(&Plan::new("Create", "first", 1, &[inbox])).await;
    let second = rig.send(&Plan::new("Create", "second", 1, &[inbox])).await;
    rig.start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let count = async |id: i64| -> i32 {
        sqlx::query_scalar("select republish_count from deliveries where activity_id = $1")
            .bind(id)
            .fetch_one(rig.pool())
            .await
            .expect("a count")
    };
    assert_eq!(rig.row(first, inbox).await.state, "queued", "in hand");
    assert_eq!(count(second).await, 0, "it waits for its turn");
    assert!(count(lost).await >= 1, "it is gone");
}

#[tokio::test]
async fn events_of_which_nothing_came_are_published_again() {
    let mut rig = Rig::new().await;
    rig.options.republish_event_after = Duration::from_millis(300);
    rig.options.reconcile_interval = Duration::from_millis(50);
    let activity = rig.plan(&Plan::new("Create", "k", 1, &[])).await;
    sqlx::query("update activities set planned_at = null where id = $1")
        .bind(activity)
        .execute(rig.pool())
        .await
        .expect("unplanned");
    let lost = rig.post("public").await;
    let done = rig.post("public").await;
    sqlx::query("insert into fanout_done (event_id, range_start) values ($1, 0)")
        .bind(done)
        .execute(rig.pool())
        .await
        .expect("done");
    rig.start();
    let deadline = Instant::now() + common::PATIENCE;
    let (mut plans, mut fanouts) = (0, 0);
    while plans == 0 || fanouts == 0 {
        assert!(
            Instant::now() < deadline,
            "{plans} plans, {fanouts} fan-outs"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
        let payloads: Vec<String> =
            sqlx::query_scalar("select payload::text from queue_messages order by id")
                .fetch_all(rig.pool())
                .await
                .expect("messages");
        let messages: Vec<Message> = payloads
            .iter()
            .map(|text| {
                let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
                serde_json::from_value(value["message"].clone()).expect("a message")
            })
            .collect();
        let plan = Message::Plan {
            activity_id: activity,
        };
        plans = messages.iter().filter(|message| **message == plan).count();
        let fanout = Message::FanoutStatus { status_id: lost };
        fanouts = messages
            .iter()
            .filter(|message| **message == fanout)
            .count();
        let other = Message::FanoutStatus { status_id: done };
        assert!(!messages.contains(&other), "this one was done");
    }
}

#[tokio::test]
async fn the_books_do_not_agree_while_an_activity_is_overdue_for_planning() {
    let rig = Rig::new().await;
    let id = rig.plan(&Plan::new("Create", "k", 1, &[])).await;
    sqlx::query("update activities set planned_at = null where id = $1")
        .bind(id)
        .execute(rig.pool())
        .await
        .expect("unplanned");
    let books = verify(rig.pool()).await.expect("books");
    assert_eq!((books.unplanned, books.overdue), (1, 0));
    assert!(books.is_clean(), "it may be planned any moment");
    sqlx::query("update activities set created_at = now() - interval '16 minutes' where id = $1")
        .bind(id)
        .execute(rig.pool())
        .await
        .expect("older");
    let books = verify(rig.pool()).await.expect("books");
    assert_eq!(books.overdue, 1);
    assert!(!books.is_clean());
}
