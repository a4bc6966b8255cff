//! Row 22: a host is down for an hour while ten thousand deliveries queue up for it, and comes
//! back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::json;
use tidegate_loadtest::{Fault, HostBehaviour, Script};

use super::settle;
use crate::client::{Client, eventually, text};
use crate::cluster::{Cluster, Mode};

/// Waits of the schedules are divided by this: an hour passes in a minute.
const HURRY: &str = "60";

const DOWN: Duration = Duration::from_mins(1);

const HOST: &str = "back.sim.test";

/// Each with an inbox of its own, so that few posts are many deliveries.
const FOLLOWERS: usize = 20;

const POSTS: usize = 400;

/// Every fourth post is edited.
const EDITS: usize = POSTS / 4;

/// Of every request once it is back.
const LATENCY: Duration = Duration::from_millis(50);

/// What a window grows to at most.
const WINDOW: u32 = 16;

/// "Up to 15 min for 10 k", from the first that it takes. The wait for its next probe comes before:
/// by the schedule up to about as long as it was down.
const PROMISED: Duration = Duration::from_mins(15);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "four minutes; `make faults` runs it"]
async fn a_host_that_comes_back_to_ten_thousand_is_not_overrun() -> anyhow::Result<()> {
    let extra = [("TIDEGATE_DELIVERY__HURRY", HURRY)];
    let cluster = Cluster::start(Mode::Split, &extra).await?;
    if let Err(error) = run(&cluster).await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

async fn author(cluster: &Cluster) -> anyhow::Result<Client> {
    let author = cluster.user("ada").await?;
    cluster.sim.add_host(HOST, HostBehaviour::default());
    let target = cluster.actor("ada");
    for number in 0..FOLLOWERS {
        let follower = cluster.sim.add_actor(HOST, &format!("f{number}"), false);
        crate::stories::taken(cluster.sim.follow(&follower, &target).await?)?;
    }
    eventually("all followers", async || {
        let path = format!("/api/v1/accounts/{}", author.account_id);
        Ok(author.get(&path).await?["followers_count"] == FOLLOWERS)
    })
    .await?;
    Ok(author)
}

/// Posts and edits; returns when everything is planned and waits: parked, but for what the host is
/// probed with.
async fn queue_up(cluster: &Cluster, author: &Client) -> anyhow::Result<i64> {
    for number in 0..POSTS {
        let status = author.say(&format!("number {number}"), "public").await?;
        if number % (POSTS / EDITS) == 0 {
            let path = format!("/api/v1/statuses/{}", text(&status, "id")?);
            let body = json!({ "status": format!("number {number}, corrected") });
            let (status, answer) = author.call(Method::PUT, &path, Some(body), &[]).await?;
            ensure!(status.is_success(), "{status}: {answer}");
        }
    }
    let expected = ((POSTS + EDITS) * FOLLOWERS) as i64;
    eventually("all rows to wait", async || {
        let states: Vec<(String, i64)> = sqlx::query_as(
            "select kind || ' ' || state, count(*)
             from deliveries d join activities a on a.id = d.activity_id
             where d.host = $1 and kind in ('Create', 'Update') group by 1",
        )
        .bind(HOST)
        .fetch_all(&cluster.database()?.pool)
        .await?;
        let waiting = states
            .iter()
            .filter(|(state, _)| state.ends_with("parked") || state.ends_with("queued"));
        let waiting: i64 = waiting.map(|(_, count)| count).sum();
        ensure!(waiting == expected, "{states:?}");
        Ok(true)
    })
    .await?;
    Ok(expected)
}

/// For every inbox and post, no Update was taken before the Create.
fn is_in_order(cluster: &Cluster) -> anyhow::Result<()> {
    let mut created: BTreeMap<(String, String), u64> = BTreeMap::new();
    let taken = cluster.sim.ledger().received(|entry| {
        entry.effect && (entry.is_activity("Create") || entry.is_activity("Update"))
    });
    let mut updates = 0;
    for entry in taken {
        let activity = entry.activity.as_ref().context("an activity")?;
        let object = activity.object.clone().context("an object")?;
        let key = (entry.path.clone(), object);
        if activity.kind == "Create" {
            created.insert(key, entry.seq);
        } else {
            updates += 1;
            ensure!(created.contains_key(&key), "an Update came first: {key:?}");
        }
    }
    ensure!(created.len() == POSTS * FOLLOWERS, "{}", created.len());
    ensure!(updates == EDITS * FOLLOWERS, "{updates} updates");
    Ok(())
}

async fn run(cluster: &Cluster) -> anyhow::Result<()> {
    let author = author(cluster).await?;
    let down = HostBehaviour::inbox(Script::always(Fault::Status { code: 503 }));
    cluster.sim.set_behaviour(HOST, down);
    let since = Instant::now();
    let queued = queue_up(cluster, &author).await?;
    tokio::time::sleep(DOWN.saturating_sub(since.elapsed())).await;
    let knocks = cluster.sim.ledger().received(|entry| !entry.effect).len();

    let ledger = cluster.sim.ledger();
    let before = ledger.effect_count();
    cluster.sim.forget_crowds();
    cluster
        .sim
        .set_behaviour(HOST, HostBehaviour::slow(LATENCY));
    let (down_for, back) = (since.elapsed(), Instant::now());
    let first = ledger.wait_until(|ledger| ledger.effect_count() > before, PROMISED);
    ensure!(first.await, "it was never tried again");
    let probed = back.elapsed();
    let all =
        |ledger: &tidegate_loadtest::Ledger| ledger.effect_count() - before >= queued as usize;
    ensure!(ledger.wait_until(all, PROMISED).await, "not all in time");
    let took = back.elapsed();
    let draining = took.saturating_sub(probed);
    let crowd = cluster.sim.crowds().get(HOST).copied().unwrap_or_default();
    println!(
        "down for {down_for:.0?} ({knocks} requests meanwhile), {queued} deliveries queued; tried \
         {probed:.1?} after it was back, all there {took:.1?} after it: {:.0} a second, at most \
         {crowd} at once",
        queued as f64 / draining.as_secs_f64()
    );
    ensure!(crowd <= WINDOW, "{crowd} requests at once");
    ensure!(draining <= PROMISED, "{draining:?}");
    is_in_order(cluster)?;
    let twice = ledger
        .arrivals()
        .values()
        .filter(|counts| counts.taken > 1)
        .count();
    ensure!(twice == 0, "{twice} came twice");
    settle(cluster).await
}
