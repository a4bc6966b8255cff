//! RabbitMQ nodes: one shared by all tests, and private ones to kill.
//!
//! A start takes 7 to 27 seconds, so that the shared node stays up between runs.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use crate::network::Machine;
use crate::{Certificates, home, http};

/// Slowest start seen on a loaded machine was 27 s.
const START: Duration = Duration::from_mins(2);

/// Nodes of a cluster take a silent one for dead after so many seconds: what RabbitMQ's own tests
/// of partitions use, where its default of 60 would outlast them.
const TICK: u32 = 15;

const BINARIES: [&str; 2] = [
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/usr/sbin/rabbitmq-server",
];

/// A RabbitMQ node.
#[derive(Debug)]
pub struct RabbitMq {
    pub(crate) place: Place,
    pub(crate) private: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// One that we started.
    Node(Node),
    /// Somebody else's; tests there meet only by queue prefix.
    Url(String),
}

/// A node's folder and ports, which survive its restarts.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    folder: PathBuf,
    pub(crate) amqp: u16,
    pub(crate) management: u16,
    distribution: u16,
    epmd: u16,
    /// Where it runs; `None`: on this one, at loopback.
    machine: Option<Machine>,
}

impl RabbitMq {
    /// The node that all test processes share. Each test takes a virtual host of it.
    pub async fn shared() -> Self {
        static SHARED: OnceCell<Place> = OnceCell::const_new();
        let place = SHARED
            .get_or_init(|| async {
                if let Ok(url) = std::env::var("TIDEGATE_TEST_RABBITMQ") {
                    return Place::Url(url);
                }
                let node = tokio::task::spawn_blocking(ensure_running)
                    .await
                    .expect("the starting thread does not panic")
                    .expect("RabbitMQ for tests starts");
                Place::Node(node)
            })
            .await;
        Self {
            place: place.clone(),
            private: false,
        }
    }

    /// A node of this test's own, which may be killed; it ends with the value.
    pub async fn private() -> Self {
        tokio::task::spawn_blocking(|| -> Result<Self> {
            let node = Node::new(home::private_folder("rabbitmq")?, home::free_port()?, None)?;
            node.start()?;
            Ok(Self {
                place: Place::Node(node),
                private: true,
            })
        })
        .await
        .expect("the starting thread does not panic")
        .expect("a private RabbitMQ starts")
    }

    /// The same with a TLS listener besides, and the URL of that.
    pub async fn private_with_tls(certificates: &Certificates) -> (Self, String) {
        let files = [
            ("cacertfile", certificates.authority()),
            ("certfile", certificates.server()),
            ("keyfile", certificates.key()),
        ];
        tokio::task::spawn_blocking(move || -> Result<(Self, String)> {
            let node = Node::new(home::private_folder("rabbitmq")?, home::free_port()?, None)?;
            let port = home::free_port()?;
            let listener = format!(
                "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.verify = verify_none\n\
                 ssl_options.fail_if_no_peer_cert = false\n"
            );
            let files =
                files.map(|(name, file)| format!("ssl_options.{name} = {}\n", file.display()));
            node.add_settings(&(listener + &files.concat()))?;
            node.start()?;
            let broker = Self {
                place: Place::Node(node),
                private: true,
            };
            Ok((broker, format!("amqps://guest:guest@127.0.0.1:{port}/%2f")))
        })
        .await
        .expect("the starting thread does not panic")
        .expect("a private RabbitMQ with TLS starts")
    }

    /// The AMQP port of a node that we started.
    pub fn port(&self) -> u16 {
        self.node().amqp
    }

    /// Ends a private node as a power cut would. Durable queues survive in its folder.
    pub fn kill9(&self) -> &Self {
        assert!(self.private, "only a private node may be killed");
        self.node().end(Signal::SIGKILL).expect("RabbitMQ dies");
        self
    }

    /// Starts a killed private node on the same ports and data.
    pub async fn start(&self) {
        let node = self.node().clone();
        tokio::task::spawn_blocking(move || node.start())
            .await
            .expect("the starting thread does not panic")
            .expect("a private RabbitMQ starts again");
    }

    /// Raises or clears the memory alarm, which blocks every publisher of the node.
    pub async fn memory_alarm(&self, on: bool) {
        let watermark = if on { "0" } else { "0.4" };
        self.alarm(["set_vm_memory_high_watermark", watermark])
            .await;
    }

    /// The same with the disk: it asks for more free space than any disk has.
    pub async fn disk_alarm(&self, on: bool) {
        let limit = if on { "1000000000000000" } else { "50000000" };
        self.alarm(["set_disk_free_limit", limit]).await;
    }

