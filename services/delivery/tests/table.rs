//! The table of answers (design section 6), line by line, where `answers.rs` tells no story of
//! its own. A healthy host gets its delivery meanwhile.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::raw::{RawHost, TAKEN, metric, read_request};
use common::{Plan, Rig};
use tidegate_delivery::Lookup;
use tidegate_loadtest::{Fault, HostBehaviour, Script, SignaturePolicy};
use tidegate_model::ManualClock;
use tidegate_testkit::Logs;
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;

const WELL: &str = "http://well.sim.test/inbox";
const SHARED: &str = "http://a.sim.test/inbox";
const OWN: &str = "http://a.sim.test/users/bob/inbox";

fn behaves(rig: &Rig, name: &str, script: Script) {
    rig.sim.add_host(name, HostBehaviour::inbox(script));
    rig.sim.add_actor(name, "bob", true);
}

fn says(code: u16) -> Script {
    Script::always(Fault::Status { code })
}

/// Whether the inbox at `SHARED` is known to be shared.
async fn shared(rig: &Rig) {
    let (inbox, _) = rig.inbox(SHARED).await;
    sqlx::query("update inboxes set shared = true where id = $1")
        .bind(inbox)
        .execute(rig.pool())
        .await
        .expect("shared");
}

async fn patient() -> Rig {
    Rig::new().await.patient(Duration::from_secs(20))
}

/// Sends to both hosts, and sees to it that the healthy one takes it.
async fn send(rig: &Rig, key: &str, inbox: &str) -> i64 {
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    let id = rig.send(&Plan::new("Create", key, 1, &[inbox, WELL])).await;
    rig.until(id, WELL, "delivered").await;
    id
}

#[tokio::test]
async fn every_2xx_is_delivered() {
    for code in [200, 201, 202, 204, 206] {
        let mut rig = patient().await;
        rig.start();
        behaves(&rig, "a.sim.test", says(code));
        let id = send(&rig, "k", OWN).await;
        let row = rig.until(id, OWN, "delivered").await;
        assert_eq!((row.attempts, row.last_status), (1, Some(i32::from(code))));
    }
}

