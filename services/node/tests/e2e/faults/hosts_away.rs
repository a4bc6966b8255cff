//! Rows 20 and 21: hosts that cannot be reached, all of them or some, and hosts that are slow or
//! stall. What fails is tried by its schedule and no more often, and the others do not notice.

use std::time::Duration;

use anyhow::ensure;
use tidegate_loadtest::{Fault, HostBehaviour, Script};

use super::{QUIESCE, named, settle};
use crate::cluster::{Cluster, Mode};
use crate::load::Load;

/// Waits of the schedules are divided by this: ten minutes pass in one.
const HURRY: u32 = 10;

/// Ten minutes of the schedules' time.
const OUTAGE: Duration = Duration::from_mins(10 / HURRY as u64);

const HOSTS: usize = 20;

/// Between two posts: 40 deliveries a second, about half of what two cores do in a debug build.
const EVERY: Duration = Duration::from_millis(500);

/// A host that is in trouble is known for it after five failures in a row; with a window of at
/// most 16 there may be so many more on their way.
const UNTIL_KNOWN: u32 = 5 + 16;

/// Probes in ten minutes: one a minute, a fifth early, and the one that began before.
const PROBES: u32 = 10 * 10 / 8 + 1;

/// What a window grows to at most.
const WINDOW: u32 = 16;

/// Packets that go nowhere: the line is dead.
fn unreachable() -> HostBehaviour {
    let dead = Script::always(Fault::Reset);
    HostBehaviour {
        inbox: dead.clone(),
        documents: dead,
        ..HostBehaviour::default()
    }
}

/// Takes requests and says nothing.
fn silent() -> HostBehaviour {
    HostBehaviour::inbox(Script::always(Fault::Hang { millis: 60_000 }))
}

async fn with_hosts(
    run: impl AsyncFnOnce(&Cluster, &mut Load) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let hurry = HURRY.to_string();
    let extra = [("TIDEGATE_DELIVERY__HURRY", hurry.as_str())];
    let cluster = Cluster::start(Mode::Split, &extra).await?;
    let result = async {
        let mut load = Load::start(&cluster, named(HOSTS)).await?;
        run(&cluster, &mut load).await?;
        settle(&cluster).await
    };
    if let Err(error) = result.await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

/// A minute in which all is well.
async fn usual(cluster: &Cluster, load: &mut Load, healthy: &[String]) -> anyhow::Result<()> {
    let first = load.count();
    load.write_for(cluster, OUTAGE, EVERY).await?;
    load.arrive(cluster, QUIESCE).await?;
    println!("without: {}", load.lags(cluster, first, healthy));
    Ok(())
}

/// Ten minutes by the schedules in which `sick` fail as `habits` say; how often the host that was
/// tried most was tried.
async fn outage(
    cluster: &Cluster,
    load: &mut Load,
    (sick, habits): (&[String], &HostBehaviour),
) -> anyhow::Result<u32> {
    let before: Vec<u32> = sick
        .iter()
        .map(|host| load.attempts(cluster, host))
        .collect();
    cluster.sim.forget_crowds();
    Load::behave(cluster, sick, habits);
    load.write_for(cluster, OUTAGE, EVERY).await?;
    let attempts = sick.iter().zip(before);
    let attempts = attempts.map(|(host, before)| load.attempts(cluster, host) - before);
    Ok(attempts.max().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five minutes; `make faults` runs it"]
async fn without_a_way_out_hosts_are_tried_by_schedule_and_get_all_of_it() -> anyhow::Result<()> {
    with_hosts(async |cluster, load| {
        let all = named(HOSTS);
        usual(cluster, load, &all).await?;
        let first = load.count();
        let most = outage(cluster, load, (&all, &unreachable())).await?;
        let (posts, behind) = (load.count() - first, load.missing(cluster));
        Load::behave(cluster, &all, &HostBehaviour::default());
        let took = load.arrive(cluster, QUIESCE).await?;
        println!(
            "no way out to {HOSTS} hosts: {posts} posts acknowledged, at most {most} requests to a \
             host, {behind} deliveries behind, all everywhere {took:.1?} after its end"
        );
        ensure!(most <= UNTIL_KNOWN + PROBES, "{most} requests to a host");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five minutes; `make faults` runs it"]
async fn a_third_of_the_hosts_out_of_reach_does_not_touch_the_others() -> anyhow::Result<()> {
    with_hosts(async |cluster, load| {
        let all = named(HOSTS);
        let (sick, healthy) = all.split_at(HOSTS * 3 / 10);
        usual(cluster, load, healthy).await?;
        let first = load.count();
        let most = outage(cluster, load, (sick, &unreachable())).await?;
        println!("with: {}", load.lags(cluster, first, healthy));
        let behind = load.missing(cluster);
        Load::behave(cluster, sick, &HostBehaviour::default());
        let took = load.arrive(cluster, QUIESCE).await?;
        println!(
            "{} of {HOSTS} hosts out of reach: at most {most} requests to one of them, {behind} \
             deliveries behind, all everywhere {took:.1?} after its end",
            sick.len()
        );
        ensure!(most <= UNTIL_KNOWN + PROBES, "{most} requests to a host");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five minutes; `make faults` runs it"]
async fn slow_and_stalling_hosts_do_not_hold_up_the_others() -> anyhow::Result<()> {
    with_hosts(async |cluster, load| {
        let all = named(HOSTS);
        let (stalling, rest) = all.split_at(HOSTS / 20);
        let (slow, healthy) = rest.split_at(HOSTS / 5);
        usual(cluster, load, healthy).await?;
        let first = load.count();
        Load::behave(cluster, stalling, &silent());
        let sleepy = HostBehaviour::slow(Duration::from_secs(25));
        outage(cluster, load, (slow, &sleepy)).await?;
        println!("with: {}", load.lags(cluster, first, healthy));
        let crowds = cluster.sim.crowds();
        let sick = slow.iter().chain(stalling);
        let crowd = sick.filter_map(|host| crowds.get(host)).max();
        let crowd = crowd.copied().unwrap_or_default();
        Load::behave(cluster, slow, &HostBehaviour::default());
        Load::behave(cluster, stalling, &HostBehaviour::default());
        let took = load.arrive(cluster, QUIESCE).await?;
        println!(
            "{} of {HOSTS} hosts answer after 25 s, {} stalls: at most {crowd} requests at once to \
             one of them, all everywhere {took:.1?} after its end",
            slow.len(),
            stalling.len()
        );
        ensure!(crowd <= WINDOW, "{crowd} requests at once");
        Ok(())
    })
    .await
}
