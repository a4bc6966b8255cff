//! Faults of our own are told to the operator, and no host pays for them. One test, because
//! metrics belong to the process.

mod common;

use std::time::Duration;

use common::raw::metric;
use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tokio::time::Instant;

const OUTAGE: &str = "tidegate_delivery_own_outage";
const UNAUTHORIZED: &str = "tidegate_delivery_own_unauthorized";

async fn until(name: &str, wanted: bool) {
    let deadline = Instant::now() + PATIENCE;
    while (metric(name) > 0.5) != wanted {
        assert!(Instant::now() < deadline, "{name} is not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_outage_and_a_wrong_key_of_our_own_raise_their_alarms_and_end_them() {
    an_outage().await;
    refused_signatures().await;
}

/// Hosts below `suffix` and their inboxes.
fn hosts(rig: &Rig, suffix: &str, count: usize, habits: &HostBehaviour) -> Vec<String> {
    let mut inboxes = Vec::new();
    for n in 0..count {
        let host = format!("h{n}.{suffix}");
        rig.sim.add_host(&host, habits.clone());
        rig.sim.add_actor(&host, "bob", true);
        inboxes.push(format!("http://{host}/inbox"));
    }
    inboxes
}

async fn an_outage() {
    let mut rig = Rig::new().await;
    let proxy = rig.flaky().await;
    let inboxes = hosts(&rig, "flaky.test", 6, &HostBehaviour::default());
    let inboxes: Vec<&str> = inboxes.iter().map(String::as_str).collect();
    rig.start();
    rig.send(&Plan::new("Create", "before", 1, &inboxes)).await;
    let delivered = "select count(*) from deliveries where state = 'delivered'";
    rig.until_number(delivered, 6).await;
    until(OUTAGE, false).await;
    proxy.cut();
    for n in 0..8 {
        let key = format!("k{n}");
        rig.send(&Plan::new("Create", &key, 1, &inboxes)).await;
    }
    until(OUTAGE, true).await;
    proxy.heal();
    rig.until_number(delivered, 6 + 6 * 8).await;
    until(OUTAGE, false).await;
    rig.stop().await;
}

async fn refused_signatures() {
    let mut rig = Rig::new().await;
    rig.options.retry_ladder = vec![Duration::from_millis(50); 60];
    let refusing = HostBehaviour::inbox(Script::first(30, Fault::Status { code: 401 }));
    let inboxes = hosts(&rig, "sim.test", 3, &refusing);
    let inboxes: Vec<&str> = inboxes.iter().map(String::as_str).collect();
    rig.start();
    until(UNAUTHORIZED, false).await;
    let two = rig
        .send(&Plan::new("Create", "two", 1, &inboxes[..2]))
        .await;
    rig.until_number("select count(*) from deliveries where last_status = 401", 2)
        .await;
    assert!(metric(UNAUTHORIZED) < 0.5, "two hosts may be wrong");
    let third = rig
        .send(&Plan::new("Create", "third", 1, &inboxes[2..]))
        .await;
    until(UNAUTHORIZED, true).await;
    for (id, inboxes) in [(two, &inboxes[..2]), (third, &inboxes[2..])] {
        for inbox in inboxes {
            rig.until(id, inbox, "delivered").await;
        }
    }
    until(UNAUTHORIZED, false).await;
}
