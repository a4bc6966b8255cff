//! Order under everything at once: published in any order, over all lanes, to a host that
//! refuses now and then and goes away for a while, by workers of which one is killed with requests
//! under way and two share the work in the end, while an operator has replayed what died.

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, Plan, Rig};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tidegate_delivery::{Filter, MoveKind};
use tidegate_loadtest::{Fault, HostBehaviour, Script, Step};
use tidegate_model::Lane;
use tidegate_queue::TableQueue;
use tidegate_testkit::BreakableProxy;
use tokio::time::Instant;

const OBJECTS: usize = 25;

/// A fifth of the answers of a host are 503, and one in twenty is final. It takes its time.
fn moody(random: &mut StdRng) -> HostBehaviour {
    let mut script = Script::default();
    for _ in 0..300 {
        let fault = match random.random_range(0..20) {
            0 => Fault::Status { code: 422 },
            1..5 => Fault::Status { code: 503 },
            _ => Fault::Ok,
        };
        script.0.push(Step {
            fault,
            times: Some(1),
        });
    }
    HostBehaviour {
        latency_millis: 60,
        ..HostBehaviour::inbox(script)
    }
}

/// Replays what died, as an operator does.
async fn replay(rig: &Rig) {
    let everything = Filter {
        state: Some("dead".to_owned()),
        ..Filter::default()
    };
    let replayed = rig.shift(MoveKind::Replay, everything).await;
    replayed.expect("replayed");
}

/// Waits until requests are under way, so that a kill falls among them.
async fn busy(rig: &Rig) {
    let under_way = || rig.sim.ledger().received(|_| true).len();
    let before = under_way();
    let deadline = Instant::now() + PATIENCE;
    while under_way() < before + 3 {
        assert!(Instant::now() < deadline, "nothing is sent");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Each object's whole life, planned: every activity over a lane and to inboxes of its own.
async fn plan_all(rig: &Rig, urls: &[String], random: &mut StdRng) -> Vec<i64> {
    let mut ids = Vec::new();
    for object in 0..OBJECTS {
        let key = format!("status:{object}");
        for (seq, kind) in [(1, "Create"), (2, "Update"), (3, "Update"), (4, "Delete")] {
            let mut inboxes: Vec<&str> = Vec::new();
            for host in urls.chunks(2) {
                inboxes.push(&host[random.random_range(0..2)]);
            }
            let plan = Plan {
                lane: Lane::ALL[random.random_range(0..3)],
                ..Plan::new(kind, &key, seq, &inboxes)
            };
            ids.push(rig.plan(&plan).await);
        }
    }
    ids
}

async fn scramble(mut rig: Rig, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    rig.options.retry_ladder = vec![Duration::from_millis(100); 60];
    let proxy = BreakableProxy::start(rig.sim.address().to_string()).await;
    let map = ("flaky.test".to_owned(), proxy.address);
    rig.options.egress.host_map.push(map);
    let mut urls = Vec::new();
    for n in 0..3 {
        let host = format!("h{n}.flaky.test");
        rig.sim.add_host(&host, moody(&mut random));
        rig.sim.add_actor(&host, "bob", true);
        // Two inboxes of one host: order holds per host.
        urls.push(format!("http://{host}/inbox"));
        urls.push(format!("http://{host}/users/bob/inbox"));
    }
    let mut ids = plan_all(&rig, &urls, &mut random).await;
    ids.shuffle(&mut random);
    rig.start();
    for (n, id) in ids.iter().enumerate() {
        rig.publish(*id).await;
        match n {
            20 => proxy.cut(),
            35 => proxy.heal(),
            60 => {
                busy(&rig).await;
                rig.kill();
            }
            65 => rig.start(),
            80 => replay(&rig).await,
            _ => {}
        }
        if n % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        }
    }
    // A second worker takes its share.
    let (second, stop) = (rig.delivery(), tidegate_telemetry::Stop::default());
    let sharing = tokio::spawn({
        let stop = stop.clone();
        async move { Box::pin(second.run(stop)).await }
    });
    let deadline = Instant::now() + PATIENCE * 3;
    loop {
        let left: i64 = sqlx::query_scalar(
            "select count(*) from deliveries where state in ('queued', 'parked')",
        )
        .fetch_one(rig.pool())
        .await
        .expect("a count");
        let dead: i64 = sqlx::query_scalar("select count(*) from deliveries where state = 'dead'")
            .fetch_one(rig.pool())
            .await
            .expect("a count");
        if left == 0 && dead == 0 {
            break;
        }
        if left == 0 {
            replay(&rig).await;
        }
        assert!(
            Instant::now() < deadline,
            "seed {seed}: {left} wait for ever, {dead} die again and again"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut last: HashMap<(String, String), i64> = HashMap::new();
    for entry in rig.sim.ledger().received(|entry| entry.effect) {
        let activity = entry.activity.as_ref().expect("an activity");
        let (key, seq) = activity.id.rsplit_once('-').expect("key and seq");
        let seq: i64 = seq.parse().expect("a number");
        let place = (entry.host.to_string(), key.to_owned());
        let before = last.insert(place, seq).unwrap_or(0);
        // What was under way when the worker was killed comes twice; nothing comes back.
        assert!(before <= seq, "seed {seed}: {key} has {seq} after {before}");
    }
    // What a host has in the end is what the database says it was sent last.
    let truth: Vec<(String, String, i64)> = sqlx::query_as(
        "select d.host, d.order_key, max(d.seq) from deliveries d
         where d.state = 'delivered' group by 1, 2",
    )
    .fetch_all(rig.pool())
    .await
    .expect("the last of each");
    assert_eq!(truth.len(), last.len(), "seed {seed}");
    for (host, key, seq) in truth {
        let uri = format!("http://us.test/activities/{key}");
        assert_eq!(last.get(&(host, uri)), Some(&seq), "seed {seed}: {key}");
    }
    // Nothing is dead, and where anything arrived the Delete did too.
    let odd: i64 = sqlx::query_scalar(
        "select count(*) from deliveries d where d.state = 'dead'
            or (d.state = 'delivered' and not exists (
                select 1 from deliveries l where l.host = d.host and l.order_key = d.order_key
                   and l.seq = 4 and l.state = 'delivered'))",
    )
    .fetch_one(rig.pool())
    .await
    .expect("a count");
    assert_eq!(odd, 0, "seed {seed}");
    stop.stop_softly();
    sharing.await.expect("no panic").expect("no error");
}

/// How many orders are tried; more by hand.
fn seeds() -> u64 {
    let seeds = std::env::var("TIDEGATE_SEEDS").ok();
    seeds.and_then(|text| text.parse().ok()).unwrap_or(2)
}

#[tokio::test]
async fn no_host_ever_sees_an_older_activity_after_a_newer_one() {
    for seed in 0..seeds() {
        let mut rig = Rig::new().await;
        // What a killed worker had in hand comes again soon.
        let again = Duration::from_secs(3);
        rig.deps.queue = Arc::new(TableQueue::with_visibility(rig.pool().clone(), again));
        scramble(rig, seed).await;
    }
}

#[tokio::test]
async fn nor_does_one_when_a_broker_carries_the_messages() {
    for seed in 0..seeds() / 2 {
        scramble(Rig::on_rabbit().await, 1_000 + seed).await;
    }
}
