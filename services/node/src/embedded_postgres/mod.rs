//! A private PostgreSQL: found, created and started by the node itself, so that nobody has to
//! set one up. It listens on a socket in a private folder only, keeps every durability setting
//! on, and is stopped with the node. What a killed node left running is adopted by the next.

mod binaries;
mod cluster;
mod owner;
mod server;

pub(crate) use binaries::OLDEST;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use tidegate_model::Secret;

use binaries::Binaries;
use cluster::Cluster;
use owner::Owner;
use server::Server;

/// How long a starting process waits for another one that is just ending with the same data
/// folder: as long as a fast shutdown of a busy small database takes.
const WAIT_FOR_FOLDER: Duration = Duration::from_secs(15);

/// The private PostgreSQL, running.
pub(crate) struct EmbeddedPostgres {
    cluster: Cluster,
    /// Who has the data folder: this process, or another that will stop the server itself.
    lock: Option<Flock<File>>,
    server: Server,
}

impl EmbeddedPostgres {
    /// For a node: takes the data folder for itself and starts the server, or adopts the one
    /// that a killed node left.
    pub(crate) async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let deadline = tokio::time::Instant::now() + WAIT_FOR_FOLDER;
        loop {
            if let Some(lock) = try_lock(data_dir)? {
                return Self::start_locked(data_dir, lock).await;
            }
            if tokio::time::Instant::now() > deadline {
                bail!(
                    "another tidegate uses the data folder {}: stop it first, or give this one \
                     a folder of its own (data_dir)",
                    data_dir.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// For a command: uses the server of a running node, or starts it for as long as the command
    /// takes.
    pub(crate) async fn visit(data_dir: &Path) -> anyhow::Result<Self> {
        if let Some(lock) = try_lock(data_dir)? {
            return Self::start_locked(data_dir, lock).await;
        }
        let owner = Owner::choose()?;
        let cluster = Cluster::locate(data_dir, &owner)?;
        Ok(Self {
            server: Server::visit(&cluster).await?,
            cluster,
            lock: None,
        })
    }

    async fn start_locked(data_dir: &Path, lock: Flock<File>) -> anyhow::Result<Self> {
        let owner = Owner::choose()?;
        let cluster = Cluster::locate(data_dir, &owner)?;
        let binaries = Binaries::find(data_dir, cluster.version()?)?;
        cluster.create_if_absent(&binaries, &owner).await?;
        let server = Server::start_or_adopt(&cluster, &binaries, &owner).await?;
        server::create_database(&cluster).await?;
        Ok(Self {
            cluster,
            lock: Some(lock),
            server,
        })
    }

    /// How to connect to it.
    pub(crate) fn url(&self) -> Secret<String> {
        Secret::new(self.cluster.url("tidegate"))
    }

    /// Returns when the server ended by itself.
    pub(crate) async fn ended(&mut self) -> String {
        self.server.ended(&self.cluster).await
    }

    /// Stops the server, unless it belongs to another process.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if self.lock.is_some() {
            self.server.stop().await?;
            self.cluster.forget_sockets();
        }
        Ok(())
    }

    /// Tells the server to stop and does not wait: for an end without delay.
    pub(crate) fn stop_at_once(&self) {
        if self.lock.is_some() {
            self.server.signal_stop();
        }
    }
}

/// The lock on the data folder; it ends with the process, however that ends.
fn try_lock(data_dir: &Path) -> anyhow::Result<Option<Flock<File>>> {
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("the data folder {} cannot be made", data_dir.display()))?;
    let path = lock_path(data_dir);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).with_context(|| format!("{}", path.display())),
    }
}

fn lock_path(data_dir: &Path) -> PathBuf {
    data_dir.join("lock")
}
