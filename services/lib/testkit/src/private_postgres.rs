//! A PostgreSQL of one test's own, to be killed: durable as in production, started again on the
//! same port over the same data.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::{home, postgres};

/// What a commit promises must hold here: this server is killed on purpose.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
";

/// A server that may be killed; it ends with the value.
#[derive(Debug)]
pub struct PrivatePostgres {
    /// Of an empty database named `tidegate`.
    pub url: String,
    folder: PathBuf,
    port: u16,
}

impl PrivatePostgres {
    /// Creates a cluster and starts it.
    pub async fn start_new() -> Self {
        tokio::task::spawn_blocking(|| -> Result<Self> {
            let folder = postgres::reachable(home::private_folder("postgres")?)?;
            let port = home::free_port()?;
            let data = folder.join("data");
            postgres::init(&data, SETTINGS)?;
            postgres::start(&data, port)?;
            let server = Self {
                url: format!("postgres://postgres@127.0.0.1:{port}/tidegate"),
                folder,
                port,
            };
            postgres::create_database(port, "tidegate")?;
            Ok(server)
        })
        .await
        .expect("the starting thread does not panic")
        .expect("a private PostgreSQL starts")
    }

    /// Ends the server and all its sessions as a crash would. Blocks.
    pub fn kill9(&self) {
        let data = self.folder.join("data");
        if let Some((pid, _)) = postgres::running(&data) {
            // The sessions notice that the postmaster is gone and end by themselves.
            home::end(pid, Signal::SIGKILL, Duration::from_secs(20)).expect("PostgreSQL dies");
        }
    }

    /// Starts a killed server again; it recovers first. Blocks.
    pub fn start(&self) {
        // Until the last orphaned session is gone the shared memory is in use and the start is
        // refused; that takes moments.
        home::wait_until("PostgreSQL to start again", Duration::from_mins(1), || {
            Ok(postgres::start(&self.folder.join("data"), self.port).is_ok())
        })
        .expect("a private PostgreSQL starts again");
    }

    fn end(&self) -> Result<()> {
        if let Some((pid, _)) = postgres::running(&self.folder.join("data")) {
            home::end(pid, Signal::SIGQUIT, Duration::from_secs(20))
                .context("ending a private PostgreSQL")?;
        }
        fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("a private PostgreSQL was left behind: {error:#}");
        }
    }
}
