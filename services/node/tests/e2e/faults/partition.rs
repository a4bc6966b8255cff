//! Row 9: three brokers on machines of their own stop hearing each other while posts are written.
//! The minority takes nothing, and what anybody took is still there afterwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::join_all;
use sqlx::PgPool;
use tidegate_model::{Message, Secret};
use tidegate_queue::{Outgoing, Queue as _, QueueError, RabbitOptions, RabbitQueue};
use tidegate_testkit::RabbitCluster;

use super::{LATENCY, PAUSE, QUIESCE, Servers, hosts, leader, settle};
use crate::client::eventually;
use crate::cluster::Cluster;
use crate::load::Load;

/// The start of the names of queues that nobody takes from.
const PROBE: &str = "faults.probe";

/// "Leader change <= 30 s", from the cut where a majority is left, else from its end.
const ELECTED: Duration = Duration::from_secs(30);

/// Who does not hear whom.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// The leader of most queues, alone against the other two.
    Halves,
    /// A node that leads less, alone.
    Single,
    /// Each is deaf to its left neighbour: nobody can speak with anybody.
    Ring,
}

impl Shape {
    /// Cuts; which nodes are in a majority.
    fn cut(self, brokers: &RabbitCluster, leader: usize) -> Vec<usize> {
        let others = [(leader + 1) % 3, (leader + 2) % 3];
        let (alone, rest) = match self {
            Self::Halves => (leader, others),
            Self::Single => (others[0], [leader, others[1]]),
            Self::Ring => {
                for node in 0..3 {
                    brokers.deafen(node, (node + 2) % 3);
                }
                return Vec::new();
            }
        };
        for other in rest {
            brokers.deafen(alone, other);
            brokers.deafen(other, alone);
        }
        rest.to_vec()
    }
}

/// A publisher of its own for each node, connected before anything happens, and a queue for each
/// cut.
struct Probes {
    nodes: Vec<RabbitQueue>,
    queues: Vec<String>,
    confirmed: AtomicU64,
}

impl Probes {
    fn start(brokers: &RabbitCluster, pool: &PgPool) -> anyhow::Result<Self> {
        let nodes = (0..3).map(|number| {
            let options = RabbitOptions {
                url: Secret::new(brokers.url_of(number)),
                authorities: String::new(),
                prefix: "faults".to_owned(),
            };
            RabbitQueue::new(&options, pool.clone())
        });
        let nodes = nodes.collect::<Result<Vec<_>, QueueError>>()?;
        Ok(Self {
            nodes,
            queues: Vec::new(),
            confirmed: AtomicU64::default(),
        })
    }

    /// A new queue, which `leader` leads because it is the one that was asked for it. All nodes
    /// take messages for it.
    async fn begin(&mut self, leader: usize) -> anyhow::Result<()> {
        let queue = format!("{PROBE}.{}", self.queues.len());
        // A node that was cut off before may need a moment.
        eventually("a queue for probes", async || {
            let declared = self.nodes[leader].declare(std::slice::from_ref(&queue));
            declared.await?;
            Ok(true)
        })
        .await?;
        self.queues.push(queue);
        for number in 0..3 {
            self.until_taken(&[number]).await?;
        }
        Ok(())
    }

    /// Whether a node took a message.
    async fn publish(&self, number: usize) -> bool {
        let outgoing = Outgoing {
            queue: self.queues.last().cloned().unwrap_or_default(),
            message: Message::Plan { activity_id: 1 },
        };
        let results = self.nodes[number].publish(vec![outgoing]).await;
        let taken = results.iter().all(Result::is_ok);
        self.confirmed
            .fetch_add(u64::from(taken), Ordering::Relaxed);
        taken
    }

