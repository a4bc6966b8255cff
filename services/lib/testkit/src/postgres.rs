//! The shared PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User, chown};
use tokio::sync::OnceCell;

use crate::home;

/// Where Debian puts the programs, newest release first.
const BINARIES: [&str; 4] = [
    "/usr/lib/postgresql/18/bin/initdb",
    "/usr/lib/postgresql/17/bin/initdb",
    "/usr/lib/postgresql/16/bin/initdb",
    "/usr/lib/postgresql/15/bin/initdb",
];

/// Beyond the defaults. No fsync: a test machine that loses power starts over, and killed
/// processes lose nothing by it. Connections for a dozen test processes with a pool each.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 400
fsync = off
full_page_writes = off
max_wal_size = 1GB
";

/// A server that tests get databases from.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Of its administration database.
    pub(crate) url: String,
}

impl Postgres {
    /// The server that all test processes share; started by the first.
    pub async fn shared() -> Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                if let Ok(url) = std::env::var("TIDEGATE_TEST_POSTGRES") {
                    return Self { url };
                }
                let port = tokio::task::spawn_blocking(ensure_running)
                    .await
                    .expect("the starting thread does not panic")
                    .expect("PostgreSQL for tests starts");
                let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
                Self { url }
            })
            .await
            .clone()
    }

    /// Stops the shared server. Blocks.
    pub fn stop_shared() -> Result<()> {
        let _lock = home::lock("postgres")?;
        let data = folder()?.join("data");
        if let Some((pid, _)) = running(&data) {
            // Fast shutdown: connections are cut, data is kept.
            home::end(pid, Signal::SIGINT, Duration::from_secs(20))?;
        }
        Ok(())
    }
}

fn ensure_running() -> Result<u16> {
    let _lock = home::lock("postgres")?;
    let data = folder()?.join("data");
    if let Some((_, port)) = running(&data) {
        return Ok(port);
    }
    if !data.join("PG_VERSION").exists() {
        init(&data, SETTINGS)?;
    }
    let port = home::free_port()?;
    start(&data, port)?;
    Ok(port)
}

/// Creates a cluster with further settings.
pub(crate) fn init(data: &Path, settings: &str) -> Result<()> {
    let initdb = home::find_program("PostgreSQL", &BINARIES)?;
    home::run(as_server_user(&initdb).arg("-D").arg(data).args([
        "--auth=trust",
        "--username=postgres",
        "--no-locale",
        "--encoding=UTF8",
        "--no-sync",
    ]))?;
    let conf = data.join("postgresql.conf");
    let mut text = fs::read_to_string(&conf)?;
    text.push_str(settings);
    fs::write(&conf, text)?;
    Ok(())
}

/// Starts the server over `data` and waits until it takes connections.
pub(crate) fn start(data: &Path, port: u16) -> Result<()> {
    let pg_ctl = home::find_program("PostgreSQL", &BINARIES)?.with_file_name("pg_ctl");
    let log = data.with_file_name("log");
    home::run(
        as_server_user(&pg_ctl)
            .arg("-D")
            .arg(data)
            .arg("-l")
            .arg(&log)
            .args(["-w", "-t", "60", "-s", "-o", &format!("-p {port}"), "start"])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null()),
    )
    .with_context(|| format!("see {}", log.display()))?;
    Ok(())
}

/// Makes an empty database on a running server.
pub(crate) fn create_database(port: u16, name: &str) -> Result<()> {
    let createdb = home::find_program("PostgreSQL", &BINARIES)?.with_file_name("createdb");
    home::run(as_server_user(&createdb).args([
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-U",
        "postgres",
        name,
    ]))?;
    Ok(())
}

/// Process id and port of the server over `data`, when it runs.
pub(crate) fn running(data: &Path) -> Option<(i32, u16)> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let port = lines.nth(2)?.trim().parse().ok()?;
    (home::is_alive(pid) && home::answers(port)).then_some((pid, port))
}

/// The shared server's folder.
fn folder() -> Result<PathBuf> {
    let inside = home::folder()?.join("postgres");
    fs::create_dir_all(&inside)?;
    reachable(inside)
}

/// Gives a folder to whom the server runs as. That user must be able to walk there; when the
/// workspace lies behind a closed door, a folder under `/var/tmp` serves instead.
pub(crate) fn reachable(inside: PathBuf) -> Result<PathBuf> {
    let Some(user) = server_user()? else {
        return Ok(inside);
    };
    let prepare = |folder: &Path| -> Result<bool> {
        fs::create_dir_all(folder)?;
        chown(folder, Some(user.uid), Some(user.gid))?;
        let walk = Command::new("runuser")
            .args(["-u", &user.name, "--", "test", "-w"])
            .arg(folder)
            .status()?;
        Ok(walk.success())
    };
    if prepare(&inside)? {
        return Ok(inside);
    }
    let name = inside.to_string_lossy().replace('/', "-");
    let outside = PathBuf::from(format!("/var/tmp/tidegate-test{name}"));
    prepare(&outside)?;
    Ok(outside)
}

/// Whom the server runs as, when not as ourselves: it refuses to be root.
fn server_user() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = match User::from_name("postgres")? {
        Some(user) => Some(user),
        None => User::from_name("nobody")?,
    };
    Ok(Some(user.context("neither postgres nor nobody is a user")?))
}

fn as_server_user(program: &Path) -> Command {
    let mut command = match server_user() {
        Ok(Some(user)) => {
            let mut command = Command::new("runuser");
            command.args(["-u", &user.name, "--"]).arg(program);
            command
        }
        _ => Command::new(program),
    };
    // The caller's folder may be closed to that user.
    command.current_dir("/");
    command
}
