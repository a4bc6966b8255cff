//! Row 6: RabbitMQ is killed and away for a minute while posts are written.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tidegate_testkit::RabbitMq;

use super::{QUIESCE, Servers, hosts, settle};
use crate::cluster::Cluster;
use crate::load::Load;

/// How long it is away.
const AWAY: Duration = Duration::from_mins(1);

/// Between two posts.
const EVERY: Duration = Duration::from_millis(100);

/// Hosts answer after so long: what holds a backlog up is to be us, not them.
const QUICK: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes; `make faults` runs it"]
async fn a_broker_that_is_away_for_a_minute_costs_no_post() -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let broker = RabbitMq::private().await;
    let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", broker.port());
    let cluster = servers.cluster(url).await?;
    if let Err(error) = run(&cluster, &broker).await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

async fn run(cluster: &Cluster, broker: &RabbitMq) -> anyhow::Result<()> {
    let mut load = Load::start(cluster, hosts()).await?;
    load.pace(cluster, QUICK);
    load.write_for(cluster, Duration::from_secs(20), EVERY)
        .await?;
    load.arrive(cluster, QUIESCE).await?;
    println!("before: {}", load.lags(cluster, 0, &hosts()));

    tokio::task::block_in_place(|| {
        broker.kill9();
    });
    let (killed, first) = (Instant::now(), load.count());
    load.write_for(cluster, AWAY, EVERY).await?;
    let posts = load.count() - first;
    let arrival = (posts * hosts().len()) as f64 / killed.elapsed().as_secs_f64();
    broker.start().await;
    let backlog = load.missing(cluster);
    ensure!(backlog > 0, "nothing waited for it");
    let back = Instant::now();
    println!(
        "away for {AWAY:?}, then {:.1?} to start: {posts} posts acknowledged, {backlog} \
         deliveries behind",
        killed.elapsed().saturating_sub(AWAY)
    );

    // Posts go on coming while the backlog shrinks.
    let mut number = 0;
    let mut begun = None;
    while load.missing(cluster) > hosts().len() * 2 {
        let moves = load.missing(cluster) < backlog + number * hosts().len();
        begun = begun.or_else(|| moves.then(|| back.elapsed()));
        ensure!(back.elapsed() < QUIESCE, "the backlog never shrank");
        tokio::time::sleep(EVERY).await;
        load.write(cluster, 1).await?;
        number += 1;
    }
    let took = back.elapsed();
    let begun = begun.unwrap_or_default();
    let draining = took.saturating_sub(begun).as_secs_f64();
    let drained = (backlog + number * hosts().len()) as f64 / draining;
    println!(
        "deliveries begin {begun:.1?} after it was back, and the backlog is gone after {took:.1?}: \
         {drained:.0} deliveries/s against {arrival:.0}/s that came in, {:.1} times as fast",
        drained / arrival
    );
    let after = load.count();
    load.write_for(cluster, Duration::from_secs(10), EVERY)
        .await?;
    load.arrive(cluster, QUIESCE).await?;
    println!("after: {}", load.lags(cluster, after, &hosts()));
    println!("{} requests repeated", load.repeats(cluster));
    settle(cluster).await
}
