//! Finds every server of another role and keeps calls going to those that answer.
//!
//! The library balances over a set of addresses but never looks a name up again, and one name
//! may stand for many replicas that come and go. So each name is resolved anew and each address
//! knocked at; the set of those that open is what calls are spread over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, channel::Change};
use url::Url;

/// A new server must be in use within 10 s of its start; this leaves half of that for slow DNS.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// While no server opens at all, as when all roles start together, it looks sooner.
const LOOK_AGAIN_WHEN_NONE_OPENS: Duration = Duration::from_millis(500);

/// How long an address may take to accept a connection within one network.
const KNOCK_LIMIT: Duration = Duration::from_secs(1);

/// A connection on which a ping stays unanswered for so long is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Changes that may wait for the balancer; more than any instance has replicas.
const CHANGES: usize = 256;

/// A channel over all servers behind `urls` (separated by commas), and the task that keeps it up
/// to date until it is stopped.
pub(super) fn channel(
    urls: &str,
    stop: CancellationToken,
) -> anyhow::Result<(
    Channel,
    impl Future<Output = anyhow::Result<()>> + Send + use<>,
)> {
    let targets = parse(urls)?;
    let (channel, changes) = Channel::balance_channel::<SocketAddr>(CHANGES);
    Ok((channel, keep_up_to_date(targets, changes, stop)))
}

/// Host and port of one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
}

fn parse(urls: &str) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for text in urls.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let url = Url::parse(text).with_context(|| format!("`{text}` is not a URL"))?;
        if url.scheme() != "http" {
            bail!(
                "`{text}`: roles speak plain gRPC inside their own network; write http://host:port"
            );
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            bail!("`{text}` needs a host and a port");
        };
        targets.push(Target {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        });
    }
    if targets.is_empty() {
        bail!("no URL is given");
    }
    Ok(targets)
}

async fn keep_up_to_date(
    targets: Vec<Target>,
    changes: Sender<Change<SocketAddr, Endpoint>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut in_use = BTreeSet::new();
    loop {
        let (wanted, some_open) = look(&targets, &in_use).await;
        for change in differences(&in_use, &wanted) {
            let sent = match change {
                (address, true) => {
                    changes
                        .send(Change::Insert(address, endpoint(address)?))
                        .await
                }
                (address, false) => changes.send(Change::Remove(address)).await,
            };
            if sent.is_err() {
                // Every user of the channel is gone.
                return Ok(());
            }
        }
        in_use = wanted;
        let pause = if some_open {
            LOOK_AGAIN
        } else {
            LOOK_AGAIN_WHEN_NONE_OPENS
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The addresses to use: those that open. When none does, all that are known, so that calls fail
/// at once instead of waiting for a server until their deadline; when not even a name is known,
/// what was in use, because DNS itself may be away. Also says whether any opens.
async fn look(targets: &[Target], in_use: &BTreeSet<SocketAddr>) -> (BTreeSet<SocketAddr>, bool) {
    let mut known = BTreeSet::new();
    for target in targets {
        match timeout(
            KNOCK_LIMIT,
            lookup_host((target.host.as_str(), target.port)),
        )
        .await
        {
            Ok(Ok(addresses)) => known.extend(addresses),
            Ok(Err(error)) => {
                tracing::warn!(host = target.host, %error, "a role's name is unknown");
            }
            Err(_) => tracing::warn!(host = target.host, "DNS does not answer"),
        }
    }
    let knocks = known.iter().map(|address| async move {
        let open = timeout(KNOCK_LIMIT, TcpStream::connect(address)).await;
        (*address, matches!(open, Ok(Ok(_))))
    });
    let answers: BTreeMap<SocketAddr, bool> = futures::future::join_all(knocks)
        .await
        .into_iter()
        .collect();
    let open: BTreeSet<SocketAddr> = answers
        .into_iter()
        .filter_map(|(address, open)| open.then_some(address))
        .collect();
    match (open.is_empty(), known.is_empty()) {
        (false, _) => (open, true),
        (true, false) => (known, false),
        (true, true) => (in_use.clone(), false),
    }
}

/// What must change: `true` to insert, `false` to remove.
fn differences(
    in_use: &BTreeSet<SocketAddr>,
    wanted: &BTreeSet<SocketAddr>,
) -> Vec<(SocketAddr, bool)> {
    let inserted = wanted.difference(in_use).map(|address| (*address, true));
    let removed = in_use.difference(wanted).map(|address| (*address, false));
    inserted.chain(removed).collect()
}

fn endpoint(address: SocketAddr) -> anyhow::Result<Endpoint> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(KNOCK_LIMIT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_urls_are_read() {
        let targets = parse("http://delivery:4400, http://[::1]:4401").expect("two");
        assert_eq!(targets[0].host, "delivery");
        assert_eq!((targets[1].host.as_str(), targets[1].port), ("::1", 4401));
        for wrong in ["", "delivery:4400", "ftp://x", "https://x:1", "http://"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_differences_are_told() {
        let set = |ports: &[u16]| -> BTreeSet<SocketAddr> {
            ports
                .iter()
                .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
                .collect()
        };
        let told = differences(&set(&[1, 2]), &set(&[2, 3]));
        let ports: Vec<(u16, bool)> = told.iter().map(|(a, add)| (a.port(), *add)).collect();
        assert_eq!(ports, [(3, true), (1, false)]);
    }

    #[tokio::test]
    async fn only_servers_that_open_are_used_if_there_is_one() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("binds");
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("binds");
        let (open_at, closed_at) = (
            open.local_addr().expect("bound"),
            closed.local_addr().expect("bound"),
        );
        drop(closed);
        let targets = parse(&format!("http://{open_at},http://{closed_at}")).expect("two");
        let none = BTreeSet::new();
        assert_eq!(
            look(&targets, &none).await,
            (BTreeSet::from([open_at]), true)
        );
        drop(open);
        assert_eq!(
            look(&targets, &none).await,
            (BTreeSet::from([open_at, closed_at]), false)
        );
    }
}
