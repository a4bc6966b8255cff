//! A TCP proxy that breaks: for tests of outages, without touching the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Bytes pass after this long.
    Fair(Duration),
    /// Connections stay, nothing passes.
    Frozen,
    /// Connections are closed, new ones too.
    Cut,
}

/// A proxy in front of one server. It ends with the value.
pub struct BreakableProxy {
    /// Where to connect instead.
    pub address: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    _accepting: AbortOnDropHandle<()>,
}

impl BreakableProxy {
    /// Listens on a free port of 127.0.0.1 and passes everything to `upstream` (`host:port`).
    pub async fn start(upstream: impl Into<String>) -> Self {
        Self::balancing(vec![upstream.into()]).await
    }

    /// The same in front of several servers: each connection goes to the next one that answers.
    pub async fn balancing(upstreams: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has one");
        let (weather, _) = watch::channel(Weather::Fair(Duration::ZERO));
        let weather = Arc::new(weather);
        let accepting = tokio::spawn(accept(listener, upstreams, Arc::clone(&weather)));
        Self {
            address,
            weather,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// Closes every connection and refuses new ones.
    pub fn cut(&self) {
        self.weather.send_replace(Weather::Cut);
    }

    /// Lets connections stand and bytes wait, as a silent network does.
    pub fn freeze(&self) {
        self.weather.send_replace(Weather::Frozen);
    }

    /// As it was at the start.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
    }

    /// Holds every chunk of bytes for this long, in each direction.
    pub fn delay(&self, latency: Duration) {
        self.weather.send_replace(Weather::Fair(latency));
    }
}

async fn accept(
    listener: TcpListener,
    mut upstreams: Vec<String>,
    weather: Arc<watch::Sender<Weather>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *weather.borrow() == Weather::Cut {
            continue;
        }
        let (order, weather) = (upstreams.clone(), weather.subscribe());
        upstreams.rotate_left(1);
        tokio::spawn(async move {
            for upstream in order {
                if let Ok(server) = TcpStream::connect(upstream).await {
                    return pass_both(client, server, weather).await;
                }
            }
        });
    }
}

async fn pass_both(client: TcpStream, server: TcpStream, mut weather: watch::Receiver<Weather>) {
    let _faster = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let (up, down) = (weather.clone(), weather.clone());
    tokio::select! {
        () = async {
            tokio::join!(
                pass(client_read, server_write, up),
                pass(server_read, client_write, down),
            );
        } => {}
        // Also when the proxy is gone.
        _ = weather.wait_for(|now| *now == Weather::Cut) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let fair = weather
            .wait_for(|now| matches!(now, Weather::Fair(_)))
            .await;
        let Ok(Weather::Fair(latency)) = fair.map(|now| *now) else {
            return;
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    let _closed = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo server and a proxy before it.
    async fn echo() -> BreakableProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ended = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        BreakableProxy::start(address.to_string()).await
    }

    async fn ping(stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_cut_closes_and_healing_lets_in_again() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.expect("connects");
        ping(&mut stream).await.expect("passes");
        proxy.cut();
        ping(&mut stream).await.expect_err("closed");
        proxy.heal();
        let mut stream = TcpStream::connect(proxy.address).await.expect("connects");
        ping(&mut stream).await.expect("passes again");
    }

    #[tokio::test]
    async fn a_frozen_connection_goes_on_when_it_thaws() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.expect("connects");
        proxy.freeze();
        let silent = tokio::time::timeout(Duration::from_millis(100), ping(&mut stream)).await;
        assert!(silent.is_err());
        proxy.heal();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.expect("passes late");
    }

    #[tokio::test]
    async fn latency_holds_every_answer() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.expect("connects");
        proxy.delay(Duration::from_millis(50));
        let start = tokio::time::Instant::now();
        ping(&mut stream).await.expect("passes");
        assert!(start.elapsed() >= Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_passed_over() {
        let (one, other) = (echo().await, echo().await);
        let upstreams = [&one, &other].map(|proxy| proxy.address.to_string());
        let balancer = BreakableProxy::balancing(upstreams.to_vec()).await;
        drop(one);
        // Whichever is first for a connection.
        for _ in 0..3 {
            let mut stream = TcpStream::connect(balancer.address).await.expect("accepts");
            ping(&mut stream).await.expect("passes");
        }
    }
}
