//! One author, a follower on each of some hosts, and whether every post arrived everywhere.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tidegate_loadtest::HostBehaviour;

use crate::client::{Client, eventually, text};
use crate::cluster::Cluster;

/// What was written so far.
pub(crate) struct Load {
    author: Client,
    hosts: Vec<String>,
    written: HashSet<String>,
}

impl Load {
    /// Signs the author up and has it followed from every host.
    pub(crate) async fn start(cluster: &Cluster, hosts: Vec<String>) -> anyhow::Result<Self> {
        let author = cluster.user("ada").await?;
        let target = cluster.actor("ada");
        for host in &hosts {
            cluster.sim.add_host(host, HostBehaviour::default());
            let follower = cluster.sim.add_actor(host, "follower", true);
            crate::stories::taken(cluster.sim.follow(&follower, &target).await?)?;
        }
        eventually("all followers", async || {
            let path = format!("/api/v1/accounts/{}", author.account_id);
            Ok(author.get(&path).await?["followers_count"] == hosts.len())
        })
        .await?;
        Ok(Self {
            author,
            hosts,
            written: HashSet::new(),
        })
    }

    /// Writes posts; each must be acknowledged at the first try.
    pub(crate) async fn write(&mut self, cluster: &Cluster, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            let words = format!("number {}", self.written.len());
            let status = self.author.say(&words, "public").await?;
            let id = text(&status, "id")?;
            self.written
                .insert(format!("{}/statuses/{id}/activity", cluster.actor("ada")));
        }
        Ok(())
    }

    /// How many posts were acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.written.len()
    }

    /// From now on every host answers after so long.
    pub(crate) fn pace(&self, cluster: &Cluster, latency: Duration) {
        for host in &self.hosts {
            cluster
                .sim
                .set_behaviour(host, HostBehaviour::slow(latency));
        }
    }

    /// How many (post, host) pairs are still to come.
    pub(crate) fn missing(&self, cluster: &Cluster) -> usize {
        let there = cluster.sim.ledger().effects();
        let there = there
            .iter()
            .filter(|arrival| self.written.contains(&*arrival.activity))
            .count();
        self.written.len() * self.hosts.len() - there
    }

    /// Waits until every post is everywhere; how long that took.
    pub(crate) async fn arrive(
        &self,
        cluster: &Cluster,
        patience: Duration,
    ) -> anyhow::Result<Duration> {
        let started = Instant::now();
        while self.missing(cluster) > 0 {
            ensure!(
                started.elapsed() < patience,
                "{} pairs never came",
                self.missing(cluster)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(started.elapsed())
    }
}
