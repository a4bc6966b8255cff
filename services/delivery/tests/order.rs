//! Order, what is no longer wanted, crashes, and the books.

#[macro_use]
#[path = "common/both.rs"]
mod both;
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Plan, Rig};
use tidegate_delivery::{Filter, MoveKind, verify};
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tidegate_proto::delivery::v1::CountRequest;
use tidegate_proto::delivery::v1::deliveries_server::Deliveries;
use tidegate_queue::TableQueue;

const A: &str = "http://a.sim.test/users/bob/inbox";
const A_SHARED: &str = "http://a.sim.test/inbox";

on_both_queues!(
    a_delete_never_overtakes_its_create_on_the_same_host,
    many_pairs_under_failures_arrive_in_order,
    what_is_not_planned_yet_goes_first_too,
    a_post_deleted_before_it_was_sent_is_cancelled_and_its_delete_goes_out,
    a_direct_post_is_not_sent_to_somebody_blocked_meanwhile,
    a_private_post_is_not_sent_where_nobody_follows_any_more,
    a_message_that_comes_three_times_is_one_delivery,
    rows_whose_message_is_gone_are_published_again,
    the_books_agree_until_a_row_is_taken_away_by_hand,
    dead_rows_are_counted_and_replayed,
);

fn host(rig: &Rig, name: &str, habits: HostBehaviour) {
    rig.sim.add_host(name, habits);
    rig.sim.add_actor(name, "bob", true);
}

async fn a_delete_never_overtakes_its_create_on_the_same_host(mut rig: Rig) {
    rig.start();
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::inbox(Script::first(3, Fault::Status { code: 503 })),
    );
    // Another inbox of the same host: order holds per server.
    let delete = rig
        .plan(&Plan::new("Delete", "status:1", 2, &[A_SHARED]))
        .await;
    let create = rig.plan(&Plan::new("Create", "status:1", 1, &[A])).await;
    rig.publish(delete).await;
    rig.publish(create).await;
    rig.until(create, A, "delivered").await;
    rig.until(delete, A_SHARED, "delivered").await;
    let taken = rig.sim.ledger().received(|entry| entry.effect);
    let kinds: Vec<&str> = taken
        .iter()
        .filter_map(|entry| entry.activity.as_ref())
        .map(|activity| activity.kind.as_str())
        .collect();
    assert_eq!(kinds, ["Create", "Delete"]);
}

async fn many_pairs_under_failures_arrive_in_order(mut rig: Rig) {
    rig.start();
    let mut script = Script::default();
    for n in 0..40 {
        let fault = if n % 3 == 0 {
            Fault::Status { code: 503 }
        } else {
            Fault::Ok
        };
        script.0.push(tidegate_loadtest::Step {
            fault,
            times: Some(1),
        });
    }
    host(&rig, "a.sim.test", HostBehaviour::inbox(script));
    let mut last = Vec::new();
    for n in 0..20 {
        let key = format!("status:{n}");
        rig.send(&Plan::new("Create", &key, 1, &[A_SHARED])).await;
        last.push(rig.send(&Plan::new("Delete", &key, 2, &[A_SHARED])).await);
    }
    for id in last {
        rig.until(id, A_SHARED, "delivered").await;
    }
    let mut created = std::collections::HashSet::new();
    for entry in rig.sim.ledger().received(|entry| entry.effect) {
        let Some(activity) = &entry.activity else {
            continue;
        };
        let object = activity.object.clone().expect("an object");
        match activity.kind.as_str() {
            "Create" => assert!(created.insert(object), "twice"),
            _ => assert!(created.contains(&object), "a Delete came before its Create"),
        }
    }
    assert_eq!(created.len(), 20);
}

async fn what_is_not_planned_yet_goes_first_too(mut rig: Rig) {
    rig.start();
    host(&rig, "a.sim.test", HostBehaviour::default());
    let create = rig.plan(&Plan::new("Create", "status:1", 1, &[])).await;
    sqlx::query("update activities set planned_at = null where id = $1")
        .bind(create)
        .execute(rig.pool())
        .await
        .expect("unplanned");
    let delete = rig
        .send(&Plan::new("Delete", "status:1", 2, &[A_SHARED]))
        .await;
    let row = rig.until(delete, A_SHARED, "parked").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("order"), 0));
    assert!(rig.sim.ledger().is_empty());
    sqlx::query("update activities set planned_at = now() where id = $1")
        .bind(create)
        .execute(rig.pool())
        .await
        .expect("planned");
    rig.until(delete, A_SHARED, "delivered").await;
}

