//! Order, what is no longer wanted, crashes, and the books.

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

fn host(rig: &Rig, name: &str, habits: HostBehaviour) {
    rig.sim.add_host(name, habits);
    rig.sim.add_actor(name, "bob", true);
}

#[tokio::test]
async fn a_delete_never_overtakes_its_create_on_the_same_host() {
    let rig = Rig::running().await;
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

#[tokio::test]
async fn many_pairs_under_failures_arrive_in_order() {
    let rig = Rig::running().await;
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

#[tokio::test]
async fn what_is_not_planned_yet_goes_first_too() {
    let rig = Rig::running().await;
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

#[tokio::test]
async fn a_post_deleted_before_it_was_sent_is_cancelled_and_its_delete_goes_out() {
    let rig = Rig::running().await;
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

#[tokio::test]
async fn a_direct_post_is_not_sent_to_somebody_blocked_meanwhile() {
    let rig = Rig::running().await;
    host(&rig, "a.sim.test", HostBehaviour::default());
    let bob: i64 = sqlx::query_scalar(
        "insert into accounts (username, domain, uri, url, inbox_url, key_id, public_key_pem)
         values ('bob', 'a.sim.test', 'http://a.sim.test/users/bob', '', $1, 'k', '') returning id",
    )
    .bind(A)
    .fetch_one(rig.pool())
    .await
    .expect("an account");
    let status = rig.post("direct").await;
    let plan = |seq| Plan {
        status_id: Some(status),
        to_accounts: vec![bob],
        ..Plan::new("Create", "status:1", seq, &[A])
    };
    let before = rig.send(&plan(1)).await;
    rig.until(before, A, "delivered").await;
    sqlx::query("insert into blocks (account_id, target_id, uri) values ($1, $2, 'b')")
        .bind(rig.author)
        .bind(bob)
        .execute(rig.pool())
        .await
        .expect("a block");
    let after = rig.send(&plan(2)).await;
    let row = rig.until(after, A, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("blocked"));
    // The block itself is told.
    let block = rig.send(&Plan::new("Block", "relation:1:2", 1, &[A])).await;
    rig.until(block, A, "delivered").await;
}

#[tokio::test]
async fn a_private_post_is_not_sent_where_nobody_follows_any_more() {
    let rig = Rig::running().await;
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
async fn a_crash_between_post_and_ack_repeats_on_the_wire_and_not_in_the_books() {
    const SLOW: &str = "http://slow.test/inbox";
    let mut rig = Rig::new().await;
    let (address, taken) = slow_to_answer().await;
    rig.options
        .egress
        .host_map
        .push(("slow.test".to_owned(), address));
    // A short visibility, so that the dead process's messages come back soon.
    let queue = TableQueue::with_visibility(rig.pool().clone(), Duration::from_secs(2));
    rig.deps.queue = Arc::new(queue);
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

#[tokio::test]
async fn a_message_that_comes_three_times_is_one_delivery() {
    let mut rig = Rig::new().await;
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

#[tokio::test]
async fn rows_whose_message_is_gone_are_published_again() {
    let mut rig = Rig::new().await;
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

#[tokio::test]
async fn the_books_agree_until_a_row_is_taken_away_by_hand() {
    let rig = Rig::running().await;
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

#[tokio::test]
async fn dead_rows_are_counted_and_replayed() {
    let rig = Rig::running().await;
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
