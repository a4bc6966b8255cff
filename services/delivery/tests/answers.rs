//! What inboxes answer, and what becomes of the rows.

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::raw::{RawHost, TAKEN, read_head};
use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::{Fault, HostBehaviour, Scheme, Script, Verdict};
use tokio::io::AsyncWriteExt;

const A: &str = "http://a.sim.test/users/bob/inbox";
const B: &str = "http://b.sim.test/users/bob/inbox";

/// A rig whose attempts are counted: none is late on a busy machine.
async fn patient() -> Rig {
    Rig::new().await.patient(Duration::from_secs(20))
}

fn host(rig: &Rig, name: &str, habits: HostBehaviour) {
    rig.sim.add_host(name, habits);
    rig.sim.add_actor(name, "bob", false);
}

#[tokio::test]
async fn a_2xx_is_delivered_and_the_signature_convinces_a_stranger() {
    let mut rig = patient().await;
    rig.start();
    host(&rig, "a.sim.test", HostBehaviour::default());
    let id = rig.send(&Plan::new("Create", "k", 1, &[A])).await;
    let row = rig.until(id, A, "delivered").await;
    assert_eq!((row.attempts, row.last_status), (1, Some(202)));
    let got = rig.sim.ledger().activities("Create");
    assert_eq!(got.len(), 1);
    assert!(
        matches!(
            &got[0].verdict,
            Verdict::Valid {
                scheme: Scheme::Cavage,
                ..
            }
        ),
        "{:?}",
        got[0].verdict
    );
    let agent = got[0].headers["user-agent"].to_str().expect("text");
    assert!(
        agent.starts_with("Tidegate/") && agent.ends_with("(+http://us.test)"),
        "{agent}"
    );
    rig.until_queue_is_empty().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_host_that_wants_rfc_9421_gets_it_at_once_and_first_the_next_time() {
    let mut rig = patient().await;
    rig.start();
    let only = HostBehaviour {
        only_scheme: Some(Scheme::Rfc9421),
        ..HostBehaviour::default()
    };
    host(&rig, "a.sim.test", only);
    let first = rig.send(&Plan::new("Create", "k", 1, &[A])).await;
    assert_eq!(rig.until(first, A, "delivered").await.attempts, 1);
    assert_eq!(
        rig.sim.ledger().activities("Create").len(),
        2,
        "the second try follows at once"
    );
    // What was learnt about the host is written after the row and before the ack.
    rig.until_queue_is_empty().await;
    let scheme: String =
        sqlx::query_scalar("select signature from hosts where host = 'a.sim.test'")
            .fetch_one(rig.pool())
            .await
            .expect("a note");
    assert_eq!(scheme, "rfc9421");
    let second = rig.send(&Plan::new("Update", "k", 2, &[A])).await;
    rig.until(second, A, "delivered").await;
    let got = rig.sim.ledger().activities("Update");
    assert_eq!(got.len(), 1, "remembered");
    assert!(matches!(
        &got[0].verdict,
        Verdict::Valid {
            scheme: Scheme::Rfc9421,
            ..
        }
    ));
}

/// A 4xx that is final otherwise, from a host that says how it wants to be asked.
#[tokio::test]
async fn a_4xx_that_names_the_signature_it_wants_gets_it() {
    const WANTING: &str = "http://a.wanting.test/inbox";
    let mut rig = patient().await;
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let wanting = RawHost::start(Arc::new(move |mut stream, _| {
        let seen = Arc::clone(&seen);
        Box::pin(async move {
            while let Some(head) = read_head(&mut stream).await {
                let is_new = head.contains("\r\nsignature-input:");
                seen.lock().expect("not poisoned").push(is_new);
                let answer: &[u8] = if is_new {
                    TAKEN
                } else {
                    b"HTTP/1.1 422 Unprocessable Content\r\naccept-signature: sig1=()\r\n\
                      content-length: 0\r\n\r\n"
                };
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        })
    }))
    .await;
    rig.lead("wanting.test", wanting.address);
    rig.start();
    let id = rig.send(&Plan::new("Create", "k", 1, &[WANTING])).await;
    let row = rig.until(id, WANTING, "delivered").await;
    assert_eq!(row.attempts, 1);
    assert_eq!(*heads.lock().expect("not poisoned"), [false, true]);
}

#[tokio::test]
async fn a_host_that_refuses_both_schemes_is_not_asked_twice_the_next_time() {
    let mut rig = patient().await;
    rig.start();
    let refusing = HostBehaviour::inbox(Script::always(Fault::Status { code: 403 }));
    host(&rig, "a.sim.test", refusing);
    for (key, requests) in [("first", 2), ("second", 3), ("third", 4)] {
        let id = rig.send(&Plan::new("Create", key, 1, &[A])).await;
        assert_eq!(rig.until(id, A, "dead").await.attempts, 1);
        assert_eq!(rig.sim.ledger().activities("Create").len(), requests);
    }
}

#[tokio::test]
async fn a_503_is_tried_again_until_it_is_taken() {
    let mut rig = patient().await;
    rig.start();
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::inbox(Script::first(2, Fault::Status { code: 503 })),
    );
    let id = rig.send(&Plan::new("Create", "k", 1, &[A])).await;
    let row = rig.until(id, A, "delivered").await;
    assert_eq!(row.attempts, 3);
    assert_eq!(row.reason, None);
}

#[tokio::test]
async fn a_host_that_never_recovers_ends_in_dead_after_the_ladder() {
    let mut rig = patient().await;
    rig.start();
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::inbox(Script::always(Fault::Status { code: 500 })),
    );
    let id = rig.send(&Plan::new("Create", "k", 1, &[A])).await;
    let row = rig.until(id, A, "dead").await;
    assert_eq!(row.reason.as_deref(), Some("exhausted"));
    assert_eq!((row.attempts, row.last_status), (5, Some(500)));
}

