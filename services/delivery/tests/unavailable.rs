//! Hosts that were given up: what still goes to them, and what brings them back.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::raw::RawHost;
use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tidegate_model::{ManualClock, shard_of};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const AVAILABLE: &str = "select count(*) from hosts where state = 'ok'";

/// A host that was given up, and is asked again at this time.
async fn given_up(rig: &Rig, host: &str, ask_at: OffsetDateTime) {
    let shard = shard_of(host, rig.deps.queues.shards());
    sqlx::query(
        "insert into hosts (host, shard, state, failing_since, unavailable_since, next_probe_at)
         values ($1, $2, 'unavailable', $3, $3, $3)",
    )
    .bind(host)
    .bind(shard.cast_signed())
    .bind(ask_at)
    .execute(rig.pool())
    .await
    .expect("a host");
}

/// A role whose clock the test moves, with a ladder that no retry of the test is on.
async fn driven() -> (Rig, ManualClock) {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    rig.options.retry_ladder = vec![Duration::from_hours(1); 4];
    let hands = rig.hands();
    (rig, hands)
}

#[tokio::test]
async fn any_answer_to_what_is_always_sent_brings_a_host_back() {
    let (mut rig, hands) = driven().await;
    rig.start();
    let tomorrow = hands.clock().now() + time::Duration::DAY;
    for (n, (kind, code, is_back)) in [
        ("Follow", 202, true),
        ("Undo", 403, true),
        ("Accept", 404, true),
        ("Reject", 429, true),
        ("Block", 401, true),
        ("Follow", 500, false),
    ]
    .into_iter()
    .enumerate()
    {
        let host = format!("h{n}.sim.test");
        let says = Script::always(Fault::Status { code });
        rig.sim.add_host(&host, HostBehaviour::inbox(says));
        rig.sim.add_actor(&host, "bob", true);
        given_up(&rig, &host, tomorrow).await;
        let inbox = format!("http://{host}/inbox");
        let id = rig.send(&Plan::new(kind, &host, 1, &[&inbox])).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = rig.row(id, &inbox).await;
            if row.attempts == 1 {
                break;
            }
            assert!(Instant::now() < deadline, "{kind} is not sent: {row:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What was learnt is written beside the row and before its message ends.
        rig.until_queue_is_empty().await;
        let state: String = sqlx::query_scalar("select state from hosts where host = $1")
            .bind(&host)
            .fetch_one(rig.pool())
            .await
            .expect("a host");
        let expected = if is_back { "ok" } else { "unavailable" };
        assert_eq!(state, expected, "{kind} answered with {code}");
    }
}

#[tokio::test]
async fn a_direct_message_is_sent_to_a_host_that_was_given_up_and_a_post_is_not() {
    let (mut rig, hands) = driven().await;
    let inbox = "http://a.sim.test/inbox";
    rig.sim.add_host("a.sim.test", HostBehaviour::default());
    rig.sim.add_actor("a.sim.test", "bob", true);
    given_up(
        &rig,
        "a.sim.test",
        hands.clock().now() + time::Duration::DAY,
    )
    .await;
    rig.start();
    let post = rig.send(&Plan::new("Create", "post", 1, &[inbox])).await;
    let row = rig.until(post, inbox, "dead").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("unavailable"), 0)
    );
    let bob = rig.person("bob", "a.sim.test", true).await;
    let message = Plan {
        status_id: Some(rig.post("direct").await),
        to_accounts: vec![bob],
        ..Plan::new("Create", "direct", 1, &[inbox])
    };
    let message = rig.send(&message).await;
    rig.until(message, inbox, "delivered").await;
    rig.until_number(AVAILABLE, 1).await;
}

/// A host that writes down what it is asked and breaks off, until it `answers`.
async fn asked(rig: &mut Rig) -> (Arc<Mutex<Vec<String>>>, Arc<std::sync::atomic::AtomicBool>) {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let answers = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, may) = (Arc::clone(&heads), Arc::clone(&answers));
    let host = RawHost::start(Arc::new(move |mut stream, _| {
        let (told, may) = (Arc::clone(&told), Arc::clone(&may));
        Box::pin(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else {
                    return;
                };
                head.push(byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            told.lock().expect("not poisoned").push(head);
            if may.load(std::sync::atomic::Ordering::SeqCst) {
                let _gone = stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        })
    }))
    .await;
    rig.lead("silent.test", host.address);
    (heads, answers)
}

#[tokio::test]
async fn a_host_that_was_given_up_is_asked_once_a_day_with_a_signed_get() {
    let (mut rig, hands) = driven().await;
    let (heads, answers) = asked(&mut rig).await;
    let first = hands.clock().now();
    given_up(&rig, "a.silent.test", first).await;
    rig.start();
    let next = "select extract(epoch from next_probe_at - unavailable_since)::bigint from hosts
                where host = 'a.silent.test'";
    for day in 1..=3 {
        rig.until_number(next, day * 86_400).await;
        let seen = heads.lock().expect("not poisoned").clone();
        assert!(!seen.is_empty(), "day {day}: not asked");
        for head in seen {
            assert!(
                head.starts_with("GET /.well-known/nodeinfo HTTP/1.1\r\n"),
                "{head}"
            );
            let head = head.to_ascii_lowercase();
            assert!(head.contains("\r\nsignature: keyid=\"http://us.test/actor"));
        }
        // Not again before the day is over.
        heads.lock().expect("not poisoned").clear();
        hands.advance(time::Duration::DAY - time::Duration::seconds(1));
        rig.look(&format!("day{day}")).await;
        assert!(heads.lock().expect("not poisoned").is_empty());
        hands.advance(time::Duration::seconds(1));
    }
    answers.store(true, std::sync::atomic::Ordering::SeqCst);
    hands.advance(time::Duration::DAY);
    let back = "select count(*) from hosts where host = 'a.silent.test' and state = 'ok'
                and failed_days = '{}' and next_probe_at is null";
    rig.until_number(back, 1).await;
}

/// Its name is a domain's, where there may be no server at all.
#[tokio::test]
async fn a_state_that_hosts_share_is_asked_for_at_one_of_them() {
    let (mut rig, hands) = driven().await;
    rig.sim.add_host("h1.sim.test", HostBehaviour::default());
    rig.inbox("http://h1.sim.test/inbox").await;
    rig.run("update inboxes set state_host = 'sharing.invalid'")
        .await;
    given_up(&rig, "sharing.invalid", hands.clock().now()).await;
    rig.start();
    rig.until_number(AVAILABLE, 1).await;
}

/// However often it does not answer, since when it was given up is not forgotten.
#[tokio::test]
async fn since_when_a_host_is_given_up_outlasts_a_restart() {
    let (mut rig, hands) = driven().await;
    rig.nobody().await;
    let long_ago = hands.clock().now() - time::Duration::days(30);
    given_up(&rig, "a.flaky.test", long_ago).await;
    rig.start();
    let asked = "select count(*) from hosts where next_probe_at > now()";
    rig.until_number(asked, 1).await;
    let since: Option<OffsetDateTime> = sqlx::query_scalar("select unavailable_since from hosts")
        .fetch_one(rig.pool())
        .await
        .expect("a host");
    let since = since.expect("it is remembered");
    assert!((since - long_ago).abs() < time::Duration::SECOND, "{since}");
}