    /// Tries one of these until it takes a message.
    async fn until_taken(&self, nodes: &[usize]) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + ELECTED * 2;
        loop {
            for node in nodes {
                if self.publish(*node).await {
                    return Ok(Instant::now());
                }
            }
            ensure!(
                Instant::now() < deadline,
                "none of {nodes:?} takes anything"
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Nothing that was confirmed is gone. What was not confirmed may be there all the same.
    async fn all_there(&self) -> anyhow::Result<()> {
        let stats = self.nodes[0].stats(&self.queues).await?;
        let found: u64 = stats.iter().map(|stats| stats.ready).sum();
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        println!("{confirmed} probes confirmed, {found} found");
        ensure!(found >= confirmed, "confirmed messages are gone");
        Ok(())
    }
}

/// What the brokers say during a cut: who is in no majority refuses from the first moment on, and
/// again just before the end.
async fn watch(
    probes: &Probes,
    majority: &[usize],
    length: Duration,
) -> anyhow::Result<Option<Instant>> {
    let started = Instant::now();
    let minority: Vec<usize> = (0..3).filter(|node| !majority.contains(node)).collect();
    let refusing = join_all(minority.iter().map(|node| probes.publish(*node)));
    let electing = async {
        if majority.is_empty() {
            return Ok(None);
        }
        probes.until_taken(majority).await.map(Some)
    };
    let (taken_by_minority, taken) = tokio::join!(refusing, electing);
    ensure!(
        !taken_by_minority.contains(&true),
        "one of {minority:?} took a message"
    );
    let taken = taken?;
    while started.elapsed() + Duration::from_secs(6) < length {
        ensure!(
            !probes.publish(minority[0]).await,
            "node {} took a message after {:?}",
            minority[0],
            started.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(taken)
}

async fn suffer(
    cluster: &Cluster,
    brokers: &RabbitCluster,
    probes: &mut Probes,
    load: &mut Load,
    (shape, length): (Shape, Duration),
) -> anyhow::Result<()> {
    let leader = leader(brokers, 0).await?;
    probes.begin(leader).await?;
    let before = load.count();
    load.write(cluster, 10).await?;
    let majority = shape.cut(brokers, leader);
    let cut = Instant::now();
    let (written, watched) = tokio::join!(
        load.write_for(cluster, length, PAUSE),
        watch(probes, &majority, length)
    );
    let held = cut.elapsed();
    brokers.heal();
    let healed = Instant::now();
    written.context("a post was refused")?;
    let elected = match watched? {
        Some(taken) => taken - cut,
        None => probes.until_taken(&[0, 1, 2]).await? - healed,
    };
    load.write(cluster, 10).await?;
    let took = load.arrive(cluster, QUIESCE).await?;
    let since = if majority.is_empty() {
        "its end"
    } else {
        "the cut"
    };
    println!(
        "{shape:?} for {held:.0?}: {} posts acknowledged, published again {elected:.1?} after \
         {since}, all everywhere {:.1?} after its end ({took:.1?} after the last post)",
        load.count() - before,
        healed.elapsed()
    );
    ensure!(elected <= ELECTED, "no new leader for {elected:?}");
    let restarted = brokers.reunite().await;
    if !restarted.is_empty() {
        println!("nodes {restarted:?} did not come back by themselves and were started again");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten minutes, as root; `make faults` runs it"]
async fn brokers_that_are_cut_off_from_each_other_lose_nothing() -> anyhow::Result<()> {
    let brokers = RabbitCluster::start_apart().await;
    let servers = Servers::start().await?;
    let cluster = servers.cluster(brokers.url()).await?;
    let result = async {
        let mut probes = Probes::start(&brokers, &servers.pool)?;
        let mut load = Load::start(&cluster, hosts()).await?;
        load.pace(&cluster, LATENCY);
        for length in [10, 30].map(Duration::from_secs) {
            for shape in [Shape::Halves, Shape::Single, Shape::Ring] {
                suffer(&cluster, &brokers, &mut probes, &mut load, (shape, length))
                    .await
                    .context(format!("{shape:?} for {length:?}"))?;
            }
        }
        probes.all_there().await?;
        println!(
            "{} posts acknowledged, {} deliveries, {} requests repeated",
            load.count(),
            load.count() * hosts().len(),
            load.repeats(&cluster)
        );
        settle(&cluster).await
    };
    if let Err(error) = result.await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}