async fn a_post_deleted_before_it_was_sent_is_cancelled_and_its_delete_goes_out(mut rig: Rig) {
    rig.start();
    host(&rig, "a.sim.test", HostBehaviour::default());
    let status = rig.post("public").await;
    let create = Plan {
        status_id: Some(status),
        ..Plan::new("Create", "status:1", 1, &[A_SHARED])
    };
    let create = rig.plan(&create).await;
    let delete = Plan {
        status_id: Some(status),
        ..Plan::new("Delete", "status:1", 2, &[A_SHARED])
    };
    let delete = rig.plan(&delete).await;
    sqlx::query("update statuses set deleted_at = now() where id = $1")
        .bind(status)
        .execute(rig.pool())
        .await
        .expect("deleted");
    rig.publish(create).await;
    rig.publish(delete).await;
    let row = rig.until(create, A_SHARED, "cancelled").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("deleted"), 0));
    rig.until(delete, A_SHARED, "delivered").await;
    assert!(rig.sim.ledger().activities("Create").is_empty());
}

async fn a_direct_post_is_not_sent_to_somebody_blocked_meanwhile(mut rig: Rig) {
    rig.start();
    host(&rig, "a.sim.test", HostBehaviour::default());
    let bob = rig.person("bob", "a.sim.test", false).await;
    let status = rig.post("direct").await;
    let plan = |seq| Plan {
        status_id: Some(status),
        to_accounts: vec![bob],
        ..Plan::new("Create", "status:1", seq, &[A])
    };
    let before = rig.send(&plan(1)).await;
    rig.until(before, A, "delivered").await;
    rig.block(rig.author, bob).await;
    let after = rig.send(&plan(2)).await;
    let row = rig.until(after, A, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("blocked"));
    // The block itself is told.
    let block = rig.send(&Plan::new("Block", "relation:1:2", 1, &[A])).await;
    rig.until(block, A, "delivered").await;
}

async fn a_private_post_is_not_sent_where_nobody_follows_any_more(mut rig: Rig) {
    rig.start();
    host(&rig, "a.sim.test", HostBehaviour::default());
    let status = rig.post("private").await;
    let id = rig
        .send(&Plan {
            status_id: Some(status),
            ..Plan::new("Create", "status:1", 1, &[A_SHARED])
        })
        .await;
    let row = rig.until(id, A_SHARED, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("audience"));
    assert!(rig.sim.ledger().is_empty());
}

/// A server that takes a POST in and answers a while later.
async fn slow_to_answer() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let take = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            axum::http::StatusCode::ACCEPTED
        }
    };
    let router = axum::Router::new().route("/inbox", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, taken)
}

#[tokio::test]
async fn a_crash_over_the_table_repeats_on_the_wire_and_not_in_the_books() {
    let mut rig = Rig::new().await;
    // A short visibility, so that the dead process's messages come back soon.
    let queue = TableQueue::with_visibility(rig.pool().clone(), Duration::from_secs(2));
    rig.deps.queue = Arc::new(queue);
    a_crash_between_post_and_ack(rig).await;
}

#[tokio::test]
async fn a_crash_over_a_broker_repeats_on_the_wire_and_not_in_the_books() {
    a_crash_between_post_and_ack(Rig::on_rabbit().await).await;
}

async fn a_crash_between_post_and_ack(mut rig: Rig) {
    const SLOW: &str = "http://slow.test/inbox";
    let (address, taken) = slow_to_answer().await;
    rig.options
        .egress
        .host_map
        .push(("slow.test".to_owned(), address));
    rig.start();
    let id = rig.send(&Plan::new("Create", "k", 1, &[SLOW])).await;
    while taken.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.kill();
    assert_eq!(
        rig.row(id, SLOW).await.state,
        "queued",
        "nothing was written down"
    );
    rig.start();
    let row = rig.until(id, SLOW, "delivered").await;
    assert_eq!(row.attempts, 1, "the books know one");
    assert_eq!(taken.load(Ordering::SeqCst), 2, "the wire saw two");
    rig.until_queue_is_empty().await;
}

async fn a_message_that_comes_three_times_is_one_delivery(mut rig: Rig) {
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::slow(Duration::from_millis(200)),
    );
    let id = rig.plan(&Plan::new("Create", "k", 1, &[A_SHARED])).await;
    for _ in 0..3 {
        rig.publish(id).await;
    }
    rig.start();
    rig.until(id, A_SHARED, "delivered").await;
    rig.until_queue_is_empty().await;
    assert_eq!(rig.sim.ledger().activities("Create").len(), 1);
}

