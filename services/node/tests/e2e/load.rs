//! One author, a follower on each of some hosts, and whether every post arrived everywhere.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::ensure;
use tidegate_loadtest::HostBehaviour;

use crate::client::{Client, eventually, text};
use crate::cluster::Cluster;

/// What was written so far.
pub(crate) struct Load {
    author: Client,
    hosts: Vec<String>,
    /// The Create of each post.
    written: HashMap<String, Post>,
}

/// A post that was acknowledged.
#[derive(Debug, Clone, Copy)]
struct Post {
    /// Which one it is, from 0.
    number: usize,
    /// When it was sent off, in microseconds of Unix time: as the ledger counts.
    sent_micros: u64,
}

fn now_micros() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_micros() as u64
}

/// How long posts took from being sent off to being taken by a host.
#[derive(Debug)]
pub(crate) struct Lags(Vec<Duration>);

impl Lags {
    /// So many of a thousand took no longer.
    pub(crate) fn permille(&self, share: usize) -> Duration {
        let index = (self.0.len() * share).div_ceil(1_000).max(1) - 1;
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Lags {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (median, most) = (self.permille(500), self.permille(990));
        let count = self.0.len();
        write!(
            to,
            "{count} deliveries, median {median:.0?}, p99 {most:.0?}"
        )
    }
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
            written: HashMap::new(),
        })
    }

    /// Writes posts; each must be acknowledged at the first try.
    pub(crate) async fn write(&mut self, cluster: &Cluster, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            let post = Post {
                number: self.written.len(),
                sent_micros: now_micros(),
            };
            let words = format!("number {}", post.number);
            let status = self.author.say(&words, "public").await?;
            let id = text(&status, "id")?;
            let activity = format!("{}/statuses/{id}/activity", cluster.actor("ada"));
            self.written.insert(activity, post);
        }
        Ok(())
    }

    /// Writes a post every `pause`, or as fast as they are acknowledged, for so long.
    pub(crate) async fn write_for(
        &mut self,
        cluster: &Cluster,
        length: Duration,
        pause: Duration,
    ) -> anyhow::Result<()> {
        let mut clock = tokio::time::interval(pause);
        let started = Instant::now();
        while started.elapsed() < length {
            clock.tick().await;
            self.write(cluster, 1).await?;
        }
        Ok(())
    }

    /// How long the posts from `since` on took to those of `hosts` that have them.
    pub(crate) fn lags(&self, cluster: &Cluster, since: usize, hosts: &[String]) -> Lags {
        let arrivals = cluster.sim.ledger().arrivals().into_iter();
        let mut lags: Vec<Duration> = arrivals
            .filter(|(arrival, _)| hosts.iter().any(|host| **host == *arrival.host))
            .filter(|(_, counts)| counts.taken > 0)
            .filter_map(|(arrival, counts)| {
                let post = self.written.get(&*arrival.activity)?;
                let lag = counts.first_taken_micros.saturating_sub(post.sent_micros);
                (post.number >= since).then_some(Duration::from_micros(lag))
            })
            .collect();
        lags.sort_unstable();
        Lags(lags)
    }

    /// From when the first to when the last of the posts from `since` on was taken.
    pub(crate) fn span(&self, cluster: &Cluster, since: usize) -> Duration {
        let arrivals = cluster.sim.ledger().arrivals().into_iter();
        let taken = arrivals.filter_map(|(arrival, counts)| {
            let post = self.written.get(&*arrival.activity)?;
            (post.number >= since && counts.taken > 0).then_some(counts.first_taken_micros)
        });
        let (first, last) = taken.fold((u64::MAX, 0), |(first, last), at| {
            (first.min(at), last.max(at))
        });
        Duration::from_micros(last.saturating_sub(first))
    }

    /// Requests beyond the first, over all posts and hosts.
    pub(crate) fn repeats(&self, cluster: &Cluster) -> u32 {
        let arrivals = cluster.sim.ledger().arrivals().into_iter();
        arrivals
            .filter(|(arrival, _)| self.written.contains_key(&*arrival.activity))
            .map(|(_, counts)| counts.attempts - 1)
            .sum()
    }

    /// Requests to one host so far.
    pub(crate) fn attempts(&self, cluster: &Cluster, host: &str) -> u32 {
        let arrivals = cluster.sim.ledger().arrivals().into_iter();
        arrivals
            .filter(|(arrival, _)| *arrival.host == *host)
            .filter(|(arrival, _)| self.written.contains_key(&*arrival.activity))
            .map(|(_, counts)| counts.attempts)
            .sum()
    }

    /// How many posts were acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.written.len()
    }

    /// From now on these hosts behave so.
    pub(crate) fn behave(cluster: &Cluster, hosts: &[String], habits: &HostBehaviour) {
        for host in hosts {
            cluster.sim.set_behaviour(host, habits.clone());
        }
    }

    /// From now on every host answers after so long.
    pub(crate) fn pace(&self, cluster: &Cluster, latency: Duration) {
        Self::behave(cluster, &self.hosts, &HostBehaviour::slow(latency));
    }

    /// How many (post, host) pairs are still to come.
    pub(crate) fn missing(&self, cluster: &Cluster) -> usize {
        let there = cluster.sim.ledger().effects();
        let there = there
            .iter()
            .filter(|arrival| self.written.contains_key(&*arrival.activity))
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
