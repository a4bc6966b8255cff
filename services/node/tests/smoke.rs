//! The binary as an operator starts it: with nothing set up, killed, stopped, misconfigured.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidegate_testkit::program;

/// A first start creates a database cluster, on a machine that may be busy with other tests.
const START_LIMIT: Duration = Duration::from_secs(90);

/// Somewhere that the user of the private PostgreSQL reaches too.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("opened");
    dir
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

fn tidegate(dir: &Path) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_tidegate"));
    command
        .current_dir(dir)
        .env("TIDEGATE_DATA_DIR", dir.join("data"))
        .env("TIDEGATE_EGRESS__HOST_MAP", "");
    command
}

fn output(command: &mut Command) -> (Output, String) {
    let output = command.output().expect("runs");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output, text)
}

/// Status and body; `None` when nobody answers.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text))
}

/// Numbers the logs.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// The port that the node says it listens on for a key; 0 when it has not said so yet.
fn port_of(log: &str, key: &str) -> u16 {
    log.lines()
        .find(|line| line.contains("listening") && line.contains(&format!("key=\"{key}\"")))
        .and_then(|line| line.rsplit(':').next())
        .and_then(|port| port.trim().parse().ok())
        .unwrap_or(0)
}

struct Running {
    child: Child,
    log: PathBuf,
    http: u16,
    metrics: u16,
}

impl Running {
    fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    fn start_with(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let mut running = Self::begin(dir, settings);
        running.wait_until_ready();
        running
    }

