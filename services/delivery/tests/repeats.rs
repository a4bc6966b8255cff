//! The promise of `docs/effects.md` for deliveries: every message three times, in any order, leaves
//! what every message once leaves.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Plan, Rig};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tidegate_model::Lane;

const HOSTS: usize = 4;
const OBJECTS: usize = 12;

/// Hosts of every kind whose answer does not depend on when they are asked.
fn hosts(rig: &Rig) {
    let says = |code| HostBehaviour::inbox(Script::always(Fault::Status { code }));
    let habits = [
        HostBehaviour::default(),
        HostBehaviour::slow(Duration::from_millis(50)),
        says(422),
        says(410),
    ];
    for (n, habits) in habits.into_iter().enumerate() {
        let host = format!("h{n}.sim.test");
        rig.sim.add_host(&host, habits);
        rig.sim.add_actor(&host, "bob", true);
    }
}

async fn plan_all(rig: &Rig) -> Vec<i64> {
    let urls: Vec<String> = (0..HOSTS)
        .map(|n| format!("http://h{n}.sim.test/users/bob/inbox"))
        .collect();
    let inboxes: Vec<&str> = urls.iter().map(String::as_str).collect();
    let mut ids = Vec::new();
    for object in 0..OBJECTS {
        let key = format!("status:{object}");
        for (seq, kind) in [(1, "Create"), (2, "Update"), (3, "Delete")] {
            let plan = Plan {
                lane: Lane::ALL[object % 3],
                ..Plan::new(kind, &key, seq, &inboxes)
            };
            ids.push(rig.plan(&plan).await);
        }
    }
    ids
}

/// How often what was received at which host.
type Received = BTreeMap<(String, String), usize>;

/// What the tables hold in the end, without times, and what the hosts received.
async fn leaves(mut rig: Rig, times: usize, seed: u64) -> (Vec<String>, Vec<String>, Received) {
    hosts(&rig);
    let ids = plan_all(&rig).await;
    let mut messages: Vec<i64> = ids
        .iter()
        .copied()
        .cycle()
        .take(ids.len() * times)
        .collect();
    messages.shuffle(&mut StdRng::seed_from_u64(seed));
    rig.start();
    for id in messages {
        rig.publish(id).await;
    }
    rig.until_number(
        "select count(*) from deliveries where state in ('queued', 'parked')",
        0,
    )
    .await;
    rig.until_queue_is_empty().await;
    rig.stop().await;
    let rows = sqlx::query_scalar(
        "select concat_ws(' ', order_key, seq, i.url, state, reason, attempts, own_failures,
                          last_status, last_error)
         from deliveries d join inboxes i on i.id = d.inbox_id order by 1",
    );
    let rows = rows.fetch_all(rig.pool()).await.expect("rows");
    let hosts = sqlx::query_scalar(
        "select concat_ws(' ', host, state, backlog, signature, last_error) from hosts order by 1",
    );
    let hosts = hosts.fetch_all(rig.pool()).await.expect("hosts");
    let mut received = Received::new();
    for entry in rig.sim.ledger().received(|entry| entry.activity.is_some()) {
        let id = entry
            .activity
            .as_ref()
            .map(|activity| activity.id.to_string());
        let place = (entry.host.to_string(), id.unwrap_or_default());
        *received.entry(place).or_default() += 1;
    }
    (rows, hosts, received)
}

#[tokio::test]
async fn every_message_three_times_and_shuffled_leaves_what_once_leaves() {
    let once = leaves(Rig::new().await, 1, 0).await;
    assert_eq!(once.0.len(), OBJECTS * 3 * HOSTS);
    assert_eq!(once.2.len(), OBJECTS * 3 * HOSTS, "{:?}", once.2);
    for seed in 1..=2 {
        let thrice = leaves(Rig::new().await, 3, seed).await;
        assert_eq!(thrice, once, "seed {seed}");
    }
    let thrice = leaves(Rig::on_rabbit().await, 3, 3).await;
    assert_eq!(thrice, once, "over a broker");
}
