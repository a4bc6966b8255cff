//! Messages that came back too often, on both queues, and an outage that makes none of them.

mod common;

use std::time::Duration;

use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::HostBehaviour;
use tidegate_model::{Lane, Message, shard_of};
use tidegate_queue::Outgoing;
use tokio::time::Instant;

/// More returns than a message may have.
const OFTEN: u32 = 21;

fn message(rig: &Rig, activity_id: i64, inbox: i64, host: &str) -> Outgoing {
    let shard = shard_of(host, rig.deps.queues.shards());
    let message = Message::Deliver {
        activity_id,
        shard,
        inbox_ids: vec![inbox],
    };
    Outgoing {
        queue: rig.deps.queues.of(&message, Lane::Bulk),
        message,
    }
}

/// Rows of which each has a message that came back `returns` times.
async fn returned(rig: &Rig, key: &str, inbox: &str, returns: u32) -> i64 {
    let id = rig.plan(&Plan::new("Create", key, 1, &[inbox])).await;
    rig.publish(id).await;
    sqlx::query(
        "update queue_messages set deliveries = $1
         where (payload -> 'message' ->> 'activity_id')::bigint = $2",
    )
    .bind(returns as i32)
    .bind(id)
    .execute(rig.pool())
    .await
    .expect("older");
    id
}

