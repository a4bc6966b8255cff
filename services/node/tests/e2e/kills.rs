//! Kills under load: posts are written through the api while processes and servers are killed;
//! afterwards the delivered set is compared, pair by pair, with what the test itself expected.
//!
//! A kill counts only when at that moment at least 50 acknowledged posts were not delivered
//! everywhere. Every round kills each victim once; `TIDEGATE_KILL_ROUNDS` says how many rounds
//! (1 when nothing is said: the smoke of every test run). `make kills` runs the long form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tidegate_loadtest::{HostBehaviour, Sim};
use tidegate_testkit::{PrivatePostgres, RabbitMq, Redis};

use crate::client::Client;
use crate::cluster::{Cluster, Mode, Stores};

/// What makes a kill count.
const UNDELIVERED_AT_LEAST: usize = 50;

/// Writers pause above this, so that the backlog of one kill does not grow without end.
const UNDELIVERED_AT_MOST: usize = 250;

/// Remote hosts, each with one follower and one inbox.
const HOSTS: usize = 5;

/// Every host answers after so long; with the few requests at once that a host is sent, posts
/// come in faster than they go out.
const HOST_LATENCY: Duration = Duration::from_millis(150);

/// Posts are written by so many people at once.
const WRITERS: usize = 4;

/// How long everything may take to arrive after the last kill: a row that was in hand of a
/// killed process comes back after its visibility time-out, a failed one after its ladder.
const QUIESCE: Duration = Duration::from_mins(5);

/// How long a victim stays dead.
const DEAD_FOR: Duration = Duration::from_secs(2);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Node(usize),
    Broker,
    Cache,
    Database,
}

/// The servers of one run, all private.
struct Servers {
    database: PrivatePostgres,
    broker: Option<RabbitMq>,
    cache: Option<Redis>,
}

impl Servers {
    async fn start(mode: Mode) -> Self {
        let split = mode == Mode::Split;
        Self {
            database: PrivatePostgres::start_new().await,
            broker: if split {
                Some(RabbitMq::private().await)
            } else {
                None
            },
            cache: if split {
                Some(Redis::private().await)
            } else {
                None
            },
        }
    }

    fn stores(&self) -> Stores {
        Stores {
            database: self.database.url.clone(),
            queue: self.broker.as_ref().map_or("table".to_owned(), |broker| {
                format!("amqp://guest:guest@127.0.0.1:{}/%2f", broker.port())
            }),
            queue_prefix: "kills".to_owned(),
            timelines: self
                .cache
                .as_ref()
                .map_or("memory".to_owned(), |cache| cache.url.clone()),
            timelines_prefix: "kills".to_owned(),
        }
    }
}

/// What the writers did: from the words of each acknowledged post to its id.
#[derive(Default)]
struct Written {
    posts: Mutex<BTreeMap<String, String>>,
    given_up: AtomicUsize,
}

impl Written {
    fn posts(&self) -> BTreeMap<String, String> {
        self.posts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Creates that every host should have, by the activity's id.
    fn activities(&self, base: &str) -> BTreeSet<String> {
        self.posts()
            .into_iter()
            .map(|(words, id)| {
                let author = words.split(' ').next().unwrap_or_default();
                format!("{base}/users/{author}/statuses/{id}/activity")
            })
            .collect()
    }
}

/// (host, activity) of every Create that took effect.
fn delivered(sim: &Sim) -> BTreeSet<(String, String)> {
    sim.ledger()
        .effects()
        .into_iter()
        .filter(|arrival| arrival.activity.ends_with("/activity"))
        .map(|arrival| (arrival.host.to_string(), arrival.activity.to_string()))
        .collect()
}

/// Acknowledged posts that are not everywhere yet.
fn undelivered(cluster: &Cluster, written: &Written) -> usize {
    let there = delivered(&cluster.sim);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, activity) in &there {
        *counts.entry(activity).or_default() += 1;
    }
    written
        .activities(&cluster.base)
        .iter()
        .filter(|activity| counts.get(activity.as_str()).copied().unwrap_or(0) < HOSTS)
        .count()
}

fn host(number: usize) -> String {
    format!("h{number}.sim.test")
}

