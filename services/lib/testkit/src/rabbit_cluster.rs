//! Three RabbitMQ nodes that form a cluster, as operators run them: to kill some of, or to cut
//! them off from each other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::network::Network;
use crate::rabbitmq::Node;
use crate::{BreakableProxy, home};

/// As many as a quorum needs to survive one.
const NODES: usize = 3;

/// A node that stopped serving notices within seconds that the others are back. RabbitMQ 3.10 on
/// Erlang 25 may hang on its way back; what runs it would give it a minute.
const REUNION: Duration = Duration::from_mins(1);

/// The question who has the copies, without headings.
const LIST: [&str; 6] = [
    "list_queues",
    "--quiet",
    "--no-table-headers",
    "name",
    "leader",
    "members",
];

/// A private cluster; it ends with the value.
pub struct RabbitCluster {
    nodes: Vec<Node>,
    balancer: BreakableProxy,
    /// When each node is on a machine of its own.
    network: Option<Network>,
}

/// Who has the copies of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// The node that leads, by its number in the cluster.
    pub leader: usize,
    /// How many copies there are.
    pub members: usize,
}

impl RabbitCluster {
    /// Starts the nodes, one after the other: each finds those before it.
    pub async fn start() -> Self {
        Self::start_on(|| Ok(None)).await
    }

    /// The same with each node on a machine of its own, see [`Self::deafen`]. Needs root.
    pub async fn start_apart() -> Self {
        Self::start_on(|| Network::start(NODES as u8).map(Some)).await
    }

    async fn start_on(make: impl FnOnce() -> Result<Option<Network>> + Send + 'static) -> Self {
        let started = blocking(move || {
            let network = make()?;
            let nodes = start(network.as_ref())?;
            Ok((network, nodes))
        });
        let (network, nodes) = started.await.expect("a cluster of RabbitMQ starts");
        let upstreams = nodes
            .iter()
            .map(|node| format!("{}:{}", node.address(), node.amqp));
        let balancer = BreakableProxy::balancing(upstreams.collect()).await;
        Self {
            nodes,
            balancer,
            network,
        }
    }

    /// A URL behind which a node answers as long as one lives.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.balancer.address)
    }

    /// The URL of one node, whether or not it answers.
    pub fn url_of(&self, number: usize) -> String {
        let node = &self.nodes[number];
        format!("amqp://guest:guest@{}:{}/%2f", node.address(), node.amqp)
    }

    /// From now on `listener` hears nothing from `speaker`: a connection between them is dead in
    /// both directions, though only one is dropped.
    pub fn deafen(&self, listener: usize, speaker: usize) {
        tokio::task::block_in_place(|| self.network().deafen(listener, speaker))
            .expect("packets are dropped");
    }

    /// All hear each other again.
    pub fn heal(&self) {
        tokio::task::block_in_place(|| self.network().heal()).expect("packets pass again");
    }

    /// Waits until every node serves, and starts those again that do not by themselves, as what
    /// runs them would; which these were.
    pub async fn reunite(&self) -> Vec<usize> {
        let nodes = self.nodes.clone();
        blocking(move || reunite(&nodes))
            .await
            .expect("the cluster is whole")
    }

    fn network(&self) -> &Network {
        let network = self.network.as_ref();
        network.expect("only a cluster that started apart has a network")
    }

    /// Ends a node as a power cut would.
    pub async fn kill9(&self, number: usize) {
        let node = self.nodes[number].clone();
        blocking(move || node.end(Signal::SIGKILL))
            .await
            .expect("a node dies");
    }

    /// Starts a killed node again; it joins the others.
    pub async fn start_again(&self, number: usize) {
        let node = self.nodes[number].clone();
        blocking(move || node.start())
            .await
            .expect("a node starts again");
    }

    /// The copies of every queue, as `asked` sees them.
    pub async fn replicas(&self, asked: usize) -> BTreeMap<String, Replicas> {
        let (node, names) = (self.nodes[asked].clone(), self.names());
        blocking(move || {
            let listed = node.ctl(&LIST)?;
            listed.lines().map(|line| read(line, &names)).collect()
        })
        .await
        .expect("the queues are listed")
    }

    fn names(&self) -> Vec<String> {
        self.nodes.iter().map(Node::name).collect()
    }
}

impl Drop for RabbitCluster {
    fn drop(&mut self) {
        // The port mapper goes with the last of them.
        for node in &self.nodes {
            let _gone = node.end(Signal::SIGKILL);
        }
        for node in &self.nodes {
            node.remove();
        }
    }
}

/// `name <tab> leader <tab> [member, member]`.
fn read(line: &str, names: &[String]) -> Result<(String, Replicas)> {
    let mut columns = line.split('\t');
    let mut column = || {
        columns
            .next()
            .with_context(|| format!("columns in {line:?}"))
    };
    let (queue, leader, members) = (column()?, column()?, column()?);
    let leader = names.iter().position(|name| name == leader);
    let replicas = Replicas {
        leader: leader.with_context(|| format!("a leader in {line:?}"))?,
        members: names.iter().filter(|name| members.contains(*name)).count(),
    };
    Ok((queue.to_owned(), replicas))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn reunite(nodes: &[Node]) -> Result<Vec<usize>> {
    let all = || Ok(nodes.iter().all(Node::serves));
    if home::wait_until("every node to serve", REUNION, all).is_ok() {
        return Ok(Vec::new());
    }
    let away = nodes.iter().enumerate().filter(|(_, node)| !node.serves());
    let away: Vec<usize> = away.map(|(number, _)| number).collect();
    // All at once: each waits for the others' tables.
    std::thread::scope(|scope| {
        let restarts = away.iter().map(|number| {
            let node = &nodes[*number];
            scope.spawn(move || {
                node.end(Signal::SIGKILL)?;
                node.start().with_context(|| node.log_tail())
            })
        });
        let restarts: Vec<_> = restarts.collect();
        for restart in restarts {
            restart.join().expect("a restart does not panic")?;
        }
        Ok(away.clone())
    })
}

fn start(network: Option<&Network>) -> Result<Vec<Node>> {
    let epmd = home::free_port()?;
    let nodes = (0..NODES)
        .map(|number| {
            let machine = network.map(|network| network.machines()[number].clone());
            Node::new(home::private_folder("rabbitmq")?, epmd, machine)
        })
        .collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = nodes.iter().map(Node::name).collect();
    let cookie = format!("cookie{}", home::unique());
    for node in &nodes {
        node.join(&names, &cookie)?;
    }
    for node in &nodes {
        node.start()?;
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_tells_leader_and_copies() {
        let names = ["t1@localhost", "t2@localhost", "t3@localhost"].map(str::to_owned);
        let line = "k.plan\tt2@localhost\t[t2@localhost, t1@localhost]";
        let (queue, replicas) = read(line, &names).expect("reads");
        let expected = Replicas {
            leader: 1,
            members: 2,
        };
        assert_eq!((queue.as_str(), replicas), ("k.plan", expected));
        assert!(read("k.plan\t\t", &names).is_err());
    }
}
