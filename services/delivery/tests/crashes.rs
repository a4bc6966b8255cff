//! What a crash leaves to be sent again, and what it does not.

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::HostBehaviour;
use tidegate_queue::TableQueue;
use tokio::time::Instant;

const WELL: &str = "http://a.sim.test/inbox";
const SLOW: &str = "http://b.sim.test/inbox";

/// A role that gets what a killed one had in hand soon.
async fn rig() -> Rig {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    let again = Duration::from_secs(3);
    rig.deps.queue = Arc::new(TableQueue::with_visibility(rig.pool().clone(), again));
    rig.shards(1).await;
    for host in ["a.sim.test", "b.sim.test"] {
        rig.sim.add_host(host, HostBehaviour::default());
        rig.sim.add_actor(host, "bob", true);
    }
    rig
}

async fn until_received(rig: &Rig, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while rig.sim.ledger().activities("Create").len() < count {
        assert!(Instant::now() < deadline, "it is not sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The host has it, and nothing says so yet: the same activity goes out again, once.
#[tokio::test]
async fn a_crash_between_the_answer_and_its_note_repeats_one_request() {
    let mut rig = rig().await;
    let id = rig.send(&Plan::new("Create", "k", 1, &[WELL])).await;
    // What comes of requests cannot be written down.
    let mut held = rig.pool().begin().await.expect("a transaction");
    sqlx::query("lock table deliveries in exclusive mode")
        .execute(&mut *held)
        .await
        .expect("locked");
    rig.start();
    until_received(&rig, 1).await;
    // Until the note of the answer waits for the lock.
    rig.until_number(
        "select count(*) from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'
           and query like '%with outcome as (%'",
        1,
    )
    .await;
    rig.kill();
    held.rollback().await.expect("let go");
    assert_eq!(rig.row(id, WELL).await.state, "queued");
    rig.start();
    let row = rig.until(id, WELL, "delivered").await;
    assert_eq!(row.attempts, 1, "the books know one");
    rig.until_queue_is_empty().await;
    let taken = rig.sim.ledger().activities("Create");
    let ids: HashSet<String> = taken
        .iter()
        .filter_map(|entry| entry.activity.as_ref())
        .map(|activity| activity.id.to_string())
        .collect();
    assert_eq!(
        (taken.len(), ids.len()),
        (2, 1),
        "the wire saw the same twice"
    );
}

/// The note is written, the message is not acknowledged yet: it comes again and sends nothing.
#[tokio::test]
async fn a_crash_between_the_note_and_the_acknowledgement_repeats_nothing() {
    let mut rig = rig().await;
    rig.start();
    let id = rig.plan(&Plan::new("Create", "k", 1, &[WELL])).await;
    // The message can be taken, and not be taken away.
    rig.run(
        "create function kept() returns trigger language plpgsql as
         $$ begin raise exception 'stopping' using errcode = '57P03'; end $$",
    )
    .await;
    rig.run(
        "create trigger kept before delete on queue_messages for each row execute function kept()",
    )
    .await;
    rig.publish(id).await;
    rig.until(id, WELL, "delivered").await;
    rig.kill();
    rig.run("drop trigger kept on queue_messages").await;
    assert_eq!(rig.number("select count(*) from queue_messages").await, 1);
    rig.start();
    rig.until_queue_is_empty().await;
    assert_eq!(rig.sim.ledger().activities("Create").len(), 1);
}

/// "Acked when all its rows left `queued`": one that is done does not take the others along.
#[tokio::test]
async fn a_message_lives_until_the_last_of_its_inboxes_is_done() {
    let mut rig = rig().await;
    let slow = HostBehaviour::slow(Duration::from_secs(10));
    rig.sim.set_behaviour("b.sim.test", slow);
    let id = rig.send(&Plan::new("Create", "k", 1, &[WELL, SLOW])).await;
    let messages = "select count(*) from queue_messages";
    assert_eq!(rig.number(messages).await, 1, "both in one");
    rig.start();
    rig.until(id, WELL, "delivered").await;
    let deadline = Instant::now() + PATIENCE;
    while !rig.sim.crowds().contains_key("b.sim.test") {
        assert!(Instant::now() < deadline, "the other is not sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.kill();
    assert_eq!(rig.row(id, SLOW).await.state, "queued");
    let answering = HostBehaviour::default();
    rig.sim.set_behaviour("b.sim.test", answering);
    rig.start();
    rig.until(id, SLOW, "delivered").await;
    rig.until_queue_is_empty().await;
    let at = |host: &str| {
        let taken = rig.sim.ledger().received(|entry| *entry.host == *host);
        taken.len()
    };
    assert_eq!(at("a.sim.test"), 1, "what was done is not done again");
}
