//! "At most 50 host states per registrable domain" (design section 11): names below a domain cost
//! nothing, and must not buy windows, breakers and rows of memory.

mod common;

use std::time::Duration;

use common::people::shared_inbox;
use common::{Plan, Rig};
use futures::future::join_all;
use tidegate_loadtest::HostBehaviour;
use tidegate_store::inboxes::{self, STATES_PER_DOMAIN};

/// A domain that somebody could register.
const DOMAIN: &str = "flood.org";

const STATES: &str = "select count(distinct coalesce(state_host, host)) from inboxes
                      where host like '%flood.org'";

fn host(n: usize) -> String {
    format!("h{n}.{DOMAIN}")
}

/// An inbox comes to be known, as with an actor that was fetched.
async fn meet(rig: &Rig, url: &str) -> i64 {
    let mut transaction = tidegate_store::begin(rig.pool()).await.expect("begins");
    let id = inboxes::intern(&mut transaction, url, true).await;
    transaction.commit().await.expect("commits");
    id.expect("interns").expect("a usable host")
}

#[tokio::test]
async fn fifty_hosts_of_a_domain_have_a_state_and_the_rest_shares_one() {
    let rig = Rig::new().await;
    meet(&rig, &shared_inbox(DOMAIN)).await;
    for n in 0..80 {
        meet(&rig, &shared_inbox(&host(n))).await;
        // Another inbox of a known host belongs where the first does.
        meet(&rig, &format!("http://{}/users/bob/inbox", host(n))).await;
    }
    assert_eq!(rig.number(STATES).await, STATES_PER_DOMAIN);
    let split = "select count(*) from (select host from inboxes group by host
                 having count(distinct coalesce(state_host, host)) > 1) s";
    assert_eq!(rig.number(split).await, 0);
    let shared = "select count(distinct host) from inboxes where state_host = 'flood.org'";
    assert_eq!(rig.number(shared).await, 80 - (STATES_PER_DOMAIN - 1));
    // Who has nothing to do with them is as ever: a longer name, a suffix below which everybody
    // has a name of their own, and names that nobody can register.
    for n in 0..60 {
        for url in [
            shared_inbox(&format!("h{n}.notflood.org")),
            shared_inbox(&format!("somebody{n}.github.io")),
            shared_inbox(&format!("h{n}.sim.test")),
        ] {
            meet(&rig, &url).await;
        }
    }
    let own = "select count(distinct host) from inboxes
               where state_host is null and (host like '%.github.io' or host like '%.test')";
    assert_eq!(rig.number(own).await, 120);
    let other = "select count(distinct host) from inboxes where state_host = 'notflood.org'";
    assert_eq!(rig.number(other).await, 60 - (STATES_PER_DOMAIN - 1));
}

#[tokio::test]
async fn hosts_that_come_at_the_same_moment_are_no_more_than_fifty_either() {
    let rig = Rig::new().await;
    let urls: Vec<String> = (0..150).map(|n| shared_inbox(&host(n))).collect();
    join_all(urls.iter().map(|url| meet(&rig, url))).await;
    let own = rig
        .number("select count(distinct host) from inboxes where state_host is null")
        .await;
    assert!((25..STATES_PER_DOMAIN).contains(&own), "{own}");
    assert!(rig.number(STATES).await <= STATES_PER_DOMAIN);
}

#[tokio::test]
async fn who_shares_a_state_shares_its_fate_and_nothing_that_is_private() {
    let mut rig = Rig::new().await;
    rig.lead(DOMAIN, rig.sim.address());
    for n in 0..80 {
        meet(&rig, &shared_inbox(&host(n))).await;
        rig.sim.add_host(&host(n), HostBehaviour::default());
        rig.sim.add_actor(&host(n), "bob", true);
    }
    rig.options.probe_first = Duration::from_hours(1);
    rig.start();
    let urls: Vec<String> = (0..80).map(|n| shared_inbox(&host(n))).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let id = rig.send(&Plan::new("Create", "all", 1, &urls)).await;
    for url in &urls {
        rig.until(id, url, "delivered").await;
    }
    let states = "select count(*) from hosts where host like '%flood.org'";
    rig.until_number(states, STATES_PER_DOMAIN).await;

    // A post to followers, of whom one is on a host that shares, and none on its neighbour.
    let (friends, strangers) = (shared_inbox(&host(60)), shared_inbox(&host(61)));
    let friend = rig.person("bob", &host(60), true).await;
    rig.follow(friend, rig.author, &friends, "accepted").await;
    let private = Plan {
        status_id: Some(rig.post("private").await),
        to_followers_of: Some(rig.author),
        ..Plan::new("Create", "private", 1, &[&friends, &strangers])
    };
    let private = rig.send(&private).await;
    rig.until(private, &friends, "delivered").await;
    let row = rig.until(private, &strangers, "cancelled").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("audience"), 0));

    // One breaker for all of them: whoever is paused is paused whole.
    let why = tidegate_delivery::Why::new(tidegate_delivery::By::CommandLine, "a flood");
    let operators = rig.operators();
    operators
        .pause(DOMAIN, &why.expect("short"))
        .await
        .expect("paused");
    let mut n = 0;
    let paused = "select count(*) from deliveries where reason = 'paused'";
    while rig.number(paused).await == 0 {
        let key = format!("before{n}");
        let id = rig.send(&Plan::new("Create", &key, 1, &[&friends])).await;
        rig.until_queue_is_empty().await;
        rig.row(id, &friends).await;
        n += 1;
        assert!(n < 1_000, "the pause is not felt");
    }
    let neighbours = rig.send(&Plan::new("Create", "k", 1, &[&strangers])).await;
    let row = rig.until(neighbours, &strangers, "parked").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("paused"), 0));
    let first = shared_inbox(&host(0));
    let own = rig.send(&Plan::new("Create", "own", 1, &[&first])).await;
    rig.until(own, &first, "delivered").await;
}
