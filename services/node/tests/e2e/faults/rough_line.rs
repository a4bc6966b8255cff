//! Row 23: the line to every host is slow, thin and torn at once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use tidegate_loadtest::HostBehaviour;

use super::{QUIESCE, hosts, settle};
use crate::cluster::{Cluster, Mode};
use crate::load::Load;

/// How long posts are written.
const LENGTH: Duration = Duration::from_secs(100);

/// Between two posts: a delivery of two kilobytes takes two seconds on this line.
const EVERY: Duration = Duration::from_millis(300);

/// 50 ms, 20 more or less; one reset in a hundred; a kilobyte a second each way.
fn rough() -> HostBehaviour {
    HostBehaviour {
        latency_millis: 50,
        jitter_millis: 20,
        resets_one_in: 100,
        bytes_per_second: Some(1_000),
        ..HostBehaviour::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three minutes; `make faults` runs it"]
async fn a_slow_thin_and_torn_line_neither_loses_nor_doubles_anything() -> anyhow::Result<()> {
    let cluster = Cluster::start(Mode::Split, &[]).await?;
    if let Err(error) = run(&cluster).await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

async fn run(cluster: &Cluster) -> anyhow::Result<()> {
    let mut load = Load::start(cluster, hosts()).await?;
    Load::behave(cluster, &hosts(), &rough());
    load.write_for(cluster, LENGTH, EVERY).await?;
    let took = load.arrive(cluster, QUIESCE).await?;
    settle(cluster).await?;

    // Whoever took a request and could not say so gets it again; nobody else does.
    let torn = cluster.sim.ledger().received(|entry| entry.status == 0);
    let mut unanswered: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for entry in torn.iter().filter(|entry| entry.effect) {
        let activity = entry.activity.as_ref().context("an activity")?;
        *unanswered.entry((&*entry.host, &*activity.id)).or_default() += 1;
    }
    for (arrival, counts) in cluster.sim.ledger().arrivals() {
        let lost = unanswered.get(&(&*arrival.host, &*arrival.activity));
        let expected = 1 + lost.copied().unwrap_or_default();
        ensure!(
            counts.taken <= expected,
            "{arrival:?} took effect {} times, {expected} answers were lost",
            counts.taken
        );
    }
    println!(
        "{} posts, {}: all everywhere {took:.1?} after the last, {} requests torn, of these {} \
         after their effect, {} requests repeated",
        load.count(),
        load.lags(cluster, 0, &hosts()),
        torn.len(),
        unanswered.values().sum::<u32>(),
        load.repeats(cluster)
    );
    ensure!(!unanswered.is_empty(), "nothing was torn");
    Ok(())
}
