//! A whole Tidegate under test with a simulated fediverse beside it, in both modes: one process
//! with everything embedded, or one process per role over the real servers.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::Context;
use tempfile::TempDir;
use tidegate_loadtest::{Sim, SimConfig};
use tidegate_testkit::{Postgres, RabbitMq, Redis, TestDatabase, TestVhost, program};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::client::Client;
use crate::process::{Process, free_port};

/// Clusters that run at once in one test process: each is up to three processes, and the
/// machine that runs the tests has two cores.
static AT_ONCE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(2));

/// A place to run in. Six processes have the machine to themselves: their test measures time.
async fn slot(mode: Mode) -> anyhow::Result<SemaphorePermit<'static>> {
    let places = if mode == Mode::FourDelivery { 2 } else { 1 };
    Ok(AT_ONCE.acquire_many(places).await?)
}

/// Delivery queues per lane: fewer than in production, because each is a queue on the broker
/// that every test has to make.
const SHARDS: u32 = 4;

/// How the roles run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One process, the queue in a table, the timelines in the process.
    Embedded,
    /// A process per role, RabbitMQ, Redis, gRPC over TCP.
    Split,
    /// The same, with a second delivery process that the others know of and the test starts.
    SecondDelivery,
    /// The same with three more.
    FourDelivery,
}

/// What a cluster is started on.
#[derive(Debug, Clone)]
pub(crate) struct Stores {
    /// `embedded`, or a URL.
    pub(crate) database: String,
    /// `table`, or a URL.
    pub(crate) queue: String,
    /// The start of queue names.
    pub(crate) queue_prefix: String,
    /// `memory`, or a URL.
    pub(crate) timelines: String,
    /// The start of keys.
    pub(crate) timelines_prefix: String,
}

/// The roles and the ports of their processes.
pub(crate) struct Node {
    /// `all`, `api`, `fanout` or `delivery`.
    pub(crate) role: &'static str,
    /// Known to the others from the start, but started by the test itself.
    later: bool,
    metrics_port: u16,
    pub(crate) rpc_port: u16,
    process: Option<Process>,
}

impl Node {
    /// Its process, to look at.
    pub(crate) fn running(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().context("the process was taken")
    }
}

/// A running instance.
pub(crate) struct Cluster {
    /// Where people and servers reach it.
    pub(crate) base: String,
    /// The fediverse around it.
    pub(crate) sim: Sim,
    /// Its processes.
    pub(crate) nodes: Vec<Node>,
    settings: Vec<(String, String)>,
    folder: TempDir,
    database: Option<TestDatabase>,
    /// Deleted with the cluster.
    vhost: Option<TestVhost>,
    _slot: SemaphorePermit<'static>,
}

impl Cluster {
    /// Starts an instance on the shared servers, with `extra` settings.
    pub(crate) async fn start(mode: Mode, extra: &[(&str, &str)]) -> anyhow::Result<Self> {
        let slot = slot(mode).await?;
        let database = Postgres::shared().await.fresh_database().await;
        let mut vhost = None;
        let stores = match mode {
            Mode::Embedded => Stores {
                database: database.url.clone(),
                queue: "table".to_owned(),
                queue_prefix: "tidegate".to_owned(),
                timelines: "memory".to_owned(),
                timelines_prefix: "tidegate".to_owned(),
            },
            Mode::Split | Mode::SecondDelivery | Mode::FourDelivery => {
                let place = RabbitMq::shared().await.vhost().await;
                let redis = Redis::shared().await;
                let stores = Stores {
                    database: database.url.clone(),
                    queue: place.url.clone(),
                    queue_prefix: place.prefix.clone(),
                    timelines: redis.url.clone(),
                    timelines_prefix: redis.prefix().trim_end_matches(':').to_owned(),
                };
                vhost = Some(place);
                stores
            }
        };
        let mut cluster = Self::prepare(mode, &stores, extra, slot).await?;
        cluster.database = Some(database);
        cluster.vhost = vhost;
        cluster.start_all().await?;
        Ok(cluster)
    }

    /// Starts an instance on stores of the test's own.
    pub(crate) async fn start_on(
        mode: Mode,
        stores: &Stores,
        extra: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let slot = slot(mode).await?;
        let mut cluster = Self::prepare(mode, stores, extra, slot).await?;
        cluster.start_all().await?;
        Ok(cluster)
    }

