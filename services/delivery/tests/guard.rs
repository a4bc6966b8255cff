//! Attacks C1, C3, C4, C16 and E7: where nothing may go, nothing goes.

mod common;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::raw::RawHost;
use common::{Plan, Rig};
use tidegate_delivery::{
    DeliveryOptions, EgressError, EgressOptions, HttpClient, Lookup, ensure_instance_actor,
};
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tokio::net::TcpListener;
use url::Url;

/// Counts connections to every reachable address of this machine on one port.
async fn trap() -> (u16, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let any = TcpListener::bind("[::]:0").await.expect("a port");
    let port = any.local_addr().expect("an address").port();
    let counter = Arc::clone(&seen);
    tokio::spawn(async move {
        while any.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, seen)
}

const PRIVATE: [&str; 26] = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[fe80::1]",
    "[fc00::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:0.0.0.1]",
    "[2002:7f00:1::]",
    "[64:ff9b::7f00:1]",
    "[3fff::1]",
];

#[tokio::test]
async fn private_addresses_are_dead_at_once_and_nothing_connects() {
    let (port, seen) = trap().await;
    let rig = Rig::running().await;
    let urls: Vec<String> = PRIVATE
        .iter()
        .map(|host| format!("http://{host}:{port}/inbox"))
        .collect();
    let inboxes: Vec<&str> = urls.iter().map(String::as_str).collect();
    let id = rig.send(&Plan::new("Create", "k", 1, &inboxes)).await;
    for url in &urls {
        let row = rig.until(id, url, "dead").await;
        assert_eq!(row.reason.as_deref(), Some("blocked_address"), "{url}");
        assert_eq!(row.attempts, 1, "{url} is not tried again");
    }
    let fetch = rig.delivery();
    for url in &urls {
        let got = fetch.way_out().fetch_object(url).await;
        assert_eq!(got, Err(EgressError::BlockedAddress), "{url}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0, "somebody was called");
}

#[tokio::test]
async fn localhost_by_name_is_as_private_as_by_number() {
    let (port, seen) = trap().await;
    let rig = Rig::running().await;
    let url = format!("http://localhost:{port}/inbox");
    let id = rig.send(&Plan::new("Create", "k", 1, &[&url])).await;
    assert_eq!(
        rig.until(id, &url, "dead").await.reason.as_deref(),
        Some("blocked_address")
    );
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}

/// The resolver answers with a public address first and a private one from then on, and mixes
/// both: the address that was judged is the one that is connected to, because there is one
/// look-up per connection and it is the guarded one.
#[tokio::test]
async fn a_rebinding_name_never_reaches_a_private_address() {
    let (port, seen) = trap().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let lookup = Lookup::new(move |_| {
        let turn = counter.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let private: IpAddr = "127.0.0.1".parse().expect("an address");
            // Nobody listens in the documentation networks; here one of them is allowed, so
            // that the first answer counts as public without leaving this machine.
            let public: IpAddr = "127.0.99.1".parse().expect("an address");
            Ok(if turn.is_multiple_of(2) {
                vec![public]
            } else {
                vec![private]
            })
        })
    });
    let client = HttpClient::new(
        EgressOptions {
            allow_plain_http: true,
            allow_networks: vec!["127.0.99.0/24".parse().expect("a network")],
            lookup,
            ..EgressOptions::default()
        },
        "http://us.test",
    )
    .expect("a client");
    let url = Url::parse(&format!("http://rebind.test:{port}/")).expect("a URL");
    let mut blocked = 0;
    for _ in 0..6 {
        let before = seen.load(Ordering::SeqCst);
        let turn = asked.load(Ordering::SeqCst);
        let got = tokio::time::timeout(
            std::time::Duration::from_millis(500),
            client.get(url.clone(), http::HeaderMap::new()),
        )
        .await;
        assert_eq!(
            asked.load(Ordering::SeqCst),
            turn + 1,
            "one look-up per connection"
        );
        if !turn.is_multiple_of(2) {
            assert_eq!(
                got.expect("at once").err(),
                Some(EgressError::BlockedAddress)
            );
            assert_eq!(
                seen.load(Ordering::SeqCst),
                before,
                "a private address was called"
            );
            blocked += 1;
        }
    }
    assert_eq!(blocked, 3);
}

