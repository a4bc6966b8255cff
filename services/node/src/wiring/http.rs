//! The HTTP server: bounded in connections and in the time that headers may take, and told
//! apart from the proxies in front of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Request};
use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tidegate_telemetry::Stop;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// Connections at once; below the usual limit of 65,536 open files, far above what one process
/// can answer. Further ones wait in the system's backlog.
const MAX_CONNECTIONS: usize = 16_384;

/// A client that needs longer to send its request's head does not mean to.
const HEAD_LIMIT: Duration = Duration::from_secs(15);

/// After an error that is the system's (no file handles left) accepting at once would only fail
/// again.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Serves until stopped; then requests in hand are finished, until the hard stop.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    trusted_proxies: Vec<IpNet>,
    stop: Stop,
) -> anyhow::Result<()> {
    let proxies: Arc<[IpNet]> = trusted_proxies.into();
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot?,
            () = stop.soft.cancelled() => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(AFTER_ERROR).await;
                    continue;
                }
            },
            () = stop.soft.cancelled() => break,
        };
        let connection = connection(
            stream,
            peer,
            router.clone(),
            Arc::clone(&proxies),
            &graceful,
        );
        let hard = stop.hard.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = connection => {}
                () = hard.cancelled() => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = stop.hard.cancelled() => {}
    }
    Ok(())
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    proxies: Arc<[IpNet]>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<> {
    // Answers are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let service = hyper_util::service::TowerToHyperService::new(tower::service_fn(
        move |mut request: Request<hyper::body::Incoming>| {
            let client = client_address(peer, request.headers(), &proxies);
            request.extensions_mut().insert(ConnectInfo(client));
            router.clone().oneshot(request)
        },
    ));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT);
    builder.http2().timer(TokioTimer::new());
    let serving = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned();
    let watched = graceful.watch(serving);
    async move {
        if let Err(error) = watched.await {
            // The client went away, or spoke something else than HTTP: its business.
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Who is asking: the peer, or what trusted proxies say about it. Each proxy appends the address
/// that it saw, so the list is read from its end for as long as the speaker is trusted; anything
/// further left was written by a stranger.
fn client_address(peer: SocketAddr, headers: &HeaderMap, proxies: &[IpNet]) -> SocketAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|network| network.contains(&address));
    let mut client = peer.ip().to_canonical();
    let forwarded = headers
        .get_all("x-forwarded-for")
        .iter()
        .rev()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.rsplit(','));
    for text in forwarded {
        if !trusted(client) {
            break;
        }
        let Ok(address) = text.trim().parse::<IpAddr>() else {
            break;
        };
        client = address.to_canonical();
    }
    if client == peer.ip().to_canonical() {
        return SocketAddr::new(client, peer.port());
    }
    // The port of somebody behind a proxy is not known.
    SocketAddr::new(client, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let proxies = ["10.0.0.0/8".parse().expect("a network")];
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("a header"));
        }
        let peer = SocketAddr::new(peer.parse().expect("an address"), 1234);
        client_address(peer, &headers, &proxies).ip().to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("203.0.113.5", &["198.51.100.1"]), "203.0.113.5");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_a_stranger_put_before_the_proxies_words_is_ignored() {
        assert_eq!(
            client("10.0.0.1", &["127.0.0.1, 198.51.100.1"]),
            "198.51.100.1"
        );
        assert_eq!(
            client("10.0.0.1", &["127.0.0.1", "198.51.100.1, 10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
    }
}
