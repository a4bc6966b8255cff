//! Hosts that answer badly on purpose (attacks C7, C9, C10, C16): each is ended in time and
//! classed, and a healthy host gets its own meanwhile.

mod common;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::raw::{RawHost, read_request};
use common::{Plan, Rig};
use tidegate_delivery::{EgressError, Lookup, ensure_instance_actor};
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tokio::io::AsyncWriteExt;

const WELL: &str = "http://healthy.test/inbox";
const BAD: &str = "http://bad.test/inbox";

/// A rig with a healthy host, and a ladder that nobody climbs during the test.
async fn rig() -> Rig {
    let mut rig = Rig::new().await.patient(Duration::from_secs(5));
    rig.options.retry_ladder = vec![Duration::from_hours(1); 4];
    rig.options.probe_first = Duration::from_hours(1);
    let well = RawHost::healthy().await;
    rig.lead("healthy.test", well.address);
    rig
}

/// Sends to both; returns what became of the row for `BAD` once the healthy host has its own.
async fn send(rig: &Rig, key: &str, state: &str) -> common::Row {
    let id = rig.send(&Plan::new("Create", key, 1, &[BAD, WELL])).await;
    rig.until(id, WELL, "delivered").await;
    rig.until(id, BAD, state).await
}

/// A host that, once it has the request, sends `start` and then `more` without end.
async fn endless(start: &'static [u8], more: &'static [u8], pause: Duration) -> RawHost {
    RawHost::start(Arc::new(move |mut stream, _| {
        Box::pin(async move {
            read_request(&mut stream).await;
            let _gone = stream.write_all(start).await;
            while stream.write_all(more).await.is_ok() {
                if pause.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(pause).await;
                }
            }
        })
    }))
    .await
}

#[tokio::test]
async fn answers_that_never_end_do_not_hold_up_an_outcome_that_is_known() {
    const CHUNKED: &[u8] = b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n";
    for pause in [Duration::ZERO, Duration::from_millis(100)] {
        let mut rig = rig().await;
        let bad = endless(CHUNKED, b"4\r\nabcd\r\n", pause).await;
        rig.lead("bad.test", bad.address);
        rig.start();
        let row = send(&rig, "k", "delivered").await;
        assert_eq!((row.attempts, row.last_status), (1, Some(202)));
    }
}

#[tokio::test]
async fn heads_that_never_end_are_given_up() {
    for (pause, reason) in [
        (Duration::from_millis(50), "timeout"),
        // As fast as it can: the limit comes first, and a second try finds the same.
        (Duration::ZERO, "broken"),
    ] {
        let mut rig = rig().await;
        let head = b"HTTP/1.1 202 Accepted\r\n";
        let bad = endless(head, b"x-more: abcdefghijklmnopqrstuvwxyz\r\n", pause).await;
        rig.lead("bad.test", bad.address);
        rig.start();
        let row = send(&rig, "k", "parked").await;
        assert_eq!((row.reason.as_deref(), row.attempts), (Some(reason), 1));
    }
}

#[tokio::test]
async fn header_bombs_are_refused() {
    let many: Vec<String> = (0..10_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(1 << 20));
    for headers in [many.concat(), long] {
        let mut rig = rig().await;
        let answer = format!("HTTP/1.1 202 Accepted\r\n{headers}content-length: 0\r\n\r\n");
        let bad = RawHost::saying(answer.into_bytes()).await;
        rig.lead("bad.test", bad.address);
        rig.start();
        let row = send(&rig, "k", "parked").await;
        assert_eq!((row.reason.as_deref(), row.attempts), (Some("broken"), 1));
    }
}

