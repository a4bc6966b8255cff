//! Delivery processes that come, are killed, and freeze: who has which shard afterwards, and that
//! a process which lost its shards while it was frozen sends nothing more for them.
//!
//! The limits of time are promises (`docs/operating-shards.md`), and asserted as such.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::PgPool;
use sqlx::types::Uuid;
use tidegate_loadtest::Arrival;
use tidegate_model::shard_of;

use crate::cluster::{Cluster, Mode};
use crate::load::Load;

/// Not a multiple of the number of workers, so that an uneven division shows.
const SHARDS: u32 = 6;

/// A newcomer has its share.
const JOINED: Duration = Duration::from_secs(10);

/// The shards of a killed worker have another owner.
const MOVED: Duration = Duration::from_secs(15);

/// The same for a frozen one, and what it held was delivered by others.
const THAWED: Duration = Duration::from_secs(40);

/// Slow enough that work piles up in the workers' memory.
const SLOW: Duration = Duration::from_secs(1);

/// The first delivery process; the later ones follow.
const FIRST: usize = 2;

/// A host for every shard.
fn hosts() -> Vec<String> {
    let named = |shard| {
        (0..1_000)
            .map(|number| format!("w{number}.sim.test"))
            .find(|host| shard_of(host, SHARDS) == shard)
    };
    (0..SHARDS).filter_map(named).collect()
}

/// Leases that have not run out: who has which shards.
async fn leases(pool: &PgPool) -> anyhow::Result<BTreeMap<Uuid, Vec<i32>>> {
    let rows: Vec<(Uuid, i32)> = sqlx::query_as(
        "select holder, shard from shard_leases
         where holder is not null and expires_at > now() order by shard",
    )
    .fetch_all(pool)
    .await?;
    let mut held: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (holder, shard) in rows {
        held.entry(holder).or_default().push(shard);
    }
    Ok(held)
}

/// Waits until a condition on the leases holds; how long it took from `since`.
async fn until_leases(
    pool: &PgPool,
    what: &str,
    since: Instant,
    holds: impl Fn(&BTreeMap<Uuid, Vec<i32>>) -> bool,
) -> anyhow::Result<Duration> {
    // Twice the longest promise: beyond that it never comes.
    let patience = THAWED * 2;
    loop {
        let held = leases(pool).await?;
        if holds(&held) {
            return Ok(since.elapsed());
        }
        ensure!(since.elapsed() < patience, "{what} never came: {held:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_even(held: &BTreeMap<Uuid, Vec<i32>>, workers: usize) -> bool {
    let counts: Vec<usize> = held.values().map(Vec::len).collect();
    let (least, most) = (counts.iter().min(), counts.iter().max());
    counts.len() == workers
        && counts.iter().sum::<usize>() == SHARDS as usize
        && least
            .zip(most)
            .is_some_and(|(least, most)| most - least <= 1)
}

async fn workers(pool: &PgPool) -> anyhow::Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar("select id from delivery_workers")
        .fetch_all(pool)
        .await?)
}

