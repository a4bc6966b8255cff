//! Faults of RabbitMQ under load: posting goes on, and when the fault is over every acknowledged
//! post is everywhere, the books agree and nothing died. The short ones run with every test run,
//! the long ones with `make faults`, and so do those of other parts, each in a file of its own.

mod broker_away;
mod comeback;
mod hosts_away;
mod partition;
mod planning;
mod poison;
mod rough_line;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::PgPool;
use tidegate_model::{Lane, Queues};
use tidegate_testkit::{PrivatePostgres, RabbitCluster, RabbitMq, Redis};

use crate::client::eventually;
use crate::cluster::{Cluster, Mode, Stores};
use crate::load::Load;
use crate::process::Process;

/// The start of queue names.
const PREFIX: &str = "faults";

/// As the clusters of these tests have.
const SHARDS: u32 = 4;

/// Remote hosts, each with one follower.
const HOSTS: usize = 6;

/// Every host answers after so long, so that there is always work on its way.
const LATENCY: Duration = Duration::from_millis(300);

/// The same while something is to be caught in the queues: longer than the broker's own command
/// takes.
const SLOWLY: Duration = Duration::from_secs(3);

/// Posts that a queue cannot hand out at once: more than a consumer may have in hand.
const MORE_THAN_IN_HAND: usize = 300;

/// Between two posts while a fault lasts.
const PAUSE: Duration = Duration::from_millis(200);

/// How long everything may take to arrive when a fault is over: failed work is back within its
/// first waits, seconds to a minute.
const QUIESCE: Duration = Duration::from_mins(5);

/// The servers of a run, all private.
struct Servers {
    database: PrivatePostgres,
    cache: Redis,
    pool: PgPool,
}

impl Servers {
    async fn start() -> anyhow::Result<Self> {
        let database = PrivatePostgres::start_new().await;
        Ok(Self {
            pool: PgPool::connect(&database.url).await?,
            database,
            cache: Redis::private().await,
        })
    }

    async fn cluster(&self, queue: String) -> anyhow::Result<Cluster> {
        let stores = Stores {
            database: self.database.url.clone(),
            queue,
            queue_prefix: PREFIX.to_owned(),
            timelines: self.cache.url.clone(),
            timelines_prefix: PREFIX.to_owned(),
        };
        Cluster::start_on(Mode::Split, &stores, &[]).await
    }
}

fn hosts() -> Vec<String> {
    named(HOSTS)
}

fn named(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("f{n}.sim.test")).collect()
}

/// What the broker is put through.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It blocks publishers for so long.
    MemoryAlarm(Duration),
    DiskAlarm(Duration),
    /// Killed and started so often, with time to work in between.
    Restarts(usize, Duration),
    /// Every queue of deliveries and of planning is deleted while nothing is in it.
    EmptyQueuesDeleted,
    /// The same while messages are in them.
    FullQueuesDeleted,
}

/// One run over one broker.
struct Run<'a> {
    cluster: &'a Cluster,
    broker: &'a RabbitMq,
    pool: &'a PgPool,
    load: Load,
}