#[tokio::test]
async fn answers_that_are_not_http_are_broken() {
    for answer in [
        "",
        "\0\0\0\0\0",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 999999 Odd\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\nabcde",
    ] {
        let mut rig = rig().await;
        let bad = RawHost::saying(answer.as_bytes().to_vec()).await;
        rig.lead("bad.test", bad.address);
        rig.start();
        let row = send(&rig, "k", "parked").await;
        assert_eq!(row.reason.as_deref(), Some("broken"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_retry_after_of_ten_years_is_six_hours_at_most() {
    let mut rig = rig().await;
    rig.sim.add_actor("a.sim.test", "bob", true);
    rig.start();
    let ten_years =
        httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_hours(10 * 365 * 24));
    // What is clamped from above, what says nothing (an hour, by this ladder), and what is over
    // already: a second, which may have passed when the test looks.
    let (clamped, ladder, soon) = (21_000.0..=26_000.0, 2_800.0..=4_400.0, -30.0..=2.0);
    let asked = [
        ("315360000", &clamped),
        ("99999999999999999999999999", &ladder),
        ("-1", &ladder),
        ("soon", &ladder),
        (&*ten_years, &clamped),
        ("Thu, 01 Jan 1970 00:00:00 GMT", &soon),
    ];
    for (n, (retry_after, expected)) in asked.into_iter().enumerate() {
        let name = format!("h{n}.sim.test");
        let fault = Fault::TooManyRequests {
            retry_after: retry_after.to_owned(),
        };
        let habits = HostBehaviour::inbox(Script::always(fault));
        rig.sim.add_host(&name, habits);
        let inbox = format!("http://{name}/inbox");
        let id = rig
            .send(&Plan::new("Create", &name, 1, &[&inbox, WELL]))
            .await;
        rig.until(id, WELL, "delivered").await;
        rig.until(id, &inbox, "parked").await;
        let waits: f64 = sqlx::query_scalar(
            "select extract(epoch from not_before - now())::float8 from deliveries
             where activity_id = $1 and state = 'parked'",
        )
        .bind(id)
        .fetch_one(rig.pool())
        .await
        .expect("a time");
        assert!(expected.contains(&waits), "{retry_after}: {waits} s");
    }
}

#[tokio::test]
async fn redirects_in_a_circle_end_and_are_remembered() {
    let rig = rig().await;
    ensure_instance_actor(rig.pool(), &rig.deps.vault, &rig.deps.instance)
        .await
        .expect("the instance actor");
    let way_out = rig.delivery().way_out().clone();
    let to = |host: &str| Fault::Redirect {
        code: 302,
        to: format!("http://{host}.sim.test/users/bob"),
    };
    for (host, next) in [("a", "b"), ("b", "a"), ("self", "self")] {
        let habits = HostBehaviour::documents(Script::always(to(next)));
        rig.sim.add_host(&format!("{host}.sim.test"), habits);
    }
    let well = rig.sim.add_actor("well.sim.test", "ada", true);
    rig.sim.public_key(&well).await.expect("a key");
    for host in ["a", "self"] {
        let before = rig.sim.ledger().len();
        for _ in 0..5 {
            let url = format!("http://{host}.sim.test/users/bob");
            let got = way_out.fetch_object(&url).await;
            assert_eq!(got, Err(EgressError::Redirect("too many")), "{host}");
        }
        assert_eq!(rig.sim.ledger().len() - before, 4, "{host}: asked once");
    }
    let ada = way_out.fetch_object("http://well.sim.test/users/ada").await;
    assert!(ada.is_ok(), "{ada:?}");
}

/// C16: names whose servers are silent take the places of names that never resolved, and not of
/// those that did; a thousand addresses are tried no more than a few times; labels of any length
/// are data.
#[tokio::test]
async fn names_that_never_answer_keep_nobody_from_a_host_that_is_known() {
    let mut rig = rig().await;
    let mut hosts = Vec::new();
    let well = RawHost::start(Arc::new(|mut stream, _| {
        Box::pin(async move {
            // Closed each time, so that each delivery looks the name up.
            if read_request(&mut stream).await {
                let answer = b"HTTP/1.1 202 Accepted\r\nconnection: close\r\n\r\n";
                let _gone = stream.write_all(answer).await;
            }
        })
    }))
    .await;
    let silent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&silent);
    rig.options.egress.allow_networks = vec!["127.0.0.1/32".parse().expect("a network")];
    rig.options.egress.lookup = Lookup::new(move |name| {
        let counter = Arc::clone(&counter);
        Box::pin(async move {
            if name == "known.test" {
                return Ok(vec![IpAddr::from([127, 0, 0, 1])]);
            }
            counter.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        })
    });
    // The look-ups are given up after a share of this.
    rig.options.egress.connect_timeout = Duration::from_secs(1);
    rig.start();
    let known = format!("http://known.test:{}/inbox", well.address.port());
    let first = rig.send(&Plan::new("Create", "first", 1, &[&known])).await;
    rig.until(first, &known, "delivered").await;
    for n in 0..200 {
        hosts.push(format!("http://silent{n}.test/inbox"));
    }
    let label = "a".repeat(255);
    hosts.push(format!("http://{label}.test/inbox"));
    let inboxes: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let flood = rig.send(&Plan::new("Create", "flood", 1, &inboxes)).await;
    for inbox in &inboxes {
        rig.until(flood, inbox, "parked").await;
    }
    // Nobody gave a place back: this many look-ups are still under way, and no more.
    assert_eq!(silent.load(Ordering::SeqCst), 64);
    let second = rig.send(&Plan::new("Create", "second", 1, &[&known])).await;
    let row = rig.until(second, &known, "delivered").await;
    assert_eq!(row.attempts, 1);
}

#[tokio::test]
async fn of_a_thousand_addresses_a_few_are_tried() {
    let mut rig = rig().await;
    rig.options.egress.allow_networks = vec!["127.1.0.0/16".parse().expect("a network")];
    rig.options.egress.lookup = Lookup::new(|_| {
        Box::pin(async {
            let address = |n: u16| IpAddr::from([127, 1, (n >> 8) as u8, n as u8]);
            Ok((1..=1_000).map(address).collect())
        })
    });
    let listener = tokio::net::TcpListener::bind("127.1.0.9:0").await;
    let ninth = listener.expect("a port of the ninth address");
    let port = ninth.local_addr().expect("an address").port();
    rig.start();
    let inbox = format!("http://many.test:{port}/inbox");
    let id = rig
        .send(&Plan::new("Create", "k", 1, &[&inbox, WELL]))
        .await;
    rig.until(id, WELL, "delivered").await;
    rig.until(id, &inbox, "parked").await;
    rig.until_error(id, &inbox, "connect").await;
    let called = tokio::time::timeout(Duration::ZERO, ninth.accept()).await;
    assert!(called.is_err(), "the ninth address was tried");
}
