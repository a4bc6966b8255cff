//! The way out of the simulator: plain HTTP to loopback only, with names resolved from a table
//! of its own. A name that is in no table is the simulator itself.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Ready, ready},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tower::Service;

use crate::error::SimError;

/// Total time of one request, all of connect, send and answer. Long enough for a laptop under
/// load, short enough that a hanging peer does not hold a test for minutes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer that is read: twice what a server should ever send as a document.
const LARGEST_ANSWER: usize = 2 << 20;

/// Idle connections are closed before the usual 75 s of servers.
const IDLE: Duration = Duration::from_secs(20);

/// The simulator's own name table.
#[derive(Debug)]
pub(crate) struct Names {
    own: SocketAddr,
    table: RwLock<HashMap<String, SocketAddr>>,
}

impl Names {
    pub(crate) fn new(
        own: SocketAddr,
        table: impl IntoIterator<Item = (String, SocketAddr)>,
    ) -> Self {
        let table = table
            .into_iter()
            .map(|(name, to)| (name.to_ascii_lowercase(), to))
            .collect();
        Self {
            own,
            table: RwLock::new(table),
        }
    }

    pub(crate) fn set(&self, name: &str, to: SocketAddr) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(name.to_ascii_lowercase(), to);
    }

    /// Where a name leads. Port 0 means: the port of the URL.
    fn lookup(&self, name: &str) -> SocketAddr {
        let name = name.to_ascii_lowercase();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        match table.get(&name) {
            Some(address) => *address,
            None if name == "localhost" => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            None => self.own,
        }
    }
}

#[derive(Debug, Clone)]
struct NameService(Arc<Names>);

impl Service<Name> for NameService {
    type Response = std::iter::Once<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        ready(Ok(std::iter::once(self.0.lookup(name.as_str()))))
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most 2 MiB.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Sends requests; never follows a redirect, never repeats.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    client: Client<HttpConnector<NameService>, Full<Bytes>>,
}

impl Transport {
    pub(crate) fn new(names: Arc<Names>) -> Self {
        let mut connector = HttpConnector::new_with_resolver(NameService(names));
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { client }
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, SimError> {
        refuse_foreign_addresses(request.uri())?;
        let url = request.uri().to_string();
        let transport = |reason: String| SimError::Transport {
            url: url.clone(),
            reason,
        };
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| causes(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await;
            let body = body.map_err(|error| causes(&*error))?.to_bytes();
            Ok(Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
            })
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(result) => result.map_err(transport),
            Err(_) => Err(transport("no complete answer within 30 s".to_owned())),
        }
    }
}

/// A URL with a literal address that is not loopback never leaves this machine, whatever a
/// tested server asks us to fetch.
fn refuse_foreign_addresses(uri: &http::Uri) -> Result<(), SimError> {
    let host = uri.host().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if !address.is_loopback() => Err(SimError::Transport {
            url: uri.to_string(),
            reason: "the simulator talks to loopback only".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Binds a listening port, with an error that says what to do.
pub(crate) async fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener, SimError> {
    tokio::net::TcpListener::bind(address)
        .await
        .map_err(|source| {
            let hint = match source.kind() {
                io::ErrorKind::AddrInUse => {
                    "another process has this port; stop it, or choose another port (0 takes any)"
                }
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need more rights; choose a higher one"
                }
                _ => "choose an address of this machine, such as 127.0.0.1:0",
            };
            SimError::Bind {
                address,
                hint,
                source,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_where_the_table_says_and_else_to_the_simulator() {
        let own: SocketAddr = "127.0.0.1:9999".parse().expect("address");
        let tide: SocketAddr = "127.0.0.1:3000".parse().expect("address");
        let names = Names::new(own, [("Tide.test".to_owned(), tide)]);
        assert_eq!(names.lookup("tide.TEST"), tide);
        assert_eq!(names.lookup("alpha.sim.test"), own);
        assert_eq!(names.lookup("localhost").port(), 0);
        names.set("alpha.sim.test", tide);
        assert_eq!(names.lookup("alpha.sim.test"), tide);
    }

    #[test]
    fn literal_addresses_are_loopback_or_refused() {
        for (url, fine) in [
            ("http://127.0.0.1:80/", true),
            ("http://[::1]:80/", true),
            ("http://name.test/", true),
            ("http://10.0.0.1/", false),
            ("http://[fe80::1]/", false),
        ] {
            let uri = url.parse().expect("uri");
            assert_eq!(refuse_foreign_addresses(&uri).is_ok(), fine, "{url}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_a_hint() {
        let first = bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = first.local_addr().expect("bound");
        let error = bind(address).await.expect_err("taken").to_string();
        assert!(
            error.contains(&address.to_string()) && error.contains("another port"),
            "{error}"
        );
    }
}