async fn kill_everything(mode: Mode) -> anyhow::Result<()> {
    let rounds: usize = std::env::var("TIDEGATE_KILL_ROUNDS")
        .ok()
        .map_or(Ok(1), |text| text.parse())
        .context("TIDEGATE_KILL_ROUNDS is a number of rounds")?;
    let servers = Servers::start(mode).await;
    let mut cluster = Cluster::start_on(mode, &servers.stores(), &[]).await?;
    let result = run(&mut cluster, &servers, mode, rounds).await;
    if let Err(error) = result {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

async fn run(
    cluster: &mut Cluster,
    servers: &Servers,
    mode: Mode,
    rounds: usize,
) -> anyhow::Result<()> {
    let mut authors = Vec::new();
    for number in 0..WRITERS {
        authors.push(cluster.user(&format!("writer{number}")).await?);
    }
    for number in 0..HOSTS {
        cluster
            .sim
            .add_host(&host(number), HostBehaviour::slow(HOST_LATENCY));
        let follower = cluster.sim.add_actor(&host(number), "follower", true);
        for author in &authors {
            let target = cluster.actor(&author.username);
            crate::stories::taken(cluster.sim.follow(&follower, &target).await?)?;
        }
    }
    for author in &authors {
        crate::client::eventually("all followers", async || {
            let path = format!("/api/v1/accounts/{}", author.account_id);
            Ok(author.get(&path).await?["followers_count"] == HOSTS)
        })
        .await?;
    }

    let written = Arc::new(Written::default());
    let stop = Arc::new(AtomicBool::new(false));
    let pause = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = authors
        .into_iter()
        .map(|author| {
            tokio::spawn(write(
                author,
                Arc::clone(&written),
                Arc::clone(&stop),
                Arc::clone(&pause),
            ))
        })
        .collect();

    let mut victims: Vec<Victim> = (0..cluster.nodes.len()).map(Victim::Node).collect();
    if mode == Mode::Split {
        victims.extend([Victim::Broker, Victim::Cache]);
    }
    victims.push(Victim::Database);
    for round in 0..rounds {
        for &victim in &victims {
            let open = wait_for_load(cluster, &written, &pause).await?;
            println!(
                "{mode:?} round {round}: kill {} with {open} acknowledged posts undelivered",
                name(cluster, victim)
            );
            kill(cluster, servers, victim).await?;
        }
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await?;
    }
    ensure!(
        written.given_up.load(Ordering::SeqCst) == 0,
        "a writer gave up"
    );
    settle(cluster, &written).await
}

async fn write(
    author: Client,
    written: Arc<Written>,
    stop: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
) {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        if pause.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        number += 1;
        let words = format!("{} says number {number}", author.username);
        match author.say_until_acknowledged(&words, &words, QUIESCE).await {
            Some(id) => {
                let mut posts = written.posts.lock().unwrap_or_else(PoisonError::into_inner);
                posts.insert(words, id);
            }
            None => {
                written.given_up.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// Waits until enough is on its way for a kill to count; returns how much.
async fn wait_for_load(
    cluster: &Cluster,
    written: &Written,
    pause: &AtomicBool,
) -> anyhow::Result<usize> {
    let deadline = Instant::now() + QUIESCE;
    loop {
        let open = undelivered(cluster, written);
        pause.store(open > UNDELIVERED_AT_MOST, Ordering::SeqCst);
        if (UNDELIVERED_AT_LEAST..=UNDELIVERED_AT_MOST).contains(&open) {
            return Ok(open);
        }
        ensure!(
            Instant::now() < deadline,
            "the load never came to {UNDELIVERED_AT_LEAST} open posts: {open}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn name(cluster: &Cluster, victim: Victim) -> String {
    match victim {
        Victim::Node(index) => cluster.nodes[index].role.to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// SIGKILL, a moment of death, and the restart.
async fn kill(cluster: &mut Cluster, servers: &Servers, victim: Victim) -> anyhow::Result<()> {
    match victim {
        Victim::Node(index) => {
            cluster.take(index)?.kill9()?;
            tokio::time::sleep(DEAD_FOR).await;
            cluster.spawn(index)?;
            cluster.process(index)?.ready().await?;
        }
        Victim::Broker => {
            let broker = servers.broker.as_ref().context("a broker of our own")?;
            tokio::task::block_in_place(|| {
                broker.kill9();
            });
            tokio::time::sleep(DEAD_FOR).await;
            broker.start().await;
        }
        Victim::Cache => {
            let cache = servers.cache.as_ref().context("a cache of our own")?;
            tokio::task::block_in_place(|| cache.kill9());
            tokio::time::sleep(DEAD_FOR).await;
            tokio::task::block_in_place(|| cache.start());
        }
        Victim::Database => {
            tokio::task::block_in_place(|| servers.database.kill9());
            tokio::time::sleep(DEAD_FOR).await;
            tokio::task::block_in_place(|| servers.database.start());
        }
    }
    // Whoever ended because something it needs was away is started again, as an orchestrator
    // would; that it may end is no failure, that it does not come back is one.
    for index in 0..cluster.nodes.len() {
        if cluster.process(index)?.has_ended()? {
            cluster.take(index)?;
            cluster.spawn(index)?;
        }
        cluster.process(index)?.ready().await?;
    }
    Ok(())
}

/// Waits until everything arrived, then compares pair by pair.
async fn settle(cluster: &Cluster, written: &Written) -> anyhow::Result<()> {
    let activities = written.activities(&cluster.base);
    let expected: BTreeSet<(String, String)> = (0..HOSTS)
        .flat_map(|number| activities.iter().map(move |id| (host(number), id.clone())))
        .collect();
    let deadline = Instant::now() + QUIESCE;
    while !expected.is_subset(&delivered(&cluster.sim)) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let there = delivered(&cluster.sim);
    let missing: Vec<_> = expected.difference(&there).take(10).collect();
    let surplus: Vec<_> = there.difference(&expected).take(10).collect();
    ensure!(
        missing.is_empty(),
        "acknowledged, but never delivered: {missing:?}"
    );
    ensure!(
        surplus.is_empty(),
        "delivered, but never acknowledged: {surplus:?}"
    );

    let repeated: u32 = cluster
        .sim
        .ledger()
        .arrivals()
        .values()
        .map(|counts| counts.attempts.saturating_sub(1))
        .sum();
    println!(
        "{} posts acknowledged, {} pairs delivered, {repeated} repeated requests absorbed",
        activities.len(),
        there.len()
    );
    crate::client::eventually("the ledger to settle", async || {
        cluster.command(&["admin", "verify-deliveries"]).await?;
        Ok(true)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_a_single_process_lose_nothing() -> anyhow::Result<()> {
    kill_everything(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_split_roles_and_their_servers_lose_nothing() -> anyhow::Result<()> {
    kill_everything(Mode::Split).await
}
