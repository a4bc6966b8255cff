//! Calls between roles: the same generated clients and servers, over TCP between processes and
//! over a pipe inside one.

use http::Uri;
use hyper_util::rt::TokioIo;
use tidegate_proto::{Rpc, RpcAuth};
use tidegate_telemetry::Stop;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};

/// Bytes that one direction of a pipe holds before its writer waits; HTTP/2 frames are 16 kB.
const PIPE_BYTES: usize = 64 * 1024;

/// Pipes that wait to be taken up; the clients of one process open a handful.
const PIPES: usize = 16;

/// A call over `channel` that carries the token.
pub(super) fn authenticated(channel: Channel, auth: &RpcAuth) -> Rpc {
    InterceptedService::new(channel, auth.clone())
}

/// The two ends of calls inside this process.
pub(super) struct Pipe {
    pub(super) channel: Channel,
    incoming: mpsc::Receiver<DuplexStream>,
}

/// A channel to ourselves; connects when the first call is made.
pub(super) fn pipe() -> Pipe {
    let (sender, incoming) = mpsc::channel(PIPES);
    let connector = tower::service_fn(move |_: Uri| {
        let sender = sender.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            sender
                .send(theirs)
                .await
                .map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
            Ok::<_, std::io::Error>(TokioIo::new(ours))
        }
    });
    let channel = Endpoint::from_static("http://in-process").connect_with_connector_lazy(connector);
    Pipe { channel, incoming }
}

/// Serves `routes` to the other end of the pipe until stopped.
pub(super) async fn serve_pipe(
    routes: Routes,
    incoming: mpsc::Receiver<DuplexStream>,
    stop: Stop,
) -> anyhow::Result<()> {
    use futures::StreamExt;
    let incoming = ReceiverStream::new(incoming).map(Ok::<_, std::io::Error>);
    let serving = Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.soft.clone().cancelled_owned());
    finish(serving, stop.clone()).await?;
    // A process whose roles all call elsewhere has no user of the pipe, which ends the serving.
    stop.soft.cancelled().await;
    Ok(())
}

impl Pipe {
    /// The client's end and the server's end.
    pub(super) fn split(self) -> (Channel, mpsc::Receiver<DuplexStream>) {
        (self.channel, self.incoming)
    }
}

/// Serves `routes` over TCP until stopped.
pub(super) async fn serve_tcp(
    routes: Routes,
    listener: TcpListener,
    stop: Stop,
) -> anyhow::Result<()> {
    let serving = Server::builder()
        .tcp_nodelay(true)
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            TcpListenerStream::new(listener),
            stop.soft.clone().cancelled_owned(),
        );
    finish(serving, stop).await
}

/// An orderly end waits for every open connection, and clients in other processes keep theirs
/// open: what is not over at the hard stop is cut off.
async fn finish(
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    stop: Stop,
) -> anyhow::Result<()> {
    tokio::select! {
        result = serving => Ok(result?),
        () = stop.hard.cancelled() => Ok(()),
    }
}