    fn begin(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let log = dir.join(format!("log-{}", RUNS.fetch_add(1, Ordering::Relaxed)));
        let child = tidegate(dir)
            .arg("run")
            .env("TIDEGATE_HTTP__LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_METRICS__LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("starts");
        Self {
            child,
            log,
            http: 0,
            metrics: 0,
        }
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let log = std::fs::read_to_string(&self.log).expect("its log");
            self.http = port_of(&log, "http.listen");
            self.metrics = port_of(&log, "metrics.listen");
            if let Some((200, _)) = get(self.metrics, "/health/ready") {
                return;
            }
            let ended = self.child.try_wait().expect("is ours");
            assert!(ended.is_none(), "ended: {ended:?}\n{log}");
            assert!(Instant::now() < deadline, "not ready\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("is alive");
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("is ours") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test must leave neither the node nor its PostgreSQL behind.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(15);
            while Instant::now() < deadline && self.child.try_wait().is_ok_and(|s| s.is_none()) {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = self.child.kill();
        }
    }
}

fn postgres_pid(dir: &Path) -> Option<Pid> {
    let file = dir.join("data/database/data/postmaster.pid");
    let text = std::fs::read_to_string(file).ok()?;
    Some(Pid::from_raw(text.lines().next()?.trim().parse().ok()?))
}

#[test]
fn a_node_with_nothing_set_up_runs_survives_a_kill_and_stops_in_order() {
    let dir = folder();
    let mut node = Running::start(dir.path());
    assert_eq!(get(node.http, "/health").map(|answer| answer.0), Some(200));
    assert_eq!(
        get(node.metrics, "/health/live").map(|answer| answer.0),
        Some(200)
    );
    let (status, metrics) = get(node.metrics, "/metrics").expect("answers");
    assert_eq!(status, 200);
    assert!(
        metrics.contains("tidegate_database_connections"),
        "{metrics}"
    );

    // A command works beside the node, on the same private database.
    let (result, text) = output(tidegate(dir.path()).args(["admin", "registrations", "closed"]));
    assert!(result.status.success(), "{text}");
    let (result, text) = output(tidegate(dir.path()).args([
        "admin",
        "account",
        "create",
        "--username",
        "ada",
        "--email",
        "ada@example.com",
        "--confirmed",
    ]));
    assert!(result.status.success(), "{text}");
    assert!(text.contains("Password: "), "{text}");

    // Another node on the same port is told off, and so is one in the same folder.
    for (port, told) in [(node.http, "http.listen"), (0, "uses the data folder")] {
        let (result, text) = output(
            tidegate(dir.path())
                .arg("run")
                .env("TIDEGATE_HTTP__LISTEN", format!("127.0.0.1:{port}"))
                .env("TIDEGATE_METRICS__LISTEN", "127.0.0.1:0"),
        );
        assert_eq!(result.status.code(), Some(1), "{text}");
        assert!(text.contains(told), "{text}");
    }

    // Killed: the database is left behind, and the next node adopts it with everything in it.
    node.child.kill().expect("killed");
    node.child.wait().expect("gone");
    let orphan = postgres_pid(dir.path()).expect("left behind");
    let mut node = Running::start(dir.path());
    assert_eq!(postgres_pid(dir.path()), Some(orphan), "adopted");
    let (result, text) = output(tidegate(dir.path()).args(["admin", "status"]));
    assert!(result.status.success(), "{text}");
    assert!(
        text.lines()
            .any(|line| line.starts_with("local accounts") && line.trim_end().ends_with(" 1")),
        "{text}"
    );
    let (result, text) = output(tidegate(dir.path()).args(["admin", "verify-deliveries"]));
    assert!(result.status.success(), "{text}");

    node.signal(Signal::SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert_eq!(postgres_pid(dir.path()), None, "stopped with the node");

    // A command works without a node too, and leaves nothing running.
    let (result, text) = output(tidegate(dir.path()).args(["admin", "dead-messages", "list"]));
    assert!(result.status.success(), "{text}");
    assert!(text.contains("0 dead messages"), "{text}");
    assert_eq!(postgres_pid(dir.path()), None);
}

#[test]
fn a_node_that_stops_says_so_and_a_second_signal_stops_it_at_once() {
    let dir = folder();
    // Longer than anybody waits for an exit code here.
    let mut node = Running::start_with(dir.path(), &[("TIDEGATE_SHUTDOWN__DRAIN", "10m")]);
    node.signal(Signal::SIGTERM);
    let deadline = Instant::now() + START_LIMIT;
    while get(node.metrics, "/health/ready").is_none_or(|(status, _)| status != 503) {
        assert!(Instant::now() < deadline, "still ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Whoever is still sent here by a balancer that has not noticed is served.
    assert_eq!(get(node.http, "/health").map(|answer| answer.0), Some(200));
    node.signal(Signal::SIGTERM);
    assert_eq!(node.exit_code(), Some(130));
    // What it left behind is stopped by the next command.
    let (result, text) = output(tidegate(dir.path()).args(["admin", "status"]));
    assert!(result.status.success(), "{text}");
    assert_eq!(postgres_pid(dir.path()), None);
}

/// The head of a request has arrived, its body has not: it is served, and the node ends then.
#[test]
fn a_request_that_is_under_way_when_the_node_stops_is_answered() {
    let dir = folder();
    let mut node = Running::start(dir.path());
    let body = "client_name=a&redirect_uris=urn:ietf:wg:oauth:2.0:oob";
    let (first, rest) = body.split_at(10);
    let mut stream = TcpStream::connect(("127.0.0.1", node.http)).expect("it listens");
    write!(
        stream,
        "POST /api/v1/apps HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    )
    .expect("sent");
    // In its hands: the requests of one connection are read in turn, those of others are not.
    assert_eq!(get(node.http, "/health").map(|answer| answer.0), Some(200));
    node.signal(Signal::SIGTERM);
    let deadline = Instant::now() + START_LIMIT;
    while TcpStream::connect(("127.0.0.1", node.http)).is_ok() {
        assert!(Instant::now() < deadline, "it still takes connections");
        std::thread::sleep(Duration::from_millis(50));
    }
    stream.write_all(rest.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("client_secret"), "{answer}");
    assert_eq!(node.exit_code(), Some(0));
}

#[test]
fn a_signal_while_the_database_is_made_leaves_nothing_running() {
    let dir = folder();
    let mut node = Running::begin(dir.path(), &[]);
    let deadline = Instant::now() + START_LIMIT;
    while !dir.path().join("data/database").exists() {
        assert!(Instant::now() < deadline, "no database");
        std::thread::sleep(Duration::from_millis(5));
    }
    node.signal(Signal::SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    let log = std::fs::read_to_string(&node.log).expect("its log");
    assert!(log.contains("stopping while the database opens"), "{log}");
    assert_eq!(postgres_pid(dir.path()), None);
    // What was made is whole.
    let mut node = Running::start(dir.path());
    node.signal(Signal::SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
}

#[test]
fn a_database_that_ends_ends_the_node_with_a_code() {
    let dir = folder();
    let mut node = Running::start(dir.path());
    let postgres = postgres_pid(dir.path()).expect("runs");
    kill(postgres, Signal::SIGQUIT).expect("is alive");
    assert_eq!(node.exit_code(), Some(1));
}

#[test]
fn wrong_settings_are_one_clear_error_each() {
    let dir = folder();
    for (flag, told) in [
        ("http.lisen=127.0.0.1:1", "did you mean `http.listen`?"),
        ("http.listen=nowhere", "http.listen (command line)"),
        ("profile=staging", "profile (command line)"),
        ("profile=production", "instance.domain is not set"),
        ("replicas=3", "timelines.url is \"memory\""),
        ("queue.shards=0", "queue.shards"),
        ("rpc.token_file=/nonexistent", "rpc.token_file"),
    ] {
        let (result, text) = output(tidegate(dir.path()).args(["check-config", "--set", flag]));
        assert_eq!(result.status.code(), Some(1), "{flag}");
        assert!(text.contains(told), "{flag}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    let (result, text) = output(tidegate(dir.path()).args(["check-config", "--role", "api"]));
    assert!(!result.status.success());
    assert!(text.contains("serves one process"), "{text}");
    let (result, text) = output(tidegate(dir.path()).arg("check-config"));
    assert!(result.status.success(), "{text}");
}

#[test]
fn a_database_that_is_not_there_is_one_clear_error() {
    let dir = folder();
    let url = format!("postgres://nobody:hunter2@127.0.0.1:{}/none", free_port());
    let (result, text) = output(
        tidegate(dir.path())
            .arg("run")
            .env("TIDEGATE_DATABASE__URL", &url)
            .env("TIDEGATE_HTTP__LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_METRICS__LISTEN", "127.0.0.1:0"),
    );
    assert_eq!(result.status.code(), Some(1));
    assert!(text.contains("the database cannot be reached"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