async fn rows_whose_message_is_gone_are_published_again(mut rig: Rig) {
    rig.options.republish_after = Duration::from_millis(300);
    rig.options.reconcile_interval = Duration::from_millis(100);
    host(&rig, "a.sim.test", HostBehaviour::default());
    let id = rig.plan(&Plan::new("Create", "k", 1, &[A_SHARED])).await;
    rig.start();
    rig.until(id, A_SHARED, "delivered").await;
    let count: i32 =
        sqlx::query_scalar("select republish_count from deliveries where activity_id = $1")
            .bind(id)
            .fetch_one(rig.pool())
            .await
            .expect("a count");
    assert!(count >= 1);
}

async fn the_books_agree_until_a_row_is_taken_away_by_hand(mut rig: Rig) {
    rig.start();
    host(&rig, "a.sim.test", HostBehaviour::default());
    let status = rig.post("public").await;
    let plan = Plan {
        status_id: Some(status),
        ..Plan::new("Create", "status:1", 1, &[A_SHARED, A])
    };
    let id = rig.send(&plan).await;
    rig.until(id, A_SHARED, "delivered").await;
    rig.until(id, A, "delivered").await;
    let (inbox, _) = rig.inbox(A).await;
    let (shared, _) = rig.inbox(A_SHARED).await;
    sqlx::query("insert into status_recipients (status_id, inbox_ids) values ($1, $2)")
        .bind(status)
        .bind(vec![inbox, shared])
        .execute(rig.pool())
        .await
        .expect("recipients");
    let books = verify(rig.pool()).await.expect("books");
    assert!(books.is_clean(), "{books:?}");
    assert_eq!((books.counts.planned, books.counts.delivered), (2, 2));
    sqlx::query("delete from deliveries where activity_id = $1 and inbox_id = $2")
        .bind(id)
        .bind(inbox)
        .execute(rig.pool())
        .await
        .expect("taken away");
    let books = verify(rig.pool()).await.expect("books");
    assert!(!books.is_clean());
    assert_eq!((books.counts.planned, books.counts.found()), (2, 1));
    assert_eq!(books.miscounted.len(), 1);
    assert_eq!(books.miscounted[0].activity_id, id);
    assert_eq!(books.missing.len(), 1);
    assert_eq!(
        (books.missing[0].activity_id, books.missing[0].inbox_id),
        (id, inbox)
    );
}

async fn dead_rows_are_counted_and_replayed(mut rig: Rig) {
    rig.start();
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::inbox(Script::first(1, Fault::Status { code: 410 })),
    );
    let id = rig.send(&Plan::new("Create", "k", 1, &[A_SHARED])).await;
    rig.until(id, A_SHARED, "dead").await;
    let service = rig.delivery().deliveries_service();
    let counts = service
        .count(tonic::Request::new(CountRequest {}))
        .await
        .expect("counts")
        .into_inner();
    assert_eq!((counts.planned, counts.dead), (1, 1));
    let replay = |host: &str| {
        let filter = Filter {
            host: Some(host.to_owned()),
            ..Filter::default()
        };
        rig.shift(MoveKind::Replay, filter)
    };
    assert_eq!(replay("b.sim.test").await.expect("none").moved, 0);
    assert_eq!(replay("A.Sim.test").await.expect("one").moved, 1);
    rig.until(id, A_SHARED, "delivered").await;
    assert!(replay("not a host").await.is_err());
}

/// Whoever had the shards died: what it sent last may be under way until an attempt's time-out has
/// passed, and nothing that goes after something may overtake it.
#[tokio::test]
async fn after_an_unclean_take_over_nothing_that_has_a_predecessor_is_sent() {
    let mut rig = Rig::new().await.patient(Duration::from_mins(5));
    host(&rig, "a.sim.test", HostBehaviour::default());
    rig.run(
        "insert into shard_leases (shard, holder, expires_at)
         select shard, gen_random_uuid(), now() from generate_series(0, 1) shard",
    )
    .await;
    rig.start();
    let second = rig
        .send(&Plan::new("Update", "status:1", 2, &[A_SHARED]))
        .await;
    let row = rig.until(second, A_SHARED, "parked").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("takeover"), 0));
    let left = "select extract(epoch from not_before - now())::bigint from deliveries
                where reason = 'takeover'";
    let left = rig.number(left).await;
    assert!((1..=300).contains(&left), "{left} s");
    // What nothing goes before is sent as ever.
    let first = rig
        .send(&Plan::new("Create", "status:2", 1, &[A_SHARED]))
        .await;
    rig.until(first, A_SHARED, "delivered").await;
    assert_eq!(rig.row(second, A_SHARED).await.state, "parked");
    assert!(rig.sim.ledger().activities("Update").is_empty());
}
