//! Hosts that no well-behaved library can play: bytes on a socket, with or without TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Rig;

/// What a healthy inbox says, and the connection stays open.
pub const TAKEN: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

/// What happens on a connection; the number counts connections from 0.
pub type Play = Arc<dyn Fn(TcpStream, usize) -> Running + Send + Sync>;

/// A connection that is being played.
pub type Running = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A scripted host. It plays until the test's runtime ends.
pub struct RawHost {
    pub address: SocketAddr,
    /// Connections that came.
    pub connections: Arc<AtomicUsize>,
}

impl RawHost {
    pub async fn start(play: Play) -> Self {
        Self::on(
            TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            play,
        )
    }

    fn on(listener: TcpListener, play: Play) -> Self {
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(play(stream, number));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// A host that reads a request on every connection, answers with these bytes and closes.
    pub async fn saying(answer: Vec<u8>) -> Self {
        let answer = Arc::new(answer);
        Self::start(Arc::new(move |mut stream, _| {
            let answer = Arc::clone(&answer);
            Box::pin(async move {
                if read_request(&mut stream).await {
                    let _gone = stream.write_all(&answer).await;
                }
            })
        }))
        .await
    }

    /// A host that takes everything.
    pub async fn healthy() -> Self {
        Self::healthy_on(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    /// The same at an address of the test's own.
    pub fn healthy_on(listener: TcpListener) -> Self {
        let play: Play = Arc::new(|mut stream, _| {
            Box::pin(async move {
                while read_request(&mut stream).await {
                    if stream.write_all(TAKEN).await.is_err() {
                        return;
                    }
                }
            })
        });
        Self::on(listener, play)
    }

    /// A host that answers every request over TLS with 202 and counts the requests.
    pub async fn with_tls(config: rustls::ServerConfig) -> (Self, Arc<AtomicUsize>) {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let host = Self::start(Arc::new(move |stream, _| {
            let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
            Box::pin(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                while read_request(&mut stream).await {
                    counter.fetch_add(1, Ordering::SeqCst);
                    if stream.write_all(TAKEN).await.is_err() {
                        return;
                    }
                }
            })
        }))
        .await;
        (host, requests)
    }
}

/// Reads one request with its body; false when the other side closed.
pub async fn read_request<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> bool {
    read_head(stream).await.is_some()
}

/// The same; returns its head in lower case.
pub async fn read_head<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |text| text.trim().parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}

impl Rig {
    /// Leads every name below `suffix` to this address.
    pub fn lead(&mut self, suffix: &str, address: SocketAddr) {
        let map = (suffix.to_owned(), address);
        self.options.egress.host_map.push(map);
    }

    /// The same with time-outs that no busy machine reaches by itself.
    pub fn patient(mut self, total: std::time::Duration) -> Self {
        self.options.egress.connect_timeout = std::time::Duration::from_secs(5);
        self.options.egress.total_timeout = total;
        self
    }

    /// Why the row of this activity was last not delivered.
    pub async fn last_error(&self, activity_id: i64, url: &str) -> Option<String> {
        sqlx::query_scalar(
            "select d.last_error from deliveries d join inboxes i on i.id = d.inbox_id
             where d.activity_id = $1 and i.url = $2",
        )
        .bind(activity_id)
        .bind(url)
        .fetch_one(self.pool())
        .await
        .expect("a row")
    }

    /// Waits until the last failure of a row has this class.
    pub async fn until_error(&self, activity_id: i64, url: &str, class: &str) {
        let deadline = tokio::time::Instant::now() + super::PATIENCE;
        loop {
            let found = self.last_error(activity_id, url).await;
            if found.as_deref() == Some(class) {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{url} failed of {found:?}, wanted {class}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// A metric's value; 0 when it is not there. `start` is its name and labels as they are shown.
pub fn metric(start: &str) -> f64 {
    let text = String::from_utf8(tidegate_telemetry::render()).expect("text");
    let value = |line: &str| line.strip_prefix(start)?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0.0)
}
