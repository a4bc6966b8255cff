//! The server process: started in a process group of its own, so that Ctrl-C in a terminal
//! reaches the node first; adopted when a killed node left it; stopped with a fast shutdown.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::binaries::Binaries;
use super::cluster::Cluster;
use super::owner::Owner;

/// Recovery after a crash of a busy database replays at most some hundred megabytes of log.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A fast shutdown ends sessions and writes a checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How often a state is looked at while waiting for it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long an answer of a healthy local server may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A running server.
pub(super) struct Server {
    pid: Pid,
    /// `None` when another process started it.
    child: Option<Child>,
}

impl Server {
    /// Starts the server, or takes over one that answers.
    pub(super) async fn start_or_adopt(
        cluster: &Cluster,
        binaries: &Binaries,
        owner: &Owner,
    ) -> anyhow::Result<Self> {
        if let Some(pid) = running(cluster) {
            let orphan = Self { pid, child: None };
            if wait_until_ready(cluster, &mut None).await.is_ok() {
                tracing::info!(pid = pid.as_raw(), "adopted the private PostgreSQL");
                return Ok(orphan);
            }
            tracing::warn!(
                pid = pid.as_raw(),
                "the old PostgreSQL does not answer; stopping it"
            );
            orphan.stop_pid().await?;
        }
        let mut child = Some(spawn(cluster, binaries, owner)?);
        wait_until_ready(cluster, &mut child).await?;
        let pid = running(cluster).context("the private PostgreSQL ended at once")?;
        tracing::info!(pid = pid.as_raw(), "the private PostgreSQL is ready");
        Ok(Self { pid, child })
    }

    /// The server of a node that runs.
    pub(super) async fn visit(cluster: &Cluster) -> anyhow::Result<Self> {
        wait_until_ready(cluster, &mut None)
            .await
            .context("another tidegate holds the data folder, but its database does not answer")?;
        let pid = running(cluster).context("the database of the running node ended")?;
        Ok(Self { pid, child: None })
    }

    /// Returns, with a sentence, when the server is gone.
    pub(super) async fn ended(&mut self, cluster: &Cluster) -> String {
        let how = if let Some(child) = &mut self.child {
            child
                .wait()
                .await
                .map_or_else(|error| error.to_string(), |status| status.to_string())
        } else {
            while is_alive(self.pid) {
                sleep(Duration::from_secs(1)).await;
            }
            "gone".to_owned()
        };
        format!(
            "the private PostgreSQL ended ({how}); its log is {}",
            cluster.log().display()
        )
    }

    /// Ends sessions, writes everything, ends.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal_stop();
        if let Some(child) = &mut self.child {
            timeout(STOP_LIMIT, child.wait())
                .await
                .context("the private PostgreSQL does not stop")??;
            return Ok(());
        }
        self.stop_pid().await
    }

    /// Asks for a fast shutdown.
    pub(super) fn signal_stop(&self) {
        if let Err(error) = kill(self.pid, Signal::SIGINT)
            && error != Errno::ESRCH
        {
            tracing::warn!(%error, "the private PostgreSQL cannot be signalled");
        }
    }

    async fn stop_pid(&self) -> anyhow::Result<()> {
        // SIGQUIT skips the checkpoint; the next start recovers from the log.
        for signal in [Signal::SIGINT, Signal::SIGQUIT] {
            match kill(self.pid, signal) {
                Err(Errno::ESRCH) => return Ok(()),
                other => other?,
            }
            let deadline = Instant::now() + STOP_LIMIT;
            while Instant::now() < deadline {
                if !is_alive(self.pid) {
                    return Ok(());
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        bail!("the private PostgreSQL (pid {}) does not stop", self.pid)
    }
}

fn spawn(cluster: &Cluster, binaries: &Binaries, owner: &Owner) -> anyhow::Result<Child> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(cluster.log())
        .with_context(|| format!("{}", cluster.log().display()))?;
    let mut command = owner.command(&binaries.postgres());
    command
        .arg("-D")
        .arg(cluster.data())
        .arg("-k")
        .arg(cluster.sockets())
        .args(["-c", "listen_addresses="])
        // Enough for one node and some visiting commands.
        .args(["-c", "max_connections=100"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("{} cannot be run", binaries.postgres().display()))
}

async fn wait_until_ready(cluster: &Cluster, child: &mut Option<Child>) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let error = match timeout(ANSWER_LIMIT, connect(cluster)).await {
            Ok(Ok(connection)) => {
                connection.close().await?;
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if let Some(child) = child
            && let Some(status) = child.try_wait()?
        {
            bail!(
                "the private PostgreSQL did not start ({status}); the end of {}:\n{}",
                cluster.log().display(),
                end_of_log(cluster)
            );
        }
        let gone = child.is_none() && running(cluster).is_none();
        if gone || Instant::now() > deadline {
            bail!("the private PostgreSQL does not answer: {error}");
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn connect(cluster: &Cluster) -> Result<PgConnection, sqlx::Error> {
    cluster
        .url("postgres")
        .parse::<PgConnectOptions>()?
        .connect()
        .await
}

/// Makes our database in a cluster that has none.
pub(super) async fn create_database(cluster: &Cluster) -> anyhow::Result<()> {
    let mut connection = connect(cluster).await?;
    let exists: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = 'tidegate')")
            .fetch_one(&mut connection)
            .await?;
    if !exists {
        sqlx::query("create database tidegate")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}

/// The server that serves the cluster now: the pid in its pid file, if that process lives and is
/// a PostgreSQL (after a reboot the number may be anybody's).
fn running(cluster: &Cluster) -> Option<Pid> {
    let text = std::fs::read_to_string(cluster.data().join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?);
    (is_alive(pid) && is_postgres(pid)).then_some(pid)
}

fn is_alive(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::ESRCH)
}

fn is_postgres(pid: Pid) -> bool {
    // Where there is no /proc, the pid file is believed.
    std::fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(
        |_| !std::path::Path::new("/proc/self").exists(),
        |name| name.trim() == "postgres",
    )
}

fn end_of_log(cluster: &Cluster) -> String {
    /// As many lines as hold the reason of a failed start.
    const LINES: usize = 8;
    let text = std::fs::read_to_string(cluster.log()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