impl Run<'_> {
    async fn suffer(&mut self, fault: Fault) -> anyhow::Result<()> {
        let before = self.load.count();
        match fault {
            Fault::MemoryAlarm(length) => {
                self.write_ahead(30).await?;
                self.broker.memory_alarm(true).await;
                self.blocked_for(length).await?;
                self.broker.memory_alarm(false).await;
            }
            Fault::DiskAlarm(length) => {
                self.write_ahead(30).await?;
                self.broker.disk_alarm(true).await;
                self.blocked_for(length).await?;
                self.broker.disk_alarm(false).await;
            }
            Fault::Restarts(count, pause) => self.restart(count, pause).await?,
            Fault::EmptyQueuesDeleted => {
                self.load.arrive(self.cluster, QUIESCE).await?;
                self.delete_queues().await;
                self.load.write(self.cluster, 10).await?;
            }
            Fault::FullQueuesDeleted => {
                self.fill_queues().await?;
                self.delete_queues().await;
                self.delivery()?.resume()?;
                self.load.write(self.cluster, 10).await?;
                self.let_time_pass().await?;
            }
        }
        let took = self.load.arrive(self.cluster, QUIESCE).await?;
        if matches!(fault, Fault::FullQueuesDeleted) {
            let republished = self.total("tidegate_delivery_republished_total").await?;
            println!("{republished} rows were published again");
            ensure!(republished > 0.0, "nothing was in the queues");
        }
        let posts = self.load.count() - before;
        println!("{fault:?}: {posts} posts acknowledged, all everywhere {took:.1?} after its end");
        Ok(())
    }

    /// A counter over all processes.
    async fn total(&self, name: &str) -> anyhow::Result<f64> {
        let mut total = 0.0;
        for node in &self.cluster.nodes {
            let metrics = node.running()?.metrics().await?;
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            total += line.map_or(Ok(0.0), |value| value.trim().parse::<f64>())?;
        }
        Ok(total)
    }

    /// Posts of which many are still on their way.
    async fn write_ahead(&mut self, count: usize) -> anyhow::Result<()> {
        self.load.pace(self.cluster, SLOWLY);
        self.load.write(self.cluster, count).await?;
        ensure!(self.load.missing(self.cluster) > 0, "nothing is on its way");
        Ok(())
    }

    fn delivery(&self) -> anyhow::Result<&Process> {
        let mut nodes = self.cluster.nodes.iter();
        let node = nodes.find(|node| node.role == "delivery");
        node.context("a delivery process")?.running()
    }

    /// Freezes the delivery process and fills its queues with more than it may have in hand.
    async fn fill_queues(&mut self) -> anyhow::Result<()> {
        self.load.arrive(self.cluster, QUIESCE).await?;
        self.delivery()?.freeze()?;
        self.load.write(self.cluster, MORE_THAN_IN_HAND).await?;
        eventually("everything to be published", async || {
            let published: i64 = sqlx::query_scalar(
                "select count(*) from deliveries d join activities a on a.id = d.activity_id
                 where d.lane = 'bulk' and d.state = 'queued' and a.published_at is not null",
            )
            .fetch_one(self.pool)
            .await?;
            Ok(published as usize == MORE_THAN_IN_HAND * HOSTS)
        })
        .await
    }

    /// The reconciler takes a row for lost ten minutes after it was published.
    async fn let_time_pass(&self) -> anyhow::Result<()> {
        sqlx::query(
            "update deliveries set created_at = created_at - interval '10 minutes',
                                   published_at = published_at - interval '10 minutes'
             where state = 'queued'",
        )
        .execute(self.pool)
        .await?;
        Ok(())
    }

    /// While publishing is blocked posts are acknowledged, what lies in queues goes out, and the
    /// metric says so.
    async fn blocked_for(&mut self, length: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let published: Vec<(i64, i64)> = sqlx::query_as(
            "select d.activity_id, d.inbox_id
             from deliveries d join activities a on a.id = d.activity_id
             where d.state = 'queued' and a.published_at is not null",
        )
        .fetch_all(self.pool)
        .await?;
        ensure!(!published.is_empty(), "the queues hold nothing");
        self.load.pace(self.cluster, LATENCY);
        self.load.write(self.cluster, 1).await?;
        eventually("the metric of a blocked broker", async || {
            let mut says = false;
            for node in &self.cluster.nodes {
                let metrics = node.running()?.metrics().await?;
                says |= metrics.contains("tidegate_queue_blocked 1");
            }
            Ok(says)
        })
        .await?;
        let (activities, inboxes): (Vec<i64>, Vec<i64>) = published.into_iter().unzip();
        eventually("consumers to go on", async || {
            let left: i64 = sqlx::query_scalar(
                "select count(*) from deliveries d
                 join unnest($1::bigint[], $2::bigint[]) as p(activity_id, inbox_id)
                     on d.activity_id = p.activity_id and d.inbox_id = p.inbox_id
                 where d.state = 'queued'",
            )
            .bind(&activities)
            .bind(&inboxes)
            .fetch_one(self.pool)
            .await?;
            Ok(left == 0)
        })
        .await?;
        while started.elapsed() < length {
            self.load.write(self.cluster, 1).await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn restart(&mut self, count: usize, pause: Duration) -> anyhow::Result<()> {
        let consumers = self.broker.consumers().await;
        for _ in 0..count {
            self.write_ahead(10).await?;
            tokio::task::block_in_place(|| {
                self.broker.kill9();
            });
            self.load.pace(self.cluster, LATENCY);
            // The outbox takes them meanwhile.
            self.load.write(self.cluster, 5).await?;
            self.broker.start().await;
            let started = Instant::now();
            while started.elapsed() < pause {
                self.load.write(self.cluster, 1).await?;
                tokio::time::sleep(PAUSE).await;
            }
        }
        eventually("as many consumers as before", async || {
            Ok(self.broker.consumers().await == consumers)
        })
        .await
    }

    async fn delete_queues(&self) {
        let queues = Queues::new(PREFIX, SHARDS);
        let mut names = vec![queues.plan()];
        names.extend((0..SHARDS).map(|shard| queues.deliver(Lane::Bulk, shard)));
        for name in names {
            self.broker.delete_queue(&name).await;
        }
    }
}

/// The books agree, and nothing was given up.
async fn settle(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("the ledger to settle", async || {
        cluster.command(&["admin", "verify-deliveries"]).await?;
        Ok(true)
    })
    .await?;
    let dead = cluster.command(&["admin", "dead-messages", "list"]).await?;
    ensure!(dead.contains("0 dead messages."), "{dead}");
    Ok(())
}

async fn suffer(faults: &[Fault]) -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let broker = RabbitMq::private().await;
    let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", broker.port());
    let cluster = servers.cluster(url).await?;
    let result = async {
        let load = Load::start(&cluster, hosts()).await?;
        load.pace(&cluster, LATENCY);
        let mut run = Run {
            cluster: &cluster,
            broker: &broker,
            pool: &servers.pool,
            load,
        };
        for fault in faults {
            run.suffer(*fault).await.context(format!("{fault:?}"))?;
        }
        settle(&cluster).await
    };
    if let Err(error) = result.await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_and_deleted_queues_lose_nothing() -> anyhow::Result<()> {
    suffer(&[
        Fault::MemoryAlarm(Duration::from_secs(5)),
        Fault::EmptyQueuesDeleted,
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten minutes; `make faults` runs it"]
async fn long_alarms_and_a_restart_loop_lose_nothing() -> anyhow::Result<()> {
    suffer(&[
        Fault::MemoryAlarm(Duration::from_mins(2)),
        Fault::DiskAlarm(Duration::from_mins(2)),
        Fault::Restarts(10, Duration::from_secs(15)),
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes; `make faults` runs it"]
async fn messages_lost_with_their_queues_are_made_good() -> anyhow::Result<()> {
    suffer(&[Fault::FullQueuesDeleted]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three brokers; `make faults` runs it"]
async fn a_cluster_of_brokers_outlives_its_leaders() -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let brokers = RabbitCluster::start().await;
    let cluster = servers.cluster(brokers.url()).await?;
    if let Err(error) = kill_leaders(&cluster, &brokers).await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

/// The node that leads most queues of deliveries, as seen from `asked`.
async fn leader(brokers: &RabbitCluster, asked: usize) -> anyhow::Result<usize> {
    let mut led: BTreeMap<usize, usize> = BTreeMap::new();
    for (queue, replicas) in brokers.replicas(asked).await {
        ensure!(replicas.members == 3, "{queue} has {replicas:?}");
        if queue.contains(".deliver.") {
            *led.entry(replicas.leader).or_default() += 1;
        }
    }
    let most = led.into_iter().max_by_key(|(_, queues)| *queues);
    let (node, queues) = most.context("there are queues of deliveries")?;
    println!("node {node} leads {queues} queues of deliveries");
    Ok(node)
}

async fn kill_leaders(cluster: &Cluster, brokers: &RabbitCluster) -> anyhow::Result<()> {
    let mut load = Load::start(cluster, hosts()).await?;
    let mut asked = 0;
    for _ in 0..3 {
        let victim = leader(brokers, asked).await?;
        load.pace(cluster, SLOWLY);
        load.write(cluster, 40).await?;
        let open = load.missing(cluster);
        ensure!(open >= 50, "only {open} pairs are on their way");
        brokers.kill9(victim).await;
        load.pace(cluster, LATENCY);
        load.write(cluster, 40).await?;
        let took = load.arrive(cluster, QUIESCE).await?;
        println!(
            "its leader killed with {open} pairs on their way: {} posts acknowledged, all \
             everywhere {took:.1?} after the last",
            load.count()
        );
        brokers.start_again(victim).await;
        asked = victim;
    }
    settle(cluster).await
}