/// Two listeners on one port of two addresses.
async fn two_on_one_port(first: &str, second: &str) -> (u16, TcpListener, TcpListener) {
    loop {
        let one = TcpListener::bind((first, 0)).await.expect("a port");
        let port = one.local_addr().expect("an address").port();
        // Somebody may have this port on the other address.
        if let Ok(other) = TcpListener::bind((second, port)).await {
            return (port, one, other);
        }
    }
}

#[tokio::test]
async fn of_a_mixed_answer_only_the_allowed_address_is_called() {
    const ALLOWED: &str = "127.0.99.1";
    const PRIVATE: &str = "127.0.0.1";
    let (port, allowed, private) = two_on_one_port(ALLOWED, PRIVATE).await;
    let [allowed, private] =
        [allowed, private].map(|listener| RawHost::healthy_on(listener).connections);
    let lookup = Lookup::new(|name| {
        let mut found: Vec<IpAddr> = [ALLOWED, PRIVATE]
            .map(|text| text.parse().expect("an address"))
            .to_vec();
        if name.starts_with("reversed") {
            found.reverse();
        }
        Box::pin(async move { Ok(found) })
    });
    let client = HttpClient::new(
        EgressOptions {
            allow_plain_http: true,
            allow_networks: vec!["127.0.99.0/24".parse().expect("a network")],
            lookup,
            ..EgressOptions::default()
        },
        "http://us.test",
    )
    .expect("a client");
    // Another name each time, because a connection to a known one is used again.
    for (calls, name) in ["straight1", "reversed1", "straight2", "reversed2"]
        .iter()
        .enumerate()
    {
        let url = Url::parse(&format!("http://{name}.test:{port}/")).expect("a URL");
        client
            .get(url, http::HeaderMap::new())
            .await
            .expect("the allowed address answers");
        assert_eq!(allowed.load(Ordering::SeqCst), calls + 1, "{name}");
        assert_eq!(private.load(Ordering::SeqCst), 0, "{name}");
    }
}

/// A rig whose way out may sign, with a host that a document is asked of.
async fn fetching() -> Rig {
    let mut rig = Rig::new().await;
    rig.options.egress.total_timeout = Duration::from_secs(15);
    ensure_instance_actor(rig.pool(), &rig.deps.vault, &rig.deps.instance)
        .await
        .expect("the instance actor");
    rig.sim.add_actor("a.sim.test", "bob", true);
    rig
}

#[tokio::test]
async fn no_redirect_leads_a_fetch_to_a_private_address() {
    let (port, seen) = trap().await;
    let rig = fetching().await;
    for code in [301, 302, 303, 307, 308] {
        for to in [
            format!("http://127.0.0.1:{port}/"),
            format!("http://[::1]:{port}/"),
            format!("http://[::ffff:127.0.0.1]:{port}/"),
            format!("http://2130706433:{port}/"),
            format!("http://localhost:{port}/"),
            format!("//127.0.0.1:{port}/"),
        ] {
            let script = Script::always(Fault::Redirect {
                code,
                to: to.clone(),
            });
            rig.sim
                .set_behaviour("a.sim.test", HostBehaviour::documents(script));
            // Built anew each time, because a failure is remembered.
            let delivery = rig.delivery();
            let got = delivery
                .way_out()
                .fetch_object("http://a.sim.test/users/bob")
                .await;
            assert_eq!(got, Err(EgressError::BlockedAddress), "{code} to {to}");
        }
        for to in [
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
            "data:text/plain,x",
        ] {
            let script = Script::always(Fault::Redirect {
                code,
                to: to.to_owned(),
            });
            rig.sim
                .set_behaviour("a.sim.test", HostBehaviour::documents(script));
            let delivery = rig.delivery();
            let got = delivery
                .way_out()
                .fetch_object("http://a.sim.test/users/bob")
                .await;
            assert!(got.is_err(), "{code} to {to}");
        }
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0, "somebody was called");
}