    async fn prepare(
        mode: Mode,
        stores: &Stores,
        extra: &[(&str, &str)],
        slot: SemaphorePermit<'static>,
    ) -> anyhow::Result<Self> {
        let http_port = free_port()?;
        let sim = Sim::start(SimConfig::default()).await?;
        let nodes = roles(mode)
            .iter()
            .map(|&(role, later)| {
                Ok(Node {
                    role,
                    later,
                    metrics_port: free_port()?,
                    rpc_port: free_port()?,
                    process: None,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let folder = tempfile::Builder::new().prefix("tidegate-e2e-").tempdir()?;
        let mut settings = settings(http_port, folder.path(), &sim, stores);
        for role in ["fanout", "delivery"] {
            let urls: Vec<String> = nodes
                .iter()
                .filter(|node| node.role == role)
                .map(|node| format!("http://127.0.0.1:{}", node.rpc_port))
                .collect();
            settings.push((
                format!("TIDEGATE_RPC__{}", role.to_uppercase()),
                urls.join(","),
            ));
        }
        settings.extend(
            extra
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        Ok(Self {
            base: format!("http://localhost:{http_port}"),
            sim,
            nodes,
            settings,
            folder,
            database: None,
            vhost: None,
            _slot: slot,
        })
    }

    async fn start_all(&mut self) -> anyhow::Result<()> {
        if self.nodes.len() > 1 {
            // A node of one role refuses a schema that is not there yet.
            self.command(&["migrate"]).await?;
        }
        let first: Vec<usize> = (0..self.nodes.len())
            .filter(|&index| !self.nodes[index].later)
            .collect();
        for &index in &first {
            self.spawn(index)?;
        }
        for index in first {
            self.process(index)?.ready().await?;
        }
        Ok(())
    }

    /// Starts the process of a node; does not wait until it is ready.
    pub(crate) fn spawn(&mut self, index: usize) -> anyhow::Result<()> {
        let node = &mut self.nodes[index];
        let mut settings = self.settings.clone();
        settings.push((
            "TIDEGATE_METRICS__LISTEN".to_owned(),
            format!("127.0.0.1:{}", node.metrics_port),
        ));
        settings.push((
            "TIDEGATE_RPC__LISTEN".to_owned(),
            format!("127.0.0.1:{}", node.rpc_port),
        ));
        node.process = Some(Process::spawn(
            node.role,
            self.folder.path(),
            &["run", "--role", node.role],
            &settings,
            node.metrics_port,
        )?);
        Ok(())
    }

    /// The process of a node.
    pub(crate) fn process(&mut self, index: usize) -> anyhow::Result<&mut Process> {
        self.nodes[index]
            .process
            .as_mut()
            .context("the process was taken")
    }

    /// Takes the process of a node, to end it.
    pub(crate) fn take(&mut self, index: usize) -> anyhow::Result<Process> {
        self.nodes[index]
            .process
            .take()
            .context("the process was taken before")
    }

    /// Runs a command of the binary with the cluster's settings; its output, or why it failed.
    pub(crate) async fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.command_with(arguments, &[]).await
    }

    /// The same with other settings laid over.
    pub(crate) async fn command_with(
        &self,
        arguments: &[&str],
        extra: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let output = tokio::process::Command::from(program(env!("CARGO_BIN_EXE_tidegate")))
            .args(arguments)
            .envs(self.settings.iter().map(|(key, value)| (key, value)))
            .envs(extra.iter().copied())
            .current_dir(self.folder.path())
            .kill_on_drop(true)
            .output()
            .await?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(
            output.status.success(),
            "{arguments:?} ended with {}: {out}{err}",
            output.status
        );
        Ok(out)
    }

    /// Signs a user up through the API.
    pub(crate) async fn user(&self, username: &str) -> anyhow::Result<Client> {
        Client::sign_up(&self.base, username).await
    }

    /// The database, when the cluster runs on a shared server.
    pub(crate) fn database(&self) -> anyhow::Result<&TestDatabase> {
        self.database
            .as_ref()
            .context("this cluster has stores of its own")
    }

    /// The folder of logs, mails and data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The id of a local actor.
    pub(crate) fn actor(&self, username: &str) -> String {
        format!("{}/users/{username}", self.base)
    }

    /// The ends of all logs, for messages of failed tests.
    pub(crate) fn logs(&self) -> String {
        let mut logs = String::new();
        for node in &self.nodes {
            if let Some(process) = &node.process {
                logs += "--- ";
                logs += node.role;
                logs += "\n";
                logs += &process.log_tail();
                logs += "\n";
            }
        }
        logs
    }

    /// Ends everything in order; every process must end with success.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if let Some(process) = node.process.take() {
                let (status, log) = process.terminate().await?;
                anyhow::ensure!(
                    status.success(),
                    "{} ended with {status} after SIGTERM: {log}",
                    node.role
                );
            }
        }
        self.sim.shutdown().await;
        Ok(())
    }
}

/// The processes of a mode, and which of them the test starts itself.
const fn roles(mode: Mode) -> &'static [(&'static str, bool)] {
    match mode {
        Mode::Embedded => &[("all", false)],
        Mode::Split => &[("api", false), ("fanout", false), ("delivery", false)],
        Mode::SecondDelivery => &[
            ("api", false),
            ("fanout", false),
            ("delivery", false),
            ("delivery", true),
        ],
        Mode::FourDelivery => &[
            ("api", false),
            ("fanout", false),
            ("delivery", false),
            ("delivery", true),
            ("delivery", true),
            ("delivery", true),
        ],
    }
}

fn settings(http_port: u16, folder: &Path, sim: &Sim, stores: &Stores) -> Vec<(String, String)> {
    let secret = "end to end tests know this secret of forty characters";
    let pairs = [
        ("DATA_DIR", folder.join("data").display().to_string()),
        ("INSTANCE__DOMAIN", format!("localhost:{http_port}")),
        (
            "INSTANCE__BASE_URL",
            format!("http://localhost:{http_port}"),
        ),
        ("HTTP__LISTEN", format!("127.0.0.1:{http_port}")),
        ("DATABASE__URL", stores.database.clone()),
        ("QUEUE__URL", stores.queue.clone()),
        ("QUEUE__PREFIX", stores.queue_prefix.clone()),
        ("QUEUE__SHARDS", SHARDS.to_string()),
        ("TIMELINES__URL", stores.timelines.clone()),
        ("TIMELINES__PREFIX", stores.timelines_prefix.clone()),
        ("RPC__TOKEN", secret.to_owned()),
        ("SECRETS__KEY_ENCRYPTION_KEY", secret.to_owned()),
        ("REGISTRATIONS__CONFIRM_EMAIL", "false".to_owned()),
        ("EGRESS__ALLOW_PLAIN_HTTP", "true".to_owned()),
        ("EGRESS__HOST_MAP", format!(".test={}", sim.address())),
        ("LOG__FILTER", "info,sqlx=warn,lapin=warn".to_owned()),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (format!("TIDEGATE_{key}"), value))
        .collect()
}
