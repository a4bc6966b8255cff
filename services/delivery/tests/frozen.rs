//! A process that stands still for a while and goes on: what it did not hear is no fault of those
//! who may have spoken, and what it was about to send is another's by then.

mod common;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::raw::{RawHost, TAKEN, read_request};
use common::{PATIENCE, Plan, Rig};
use tidegate_delivery::Lookup;
use tidegate_loadtest::HostBehaviour;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::Instant;

const INBOX: &str = "http://a.sim.test/inbox";

/// Longer than a request may take and than the engine's loop ever rests.
const STANDSTILL: Duration = Duration::from_secs(4);

/// Requests without an answer in a row after which a host is failing.
const STREAK: i64 = 5;

#[tokio::test]
async fn requests_that_ran_out_of_time_in_a_frozen_process_say_nothing_about_the_host() {
    let mut rig = Rig::new().await;
    // A host that were taken for failing would stay so for as long as the test looks.
    rig.options.probe_first = Duration::from_hours(1);
    // Whoever lost its shards meanwhile has no requests any more.
    rig.options.lease_length = STANDSTILL * 10;
    rig.sim.add_host("a.sim.test", HostBehaviour::default());
    rig.start();
    // Answers open the window, so that enough is under way at once.
    for n in 0..40 {
        let key = format!("before{n}");
        let id = rig.send(&Plan::new("Create", &key, 1, &[INBOX])).await;
        rig.until(id, INBOX, "delivered").await;
    }
    let silent = HostBehaviour::slow(Duration::from_mins(1));
    rig.sim.set_behaviour("a.sim.test", silent);
    rig.sim.forget_crowds();
    for n in 0..20 {
        rig.send(&Plan::new("Create", &format!("meanwhile{n}"), 1, &[INBOX]))
            .await;
    }
    let deadline = Instant::now() + PATIENCE;
    while i64::from(rig.sim.crowds()["a.sim.test"]) < STREAK {
        assert!(Instant::now() < deadline, "too few requests at once");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The role shares this thread: nothing of it moves.
    std::thread::sleep(STANDSTILL);
    let answering = HostBehaviour::default();
    rig.sim.set_behaviour("a.sim.test", answering);

    rig.until_number(
        "select count(*) from deliveries where state = 'delivered'",
        60,
    )
    .await;
    let unheard = rig
        .number("select sum(attempts)::bigint - 60 from deliveries")
        .await;
    assert!(unheard >= STREAK, "only {unheard} ran out of time");
    let blamed = "select count(*) from hosts
        where state <> 'ok' or failing_since is not null or last_failure_at is not null";
    assert_eq!(rig.number(blamed).await, 0, "the host is blamed");
    let own = "select sum(own_failures)::bigint from deliveries";
    assert_eq!(rig.number(own).await, 0, "a step on the ladder");
}

/// A request that waits for a name when its process is frozen. Another has its shard when it wakes,
/// and may have sent the same and more by then.
#[tokio::test]
async fn a_process_that_lost_its_shard_in_its_sleep_sends_nothing_when_it_wakes() {
    let mut rig = Rig::new().await.patient(Duration::from_mins(1));
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let host = RawHost::start(Arc::new(move |mut stream, _| {
        let counter = Arc::clone(&counter);
        Box::pin(async move {
            while read_request(&mut stream).await {
                counter.fetch_add(1, Ordering::SeqCst);
                if stream.write_all(TAKEN).await.is_err() {
                    return;
                }
            }
        })
    }))
    .await;
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, may_answer) = (Arc::clone(&asked), Arc::clone(&answer));
    rig.options.egress.allow_networks = vec!["127.0.0.1/32".parse().expect("a network")];
    rig.options.egress.lookup = Lookup::new(move |_| {
        let (told, may_answer) = (Arc::clone(&told), Arc::clone(&may_answer));
        Box::pin(async move {
            told.notify_one();
            may_answer.notified().await;
            Ok(vec![IpAddr::from([127, 0, 0, 1])])
        })
    });
    let inbox = format!("http://late.test:{}/inbox", host.address.port());
    rig.start();
    let id = rig.send(&Plan::new("Create", "k", 1, &[&inbox])).await;
    asked.notified().await;
    rig.run(
        "update shard_leases set holder = gen_random_uuid(), expires_at = now() + interval '1 hour'",
    )
    .await;
    // The role shares this thread: nothing of it moves, and its lease runs out.
    std::thread::sleep(rig.options.lease_length * 2);
    answer.notify_one();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(taken.load(Ordering::SeqCst), 0, "it was sent");
    let row = rig.row(id, &inbox).await;
    assert_eq!((row.state.as_str(), row.attempts), ("queued", 0));
}