/// C4 for deliveries: a redirect is an answer, wherever it leads.
#[tokio::test]
async fn no_redirect_leads_a_delivery_to_a_private_address() {
    let (port, seen) = trap().await;
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    rig.options.retry_ladder = vec![Duration::from_hours(1); 4];
    rig.start();
    let mut cases = Vec::new();
    for code in [301, 302, 303, 307, 308] {
        for to in [
            format!("http://127.0.0.1:{port}/inbox"),
            format!("http://[::1]:{port}/inbox"),
            format!("http://localhost:{port}/inbox"),
            format!("//127.0.0.1:{port}/inbox"),
            "file:///etc/passwd".to_owned(),
            "gopher://127.0.0.1/".to_owned(),
            "data:text/plain,x".to_owned(),
        ] {
            cases.push((code, to));
        }
    }
    for (n, (code, to)) in cases.into_iter().enumerate() {
        let host = format!("h{n}.sim.test");
        let script = Script::always(Fault::Redirect {
            code,
            to: to.clone(),
        });
        rig.sim.add_host(&host, HostBehaviour::inbox(script));
        rig.sim.add_actor(&host, "bob", true);
        let inbox = format!("http://{host}/inbox");
        let id = rig.send(&Plan::new("Create", &host, 1, &[&inbox])).await;
        let row = rig.until(id, &inbox, "parked").await;
        assert_eq!(
            (row.reason.as_deref(), row.last_status),
            (Some("redirect"), Some(code.into())),
            "{to}"
        );
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0, "somebody was called");
}

#[tokio::test]
async fn a_name_that_fails_is_looked_up_once_for_all_who_ask_the_same() {
    let mut rig = fetching().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    rig.options.egress.lookup = Lookup::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Err(std::io::Error::other("no such name")) })
    });
    let delivery = rig.delivery();
    let url = "http://nowhere.test/users/x";
    let all = (0..20).map(|_| delivery.way_out().fetch_object(url));
    for got in futures::future::join_all(all).await {
        assert!(matches!(got, Err(EgressError::Dns(_))), "{got:?}");
    }
    for _ in 0..20 {
        let got = delivery.way_out().fetch_object(url).await;
        assert!(matches!(got, Err(EgressError::Dns(_))), "{got:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn plain_http_and_private_networks_are_refused_by_default() {
    let client =
        HttpClient::new(DeliveryOptions::default().egress, "https://us.test").expect("a client");
    for url in ["http://a.test/", "https://127.0.0.1/", "https://[::1]/"] {
        let url = Url::parse(url).expect("a URL");
        assert!(client.check(&url).is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_panic_on_the_way_ends_one_row_and_nothing_else() {
    let mut rig = Rig::new().await;
    rig.options.egress.lookup = Lookup::new(|name| panic!("nobody expects {name}"));
    rig.start();
    rig.sim.add_actor("a.sim.test", "bob", false);
    let (poison, honest) = (
        "http://boom.test/inbox",
        "http://a.sim.test/users/bob/inbox",
    );
    let id = rig
        .send(&Plan::new("Create", "k", 1, &[poison, honest]))
        .await;
    let row = rig.until(id, poison, "dead").await;
    assert_eq!(row.reason.as_deref(), Some("poison"));
    rig.until(id, honest, "delivered").await;
    rig.until_queue_is_empty().await;
}

/// E7: inbox URLs are data from end to end.
#[tokio::test]
async fn hostile_inbox_urls_do_nothing_but_fail() {
    let rig = Rig::running().await;
    rig.sim.add_actor("a.sim.test", "bob", false);
    let honest = "http://a.sim.test/users/bob/inbox";
    let hostile = [
        "http://a.sim.test/x'); drop table deliveries; --",
        "http://a.sim.test/x' or '1'='1",
        "http://a.sim.test/\"quoted\"\\x00",
        "http://a.sim.test/x\r\nX-Injected: 1",
        "http://evil.sim.test@127.0.0.1/",
        "javascript:alert(1)",
        "not a url at all",
        "http://",
        "http://a.sim.test/%00%0d%0aHost:%20x",
        "http://a.sim.test/{}$1\u{202e}",
    ];
    let mut inboxes: Vec<&str> = hostile.to_vec();
    inboxes.push(honest);
    let id = rig.send(&Plan::new("Create", "k", 1, &inboxes)).await;
    rig.until(id, honest, "delivered").await;
    for url in hostile {
        let row = rig.until(id, url, "dead").await;
        assert!(row.reason.is_some(), "{url}: {row:?}");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from deliveries")
        .fetch_one(rig.pool())
        .await
        .expect("the table is there");
    assert_eq!(rows, 11);
    let injected = rig
        .sim
        .ledger()
        .received(|entry| entry.headers.contains_key("x-injected"));
    assert!(injected.is_empty());
    let metrics = String::from_utf8(tidegate_telemetry::render()).expect("text");
    // The twenty hosts that most waits for are the one exception.
    let label = |line: &&str| line.contains("sim.test") && !line.contains("_worst_host_");
    assert_eq!(metrics.lines().find(label), None, "a host became a label");
}