/// Two suspect messages whose hosts take their time: one is in hand, the other waits, although
/// a lane would have sent both; and what is not suspect passes them.
async fn suspects_are_handled_one_at_a_time(mut rig: Rig, returned: bool) {
    rig.options.egress.total_timeout = Duration::from_secs(20);
    let slow = ["http://one.sim.test/inbox", "http://other.sim.test/inbox"];
    let well = "http://well.sim.test/inbox";
    for host in ["one.sim.test", "other.sim.test"] {
        rig.sim
            .add_host(host, HostBehaviour::slow(Duration::from_secs(3)));
    }
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    let queues = rig.deps.queues.clone();
    let declared = rig.deps.queue.declare(&queues.for_delivery()).await;
    declared.expect("declares");
    let mut ids = Vec::new();
    for (number, url) in slow.iter().enumerate() {
        let key = format!("slow:{number}");
        if returned {
            ids.push(self::returned(&rig, &key, url, OFTEN).await);
            continue;
        }
        let id = rig.plan(&Plan::new("Create", &key, 1, &[url])).await;
        let (inbox, host) = rig.inbox(url).await;
        let lane = message(&rig, id, inbox, &host);
        let published = rig.deps.queue.publish_again(vec![(lane, OFTEN)]).await;
        assert!(published.iter().all(Result::is_ok), "{published:?}");
        ids.push(id);
    }
    rig.start();
    let suspect = [queues.suspect()];
    let deadline = Instant::now() + PATIENCE;
    while rig.deps.queue.stats(&suspect).await.expect("stats")[0].ready != 1 {
        assert!(Instant::now() < deadline, "none waits apart");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let fine = rig.send(&Plan::new("Create", "fine", 1, &[well])).await;
    rig.until(fine, well, "delivered").await;
    for (id, url) in ids.into_iter().zip(slow) {
        rig.until(id, url, "delivered").await;
    }
    while rig.deps.queue.stats(&suspect).await.expect("stats")[0].ready > 0 {
        assert!(Instant::now() < deadline, "something stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn suspects_in_the_table_are_handled_one_at_a_time() {
    suspects_are_handled_one_at_a_time(Rig::new().await, true).await;
}

#[tokio::test]
async fn suspects_on_a_broker_are_handled_one_at_a_time() {
    suspects_are_handled_one_at_a_time(Rig::on_rabbit().await, false).await;
}

#[tokio::test]
async fn twenty_returns_are_no_suspicion() {
    let mut rig = Rig::new().await;
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    let well = "http://well.sim.test/inbox";
    let id = returned(&rig, "k", well, OFTEN - 1).await;
    // Setting it apart would leave a mark.
    for statement in [
        "create table tried (called boolean not null)",
        "insert into tried values (false)",
        "create function mark() returns trigger language plpgsql as
         $$ begin update tried set called = true; return new; end $$",
        "create trigger marks before insert on queue_messages for each row
         when (new.queue like '%suspect') execute function mark()",
    ] {
        sqlx::query(statement)
            .execute(rig.pool())
            .await
            .expect("a mark");
    }
    rig.start();
    rig.until(id, well, "delivered").await;
    let tried: bool = sqlx::query_scalar("select called from tried")
        .fetch_one(rig.pool())
        .await
        .expect("a mark");
    assert!(!tried, "it was taken for a suspect");
}

#[tokio::test]
async fn a_suspect_message_waits_for_the_owner_of_its_shard() {
    let mut rig = Rig::new().await;
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    let well = "http://well.sim.test/inbox";
    sqlx::query(
        "insert into shard_leases (shard, holder, expires_at)
         select n, gen_random_uuid(), now() + interval '1 hour' from generate_series(0, 1) n",
    )
    .execute(rig.pool())
    .await
    .expect("somebody else has them");
    let id = rig.plan(&Plan::new("Create", "k", 1, &[well])).await;
    let (inbox, host) = rig.inbox(well).await;
    let mut suspect = message(&rig, id, inbox, &host);
    suspect.queue = rig.deps.queues.suspect();
    for result in rig.deps.queue.publish(vec![suspect]).await {
        result.expect("published");
    }
    rig.start();
    // It went back at least once and was not sent.
    let deadline = Instant::now() + PATIENCE;
    let returns = async || -> i32 {
        sqlx::query_scalar("select deliveries from queue_messages")
            .fetch_one(rig.pool())
            .await
            .expect("it is there")
    };
    while returns().await < 2 {
        assert!(Instant::now() < deadline, "nobody looked at it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rig.row(id, well).await.state, "queued");
    sqlx::query("update shard_leases set expires_at = now()")
        .execute(rig.pool())
        .await
        .expect("free");
    rig.until(id, well, "delivered").await;
    rig.until_queue_is_empty().await;
}

#[tokio::test]
async fn an_outage_of_the_database_makes_no_message_suspect() {
    let mut rig = Rig::new().await;
    // Longer than the test looks: the shard stays ours.
    rig.options.lease_length = Duration::from_mins(5);
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    let well = "http://well.sim.test/inbox";
    let warm = rig.send(&Plan::new("Create", "warm", 1, &[well])).await;
    rig.start();
    rig.until(warm, well, "delivered").await;
    rig.until_queue_is_empty().await;
    let (inbox, host) = rig.inbox(well).await;
    let lane = message(&rig, warm, inbox, &host);
    // What rows are read from answers as a server that is stopping; the queue is there.
    for statement in [
        "alter table inboxes rename to inboxes_there",
        "create function stopping() returns boolean language plpgsql as
         $$ begin raise exception 'stopping' using errcode = '57P03'; end $$",
        "create view inboxes as select * from inboxes_there where stopping()",
    ] {
        rig.run(statement).await;
    }
    for result in rig.deps.queue.publish(vec![lane]).await {
        result.expect("published");
    }
    let seen = async || -> Vec<(i32, bool)> {
        sqlx::query_as("select deliveries, holder is not null from queue_messages")
            .fetch_all(rig.pool())
            .await
            .expect("messages")
    };
    let deadline = Instant::now() + PATIENCE;
    while seen().await != [(1, true)] {
        assert!(Instant::now() < deadline, "{:?}", seen().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Several looks later it is in the same hand.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert_eq!(seen().await, [(1, true)]);
    for statement in [
        "drop view inboxes",
        "alter table inboxes_there rename to inboxes",
    ] {
        rig.run(statement).await;
    }
    rig.until_queue_is_empty().await;
}

/// The database is there and refuses the question: asking for ever would keep others from being
/// read, and nobody would learn of it.
#[tokio::test]
async fn a_message_that_the_database_refuses_is_given_back_until_it_is_suspect() {
    let mut rig = Rig::new().await;
    rig.options.lease_length = Duration::from_mins(5);
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    let well = "http://well.sim.test/inbox";
    let id = rig.send(&Plan::new("Create", "k", 1, &[well])).await;
    rig.run("alter table inboxes rename column shared to moved")
        .await;
    rig.start();
    rig.until_number("select max(deliveries)::bigint from queue_messages", 2)
        .await;
    rig.run("alter table inboxes rename column moved to shared")
        .await;
    rig.until(id, well, "delivered").await;
    rig.until_queue_is_empty().await;
}