#[tokio::test]
async fn a_410_is_final_for_its_row_and_for_no_other() {
    let mut rig = patient().await;
    rig.start();
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::inbox(Script::always(Fault::Status { code: 410 })),
    );
    host(&rig, "b.sim.test", HostBehaviour::default());
    let id = rig.send(&Plan::new("Create", "k", 1, &[A, B])).await;
    let row = rig.until(id, A, "dead").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("status_410"), 1)
    );
    rig.until(id, B, "delivered").await;
}

#[tokio::test]
async fn a_follow_outlives_an_inbox_that_is_gone() {
    let mut rig = patient().await;
    rig.start();
    for code in [404, 405, 410] {
        let name = format!("h{code}.sim.test");
        let gone = Script::always(Fault::Status { code });
        host(&rig, &name, HostBehaviour::inbox(gone));
        let (_, inbox) = rig.follower(&name).await;
        let plan = Plan {
            status_id: Some(rig.post("public").await),
            to_followers_of: Some(rig.author),
            ..Plan::new("Create", &name, 1, &[&inbox])
        };
        let id = rig.send(&plan).await;
        rig.until(id, &inbox, "dead").await;
    }
    // Only the actor itself can be gone for good, and an inbox is not asked about that.
    let follows = "select count(*) from follows where state = 'accepted'";
    assert_eq!(rig.number(follows).await, 3);
}

#[tokio::test]
async fn a_429_waits_as_long_as_it_asks() {
    let mut rig = Rig::new().await;
    // What is refused for longer than the whole ladder takes ends all the same.
    rig.options.retry_ladder = vec![PATIENCE];
    rig.start();
    let fault = Fault::TooManyRequests {
        retry_after: "2".to_owned(),
    };
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::inbox(Script::first(1, fault)),
    );
    let started = Instant::now();
    let id = rig.send(&Plan::new("Create", "k", 1, &[A])).await;
    rig.until(id, A, "delivered").await;
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_host_that_hangs_or_trickles_costs_its_own_delivery_only() {
    let rig = Rig::running().await;
    let hang = Fault::Hang { millis: 60_000 };
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::inbox(Script::first(1, hang)),
    );
    host(&rig, "b.sim.test", HostBehaviour::default());
    let id = rig.send(&Plan::new("Create", "k", 1, &[A, B])).await;
    rig.until(id, B, "delivered").await;
    assert_eq!(
        rig.row(id, A).await.state,
        "queued",
        "the healthy host did not wait for this one's time-out"
    );
    rig.until(id, A, "parked").await;
    let row = rig.until(id, A, "delivered").await;
    assert_eq!(row.attempts, 2, "the deadline ended the first attempt");
}

#[tokio::test]
async fn redirects_of_a_delivery_are_never_followed() {
    for code in [301, 302, 303, 307, 308] {
        let rig = Rig::running().await;
        let to = "http://b.sim.test/users/bob/inbox".to_owned();
        host(
            &rig,
            "a.sim.test",
            HostBehaviour::inbox(Script::always(Fault::Redirect { code, to })),
        );
        host(&rig, "b.sim.test", HostBehaviour::default());
        let id = rig.send(&Plan::new("Create", "k", 1, &[A])).await;
        let row = rig.until(id, A, "dead").await;
        assert_eq!(row.last_status, Some(i32::from(code)));
        let elsewhere = rig
            .sim
            .ledger()
            .received(|entry| &*entry.host == "b.sim.test");
        assert!(elsewhere.is_empty(), "{code} was followed");
    }
}

#[tokio::test]
async fn a_reset_connection_is_tried_again() {
    let rig = Rig::running().await;
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::inbox(Script::first(3, Fault::Reset)),
    );
    let id = rig.send(&Plan::new("Create", "k", 1, &[A])).await;
    let row = rig.until(id, A, "delivered").await;
    assert!(row.attempts >= 2, "{row:?}");
}

#[tokio::test]
async fn one_slow_host_does_not_hold_up_the_others() {
    let mut rig = Rig::new().await;
    rig.options.prefetch_inboxes = 8;
    rig.start();
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::slow(Duration::from_millis(1500)),
    );
    host(&rig, "b.sim.test", HostBehaviour::default());
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(
            rig.send(&Plan::new("Create", &format!("k{n}"), 1, &[A, B]))
                .await,
        );
    }
    let fast = rig
        .sim
        .ledger()
        .wait_until(
            |ledger| {
                ledger
                    .effects()
                    .iter()
                    .filter(|a| &*a.host == "b.sim.test")
                    .count()
                    == 30
            },
            Duration::from_secs(10),
        )
        .await;
    assert!(
        fast,
        "the fast host has everything while the slow one is still busy"
    );
    let waiting: i64 =
        sqlx::query_scalar("select count(*) from deliveries where state <> 'delivered'")
            .fetch_one(rig.pool())
            .await
            .expect("a count");
    assert!(waiting > 0, "the slow host cannot be done yet");
    let all = rig
        .sim
        .ledger()
        .wait_until(|ledger| ledger.effect_count() == 60, PATIENCE)
        .await;
    assert!(all, "and in the end it has everything too");
}