/// Starts a delivery process; the id under which it claims shards, and when it was first seen.
async fn join(cluster: &mut Cluster, index: usize) -> anyhow::Result<(Uuid, Instant)> {
    let pool = cluster.database()?.pool.clone();
    let before = workers(&pool).await?;
    cluster.spawn(index)?;
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let now = workers(&pool).await?;
        if let Some(id) = now.into_iter().find(|id| !before.contains(id)) {
            return Ok((id, Instant::now()));
        }
        ensure!(Instant::now() < deadline, "no worker: {}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn attempts(cluster: &Cluster) -> BTreeMap<Arrival, u32> {
    let arrivals = cluster.sim.ledger().arrivals().into_iter();
    arrivals
        .filter(|(arrival, _)| arrival.activity.ends_with("/activity"))
        .map(|(arrival, counts)| (arrival, counts.attempts))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_move_between_processes_that_come_die_and_freeze() -> anyhow::Result<()> {
    let shards = SHARDS.to_string();
    let extra = [
        ("TIDEGATE_QUEUE__SHARDS", shards.as_str()),
        // Six processes share the server of the tests with others.
        ("TIDEGATE_DATABASE__MAX_CONNECTIONS", "6"),
    ];
    let mut cluster = Cluster::start(Mode::FourDelivery, &extra).await?;
    if let Err(error) = run(&mut cluster).await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

async fn run(cluster: &mut Cluster) -> anyhow::Result<()> {
    let pool = cluster.database()?.pool.clone();
    until_leases(&pool, "one worker", Instant::now(), |held| is_even(held, 1)).await?;
    let mut load = Load::start(cluster, hosts()).await?;

    let mut ids = Vec::new();
    for count in 2..=4 {
        let (id, seen) = join(cluster, FIRST + count - 1).await?;
        ids.push(id);
        let took = until_leases(&pool, "its share", seen, |held| is_even(held, count)).await?;
        println!("{count} workers have even shares after {took:?}");
        ensure!(took <= JOINED, "a newcomer waited {took:?} for its share");
    }
    killed(cluster, &pool, &mut load, ids[0]).await?;
    frozen(cluster, &pool, &mut load, ids[1]).await?;
    cluster.command(&["admin", "verify-deliveries"]).await?;
    the_number_changes_by_command_only(cluster).await
}

/// SIGKILL of the second process while it has work.
async fn killed(
    cluster: &mut Cluster,
    pool: &PgPool,
    load: &mut Load,
    victim: Uuid,
) -> anyhow::Result<()> {
    load.pace(cluster, SLOW);
    load.write(cluster, 20).await?;
    ensure!(load.missing(cluster) > 0, "it dies idle");
    cluster.take(FIRST + 1)?.kill9()?;
    let killed = Instant::now();
    load.pace(cluster, Duration::ZERO);
    let took = until_leases(pool, "heirs", killed, |held| {
        !held.contains_key(&victim) && is_even(held, 3)
    })
    .await?;
    println!("a killed worker's shards moved after {took:?}");
    ensure!(took <= MOVED, "a killed worker's shards took {took:?}");
    load.arrive(cluster, THAWED).await?;
    Ok(())
}

/// SIGSTOP of the third process with rows in its memory, and SIGCONT after others sent them.
async fn frozen(
    cluster: &mut Cluster,
    pool: &PgPool,
    load: &mut Load,
    victim: Uuid,
) -> anyhow::Result<()> {
    load.pace(cluster, SLOW);
    load.write(cluster, 40).await?;
    let had = leases(pool)
        .await?
        .remove(&victim)
        .context("it has shards")?;
    let waiting: i64 = sqlx::query_scalar(
        "select count(*) from deliveries where state = 'queued' and shard = any($1)",
    )
    .bind(&had)
    .fetch_one(pool)
    .await?;
    ensure!(waiting >= 10, "only {waiting} rows wait in the frozen one");
    cluster.process(FIRST + 2)?.freeze()?;
    let frozen = Instant::now();
    load.pace(cluster, Duration::ZERO);
    load.write(cluster, 1).await?;
    let took = until_leases(pool, "heirs", frozen, |held| {
        !held.contains_key(&victim) && is_even(held, 2)
    })
    .await?;
    load.arrive(cluster, THAWED * 2).await?;
    let arrived = frozen.elapsed();
    println!("a frozen worker's shards moved after {took:?}, its work after {arrived:?}");
    ensure!(
        arrived <= THAWED,
        "what a frozen worker held took {arrived:?}"
    );

    let before = attempts(cluster);
    cluster.process(FIRST + 2)?.resume()?;
    // Awake, and its former shards shared anew: what it had in memory has had its chance.
    until_leases(pool, "the woken one", Instant::now(), |held| {
        held.contains_key(&victim) && is_even(held, 3)
    })
    .await?;
    load.write(cluster, 5).await?;
    // Within the patience of any other: no host is blamed for what was not heard.
    load.arrive(cluster, THAWED).await?;
    ensure!(!cluster.process(FIRST + 2)?.has_ended()?, "it lives");
    let after = attempts(cluster);
    for (arrival, count) in before {
        let now = after.get(&arrival).copied().unwrap_or_default();
        ensure!(now == count, "sent again after it woke: {arrival:?}");
    }
    Ok(())
}

/// SIGTERM of one of two under load: what it had in hand goes to the other, and nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_go_leaves_nothing_to_be_sent_twice() -> anyhow::Result<()> {
    let shards = SHARDS.to_string();
    let extra = [("TIDEGATE_QUEUE__SHARDS", shards.as_str())];
    let mut cluster = Cluster::start(Mode::SecondDelivery, &extra).await?;
    if let Err(error) = told_to_go(&mut cluster).await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

async fn told_to_go(cluster: &mut Cluster) -> anyhow::Result<()> {
    let pool = cluster.database()?.pool.clone();
    let mut load = Load::start(cluster, hosts()).await?;
    let leaver = FIRST + 1;
    for _ in 0..3 {
        let (_, seen) = join(cluster, leaver).await?;
        until_leases(&pool, "its share", seen, |held| is_even(held, 2)).await?;
        load.pace(cluster, SLOW);
        load.write(cluster, 40).await?;
        let open = load.missing(cluster);
        ensure!(open >= 50, "only {open} pairs are on their way");
        let told = Instant::now();
        let (status, log) = cluster.take(leaver)?.terminate().await?;
        ensure!(status.success(), "it ended with {status}: {log}");
        let ended = told.elapsed();
        let took = until_leases(&pool, "the heir", told, |held| is_even(held, 1)).await?;
        load.write(cluster, 10).await?;
        load.pace(cluster, Duration::ZERO);
        load.arrive(cluster, THAWED).await?;
        let repeats = load.repeats(cluster);
        println!(
            "told to go with {open} pairs on their way: ended after {ended:.1?}, its shards moved \
             after {took:.1?}, {repeats} requests repeated"
        );
        ensure!(repeats == 0, "{repeats} requests repeated");
    }
    cluster.command(&["admin", "verify-deliveries"]).await?;
    Ok(())
}

/// A process that counts otherwise does not start, and the number changes only while nobody
/// delivers.
async fn the_number_changes_by_command_only(cluster: &mut Cluster) -> anyhow::Result<()> {
    let said = refused(cluster, "7").await?;
    ensure!(said.contains("queue.shards = 6"), "{said}");
    let busy = cluster.command(&["admin", "shards", "set", "7"]).await;
    let said = format!("{:#}", busy.err().context("workers are alive")?);
    ensure!(said.contains("delivery workers are alive"), "{said}");
    for index in 0..cluster.nodes.len() {
        if cluster.nodes[index].role != "api" && cluster.nodes[index].running().is_ok() {
            cluster.take(index)?.terminate().await?;
        }
    }
    let said = cluster.command(&["admin", "shards", "set", "7"]).await?;
    ensure!(said.contains("Set queue.shards = 7"), "{said}");
    let said = refused(cluster, "6").await?;
    ensure!(said.contains("queue.shards = 7"), "{said}");
    Ok(())
}

/// Why a delivery process with this number of shards does not start.
async fn refused(cluster: &Cluster, shards: &str) -> anyhow::Result<String> {
    let shards = format!("queue.shards={shards}");
    let mut run = vec!["run", "--role", "delivery"];
    for setting in [
        shards.as_str(),
        "metrics.listen=127.0.0.1:0",
        "rpc.listen=127.0.0.1:0",
    ] {
        run.extend(["--set", setting]);
    }
    // One that is let in would run for ever.
    let started = tokio::time::timeout(Duration::from_mins(1), cluster.command(&run)).await;
    let refusal = started.context("it started")?;
    let refusal = refusal.err().context("it started and ended")?;
    Ok(format!("{refusal:#}"))
}