    async fn alarm(&self, arguments: [&'static str; 2]) {
        assert!(self.private, "an alarm would block the other tests");
        let node = self.node().clone();
        tokio::task::spawn_blocking(move || node.ctl(&arguments))
            .await
            .expect("the thread does not panic")
            .expect("the limit is set");
    }

    /// How many consumers a private node has, to see whether any were left behind.
    pub async fn consumers(&self) -> usize {
        let node = self.node().clone();
        let listed = tokio::task::spawn_blocking(move || {
            node.ctl(&["list_consumers", "--quiet", "--no-table-headers"])
        })
        .await
        .expect("the thread does not panic")
        .expect("consumers are listed");
        listed.lines().filter(|line| line.contains('\t')).count()
    }

    /// Stops the shared node. Blocks.
    pub fn stop_shared() -> Result<()> {
        let _lock = home::lock("rabbitmq")?;
        if let Some(node) = Node::load(&home::folder()?.join("rabbitmq")) {
            node.end(Signal::SIGTERM)?;
            end_epmd(node.epmd);
        }
        Ok(())
    }

    pub(crate) fn node(&self) -> &Node {
        match &self.place {
            Place::Node(node) => node,
            Place::Url(_) => panic!("TIDEGATE_TEST_RABBITMQ names a server that is not ours"),
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if let (true, Place::Node(node)) = (self.private, &self.place) {
            node.remove();
        }
    }
}

fn ensure_running() -> Result<Node> {
    let _lock = home::lock("rabbitmq")?;
    let folder = home::folder()?.join("rabbitmq");
    if let Some(node) = Node::load(&folder)
        && node.is_ready()
    {
        return Ok(node);
    }
    // Test data is worthless, and an old folder may belong to another release.
    if folder.exists() {
        if let Some(node) = Node::load(&folder) {
            node.end(Signal::SIGKILL)?;
            end_epmd(node.epmd);
        }
        fs::remove_dir_all(&folder)?;
    }
    let node = Node::new(folder, home::free_port()?, None)?;
    node.start()?;
    Ok(node)
}

impl Node {
    /// A node that is not started yet. Nodes of one cluster share the port mapper.
    pub(crate) fn new(folder: PathBuf, epmd: u16, machine: Option<Machine>) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let node = Self {
            folder,
            amqp: home::free_port()?,
            management: home::free_port()?,
            distribution: home::free_port()?,
            epmd,
            machine,
        };
        // Plugins open ports on every address unless told otherwise. A machine of its own is
        // reached from this one only.
        let settings = format!(
            "management.tcp.ip = {}\nmanagement.tcp.port = {}\nloopback_users.guest = {}\n",
            node.address(),
            node.management,
            node.machine.is_none()
        );
        fs::write(node.folder.join("rabbitmq.conf"), settings)?;
        fs::write(
            node.folder.join("enabled_plugins"),
            "[rabbitmq_management].\n",
        )?;
        fs::write(node.folder.join("amqp_port"), node.amqp.to_string())?;
        fs::write(
            node.folder.join("distribution_port"),
            node.distribution.to_string(),
        )?;
        fs::write(node.folder.join("epmd_port"), node.epmd.to_string())?;
        fs::write(
            node.folder.join("management_port"),
            node.management.to_string(),
        )?;
        Ok(node)
    }

    /// Its Erlang name.
    pub(crate) fn name(&self) -> String {
        match &self.machine {
            None => format!("t{}@localhost", self.amqp),
            Some(machine) => format!("t{}@{}", self.amqp, machine.address),
        }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        let own = self.machine.as_ref().map(|machine| machine.address);
        own.unwrap_or(Ipv4Addr::LOCALHOST)
    }

    /// Makes it one of `all` when it starts; they know each other by the cookie.
    ///
    /// Whoever finds itself in a minority stops serving, and joins again by itself when the others
    /// are back: with the default a cluster that was cut apart stays apart until somebody comes.
    pub(crate) fn join(&self, all: &[String], cookie: &str) -> Result<()> {
        let peers = (1..).zip(all).map(|(number, name)| {
            format!("cluster_formation.classic_config.nodes.{number} = {name}\n")
        });
        let backend = "cluster_partition_handling = pause_minority\n\
                       cluster_formation.peer_discovery_backend = classic_config\n";
        let settings = backend.to_owned() + &peers.collect::<String>();
        self.add_settings(&settings)?;
        let path = self.folder.join(".erlang.cookie");
        fs::write(&path, cookie)?;
        // Erlang refuses one that others could read.
        fs::set_permissions(path, fs::Permissions::from_mode(0o400))?;
        Ok(())
    }

    /// To be read at the next start.
    fn add_settings(&self, settings: &str) -> Result<()> {
        let path = self.folder.join("rabbitmq.conf");
        let base = fs::read_to_string(&path)?;
        Ok(fs::write(path, base + settings)?)
    }

    fn load(folder: &Path) -> Option<Self> {
        Some(Self {
            folder: folder.to_owned(),
            amqp: home::read_number(&folder.join("amqp_port"))?,
            management: home::read_number(&folder.join("management_port"))?,
            distribution: home::read_number(&folder.join("distribution_port"))?,
            epmd: home::read_number(&folder.join("epmd_port"))?,
            machine: None,
        })
    }

    fn pid(&self) -> Option<i32> {
        home::read_number(&self.folder.join("pid")).filter(|pid| home::is_alive(*pid))
    }

    fn is_ready(&self) -> bool {
        self.pid().is_some() && self.serves()
    }

    /// Whether it takes clients, whatever its process says.
    pub(crate) fn serves(&self) -> bool {
        let management = (self.address(), self.management);
        home::answers_at(self.address(), self.amqp)
            && http::request_at(management, "GET", "/api/overview", "").is_ok()
    }

    /// The end of its log, for messages of failed tests.
    pub(crate) fn log_tail(&self) -> String {
        let path = self.folder.join(format!("log/{}.log", self.name()));
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// A command with the node's whole environment. HOME keeps its Erlang cookie apart; a node
    /// name at `localhost` makes the machine's own name irrelevant; the distribution and the
    /// port mapper are bound to loopback, which is not their default.
    fn command(&self, program: &Path) -> Command {
        let mut command = match &self.machine {
            None => Command::new(program),
            Some(machine) => machine.command(program),
        };
        let address = self.address().to_string();
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.folder)
            .env("RABBITMQ_NODENAME", self.name())
            .env("RABBITMQ_NODE_PORT", self.amqp.to_string())
            .env("RABBITMQ_USE_LONGNAME", self.machine.is_some().to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", &address)
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("ERL_EPMD_PORT", self.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", &address)
            .env("RABBITMQ_MNESIA_BASE", self.folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", self.folder.join("log"))
            .env("RABBITMQ_PID_FILE", self.folder.join("pid"))
            .env("RABBITMQ_CONFIG_FILE", self.folder.join("rabbitmq"))
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                self.folder.join("enabled_plugins"),
            )
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                format!(
                    "-kernel inet_dist_use_interface {{{}}} -kernel net_ticktime {TICK} \
                     +sbwt none",
                    address.replace('.', ",")
                ),
            )
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn start(&self) -> Result<()> {
        let program = home::find_program("RabbitMQ", &BINARIES)?;
        let _old = fs::remove_file(self.folder.join("pid"));
        let output = fs::File::create(self.folder.join("output"))?;
        let mut child = self
            .command(&program)
            .stdout(output.try_clone()?)
            .stderr(output)
            // Signals for the test runner's group are not for a server that outlives it.
            .process_group(0)
            .spawn()?;
        let ready = home::wait_until("RabbitMQ to start", START, || Ok(self.is_ready()))
            .with_context(|| format!("see {}/output and log/", self.folder.display()));
        // Reaps the launcher when the node ends while this process lives.
        std::thread::spawn(move || child.wait());
        ready
    }

    pub(crate) fn end(&self, signal: Signal) -> Result<()> {
        match self.pid() {
            Some(pid) => home::end(pid, signal, Duration::from_mins(1)),
            None => Ok(()),
        }
    }

    /// Ends what a test started, and forgets it.
    pub(crate) fn remove(&self) {
        let _gone = self.end(Signal::SIGKILL);
        end_epmd(self.epmd);
        let _gone = fs::remove_dir_all(&self.folder);
    }

    /// Runs the broker's own command; what it printed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let program = home::find_program("RabbitMQ", &BINARIES)?.with_file_name("rabbitmqctl");
        home::run(self.command(&program).args(arguments))
    }
}

/// The port mapper outlives its nodes. It refuses while one is still registered, so try for a
/// moment; found by its own port, never anybody else's.
pub(crate) fn end_epmd(port: u16) {
    let _given_up = home::wait_until("epmd to end", Duration::from_secs(5), || {
        let killed = Command::new("epmd")
            .args(["-port", &port.to_string(), "-kill"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(killed.success() || !home::answers(port))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    /// From the kernel's own table, where 127.0.0.1 and ::1 are spelled in hexadecimal.
    fn listens_beyond_loopback(port: u16) -> bool {
        let wanted = format!(":{port:04X} ");
        ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .flat_map(|table| table.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| line.contains(" 0A ") && line.contains(&wanted))
            .any(|line| {
                !line.contains(" 0100007F:") && !line.contains(" 00000000000000000000000001000000:")
            })
    }

    #[tokio::test]
    async fn the_shared_node_listens_on_loopback_only() {
        let broker = RabbitMq::shared().await;
        let node = broker.node();
        for port in [node.amqp, node.management, node.distribution, node.epmd] {
            TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
            assert!(!listens_beyond_loopback(port), "port {port}");
        }
    }

    #[tokio::test]
    async fn every_test_has_a_virtual_host_of_its_own() {
        let broker = RabbitMq::shared().await;
        let (one, other) = (broker.vhost().await, broker.vhost().await);
        assert_ne!(one.url, other.url);
        assert_ne!(one.prefix, other.prefix);
        let management = broker.node().management;
        let path = format!("/api/vhosts/{}", one.prefix);
        http::request(management, "GET", &path, "").expect("it is there");
        drop(one);
        http::request(management, "GET", &path, "").expect_err("it went with its test");
    }
}