#[tokio::test]
async fn other_4xx_are_final_at_once() {
    let mut rig = patient().await;
    rig.start();
    for code in [400, 402, 403, 406, 413, 422, 451] {
        let name = format!("h{code}.sim.test");
        behaves(&rig, &name, says(code));
        let inbox = format!("http://{name}/inbox");
        let id = send(&rig, &name, &inbox).await;
        let row = rig.until(id, &inbox, "dead").await;
        assert_eq!(row.reason, Some(format!("status_{code}")));
        assert_eq!(row.attempts, 1);
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let mut rig = patient().await;
    rig.start();
    for code in [408, 425, 500, 502, 503, 504, 520] {
        let name = format!("h{code}.sim.test");
        behaves(&rig, &name, Script::first(1, Fault::Status { code }));
        let inbox = format!("http://{name}/inbox");
        let id = send(&rig, &name, &inbox).await;
        let row = rig.until(id, &inbox, "delivered").await;
        assert_eq!(row.attempts, 2, "{code}");
    }
}

#[tokio::test]
async fn gone_is_final_for_a_person_and_for_a_shared_inbox_that_never_worked() {
    for code in [404, 405, 410] {
        let mut rig = patient().await;
        rig.start();
        behaves(&rig, "a.sim.test", says(code));
        shared(&rig).await;
        for (key, inbox) in [("own", OWN), ("shared", SHARED)] {
            let id = send(&rig, key, inbox).await;
            let row = rig.until(id, inbox, "dead").await;
            assert_eq!(row.reason, Some(format!("status_{code}")), "{inbox}");
            assert_eq!(row.attempts, 1, "{inbox}");
        }
    }
}

#[tokio::test]
async fn a_shared_inbox_that_worked_and_is_gone_is_the_hosts_trouble_for_a_day() {
    let mut rig = patient().await;
    let hands = ManualClock::at(OffsetDateTime::now_utc());
    rig.deps.clock = hands.clock();
    rig.options.retry_ladder = vec![Duration::from_hours(5); 50];
    rig.start();
    shared(&rig).await;
    let moving = Script::first(1, Fault::Ok).then(Fault::Status { code: 404 });
    behaves(&rig, "a.sim.test", moving);
    let before = send(&rig, "before", SHARED).await;
    rig.until(before, SHARED, "delivered").await;
    // What the host took is written beside the row.
    rig.until_queue_is_empty().await;
    let id = send(&rig, "k", SHARED).await;
    let row = rig.until(id, SHARED, "parked").await;
    assert_eq!(row.reason.as_deref(), Some("status_404"));
    let mut attempts = row.attempts;
    // Waits are spread over a fifth: four times six hours and a half are past the day.
    while rig.row(id, SHARED).await.state == "parked" {
        hands.advance(time::Duration::minutes(390));
        let deadline = tokio::time::Instant::now() + common::PATIENCE;
        while rig.row(id, SHARED).await.attempts == attempts {
            assert!(tokio::time::Instant::now() < deadline, "no other attempt");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        attempts = rig.row(id, SHARED).await.attempts;
        assert!(
            attempts <= 5,
            "a day is over: {:?}",
            rig.row(id, SHARED).await
        );
    }
    let row = rig.row(id, SHARED).await;
    assert_eq!((&*row.state, row.attempts), ("dead", 5));
    assert_eq!(row.reason.as_deref(), Some("status_404"));
}

#[tokio::test]
async fn a_single_401_is_theirs_and_ends_with_the_ladder() {
    let mut rig = patient().await;
    rig.start();
    behaves(&rig, "a.sim.test", says(401));
    let id = send(&rig, "k", OWN).await;
    let row = rig.until(id, OWN, "dead").await;
    assert_eq!(row.reason.as_deref(), Some("exhausted"));
    assert_eq!((row.attempts, row.last_status), (5, Some(401)));
}

#[tokio::test]
async fn a_single_401_is_ours_when_the_other_hosts_show_that_our_clock_is_wrong() {
    let (logs, _guard) = Logs::of_this_thread();
    let mut rig = patient().await;
    let late = OffsetDateTime::now_utc() - time::Duration::hours(2);
    let hands = ManualClock::at(late);
    rig.deps.clock = hands.clock();
    rig.options.retry_ladder = vec![Duration::from_millis(50); 3];
    rig.start();
    let lenient = HostBehaviour {
        signatures: SignaturePolicy::RecordOnly,
        ..HostBehaviour::default()
    };
    let others: Vec<String> = (0..3)
        .map(|n| format!("http://h{n}.sim.test/inbox"))
        .collect();
    for n in 0..3 {
        rig.sim.add_host(&format!("h{n}.sim.test"), lenient.clone());
    }
    let inboxes: Vec<&str> = others.iter().map(String::as_str).collect();
    let first = rig.send(&Plan::new("Create", "first", 1, &inboxes)).await;
    for inbox in &inboxes {
        rig.until(first, inbox, "delivered").await;
    }
    // The first attempt tries both signatures, five more the usual one.
    let refusals = Script::first(7, Fault::Status { code: 401 });
    let refusing = HostBehaviour {
        inbox: refusals,
        ..lenient
    };
    rig.sim.add_host("a.sim.test", refusing);
    rig.sim.add_actor("a.sim.test", "bob", true);
    let id = rig.send(&Plan::new("Create", "k", 1, &[OWN])).await;
    let deadline = tokio::time::Instant::now() + common::PATIENCE;
    while rig.row(id, OWN).await.state != "delivered" {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            rig.row(id, OWN).await
        );
        hands.advance(time::Duration::milliseconds(100));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let row = rig.row(id, OWN).await;
    assert_eq!(row.attempts, 7, "more than its ladder is long");
    // Not by the metric: that belongs to the process, and another test's hosts move it too.
    let text = logs.text();
    let told = text
        .lines()
        .find(|line| line.contains("this machine's clock is wrong"));
    let told = told.expect("the operator is told");
    let (_, skew) = told.split_once("skew_seconds=").expect("by how much");
    let digits: String = skew.chars().take_while(char::is_ascii_digit).collect();
    let skew: i64 = digits.parse().expect("seconds");
    assert!((7_000..7_400).contains(&skew), "{told}");
}

/// A host that takes one request on each connection, and closes when it has the next.
async fn closes_kept_connections(from_first: bool) -> RawHost {
    RawHost::start(Arc::new(move |mut stream, _| {
        Box::pin(async move {
            if !from_first && read_request(&mut stream).await {
                let _gone = stream.write_all(TAKEN).await;
            }
            read_request(&mut stream).await;
        })
    }))
    .await
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_one_retry_at_once_and_no_attempt() {
    const INBOX: &str = "http://stale.test/inbox";
    let mut rig = patient().await;
    // A retry from the ladder would come after the test.
    rig.options.retry_ladder = vec![Duration::from_hours(1); 4];
    let stale = closes_kept_connections(false).await;
    rig.lead("stale.test", stale.address);
    rig.start();
    for n in 0..3 {
        let id = send(&rig, &format!("k{n}"), INBOX).await;
        let row = rig.until(id, INBOX, "delivered").await;
        assert_eq!(row.attempts, 1, "{n}");
    }
    let connections = stale.connections.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(connections, 3);
}

#[tokio::test]
async fn a_host_that_closes_every_connection_gets_two_requests_an_attempt() {
    const INBOX: &str = "http://stale.test/inbox";
    let mut rig = patient().await;
    rig.options.retry_ladder = vec![Duration::from_hours(1); 4];
    let closing = closes_kept_connections(true).await;
    rig.lead("stale.test", closing.address);
    rig.start();
    let id = send(&rig, "k", INBOX).await;
    let row = rig.until(id, INBOX, "parked").await;
    assert_eq!((row.attempts, row.reason.as_deref()), (1, Some("broken")));
    let connections = closing
        .connections
        .load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(connections, 2);
}

#[tokio::test]
async fn names_fail_by_kind() {
    let mut rig = patient().await;
    rig.options.probe_first = Duration::from_hours(1);
    rig.options.egress.lookup = Lookup::new(|name| {
        Box::pin(async move {
            let texts = "failed to lookup address information: ";
            let failed = |text: &str| Err(std::io::Error::other(format!("{texts}{text}")));
            match name.split('.').next().unwrap_or_default() {
                "nobody" => failed("Name or service not known"),
                "refused" => failed("Temporary failure in name resolution"),
                "empty" => Ok(Vec::new()),
                "nodata" => failed("No address associated with hostname"),
                "odd" => failed("something new"),
                _ => std::future::pending().await,
            }
        })
    });
    rig.start();
    for (name, class) in [
        ("nobody", "dns_no_name"),
        ("refused", "dns_temporary"),
        ("empty", "dns_no_address"),
        ("nodata", "dns_no_address"),
        ("odd", "dns"),
        ("silent", "dns_timeout"),
    ] {
        let inbox = format!("http://{name}.names.test/inbox");
        let counter =
            format!(r#"tidegate_delivery_attempts_total{{answer="{class}",lane="bulk"}}"#);
        let before = metric(&counter);
        let id = send(&rig, name, &inbox).await;
        let row = rig.until(id, &inbox, "parked").await;
        assert_eq!((row.reason.as_deref(), row.attempts), (Some("host"), 1));
        rig.until_error(id, &inbox, class).await;
        assert!(metric(&counter) > before, "{class}");
    }
}

#[tokio::test]
async fn a_shared_inbox_that_moves_after_an_outage_costs_nothing_that_waited_for_it() {
    let mut rig = patient().await;
    shared(&rig).await;
    let moving = Script::first(2, Fault::Status { code: 404 });
    behaves(&rig, "a.sim.test", moving);
    // Three days old: it waited for the host, which was last seen four days ago.
    let id = rig.plan(&Plan::new("Create", "k", 1, &[SHARED])).await;
    rig.run(
        "with host as (
             insert into hosts (host, shard, last_success_at)
             select host, shard, now() - interval '4 days' from deliveries)
         update deliveries set created_at = now() - interval '3 days'",
    )
    .await;
    rig.start();
    rig.publish(id).await;
    let gone = "select count(*) from hosts where gone_since > now() - interval '1 minute'";
    rig.until_number(gone, 1).await;
    let row = rig.until(id, SHARED, "delivered").await;
    assert_eq!(row.attempts, 3);
    rig.until_number("select count(*) from hosts where gone_since is null", 1)
        .await;
}

#[tokio::test]
async fn what_is_gone_for_a_day_is_gone_for_what_comes_later_too() {
    let mut rig = patient().await;
    shared(&rig).await;
    behaves(&rig, "a.sim.test", says(404));
    let id = rig.plan(&Plan::new("Create", "k", 1, &[SHARED])).await;
    rig.run(
        "insert into hosts (host, shard, last_success_at, gone_since)
         select host, shard, now() - interval '2 days', now() - interval '25 hours'
         from deliveries",
    )
    .await;
    rig.start();
    rig.publish(id).await;
    let row = rig.until(id, SHARED, "dead").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("status_404"), 1)
    );
}
