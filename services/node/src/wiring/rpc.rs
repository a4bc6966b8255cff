//! Calls between roles: the same generated clients and servers, over TCP between processes and
//! over a pipe inside one.

use std::time::Duration;

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
use tower::layer::util::{Identity, Stack};

use super::rpc_metrics::CountCalls;

/// Bytes that one direction of a pipe holds before its writer waits; HTTP/2 frames are 16 kB.
const PIPE_BYTES: usize = 64 * 1024;

/// Pipes that wait to be taken up; the clients of one process open a handful.
const PIPES: usize = 16;

/// The longest that any call may take, whatever deadline its caller set or forgot to set: above
/// the longest of all calls, which is one fetch of something remote with all its redirects.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// What every server between roles has in common.
fn server() -> Server<Stack<CountCalls, Identity>> {
    Server::builder().timeout(CALL_LIMIT).layer(CountCalls)
}

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
    let serving = server()
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
    let serving = server()
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tidegate_proto::fanout::v1::timelines_client::TimelinesClient;
    use tidegate_proto::fanout::v1::timelines_server::{Timelines, TimelinesServer};
    use tidegate_proto::fanout::v1::{RebuildRequest, RebuildResponse};
    use tonic::Code;

    use super::super::discovery;
    use super::*;

    /// Answers with its own number as the state, so that a test sees who answered.
    struct Numbered(i32);

    #[tonic::async_trait]
    impl Timelines for Numbered {
        async fn rebuild(
            &self,
            _: tonic::Request<RebuildRequest>,
        ) -> Result<tonic::Response<RebuildResponse>, tonic::Status> {
            Ok(tonic::Response::new(RebuildResponse { state: self.0 }))
        }
    }

    fn auth(token: &str) -> RpcAuth {
        RpcAuth::new(token).expect("printable")
    }

    fn routes(number: i32) -> Routes {
        Routes::new(InterceptedService::new(
            TimelinesServer::new(Numbered(number)),
            auth("right").required(),
        ))
    }

    async fn call(channel: &Channel, token: &str) -> Result<i32, Code> {
        let mut client = TimelinesClient::new(authenticated(channel.clone(), &auth(token)));
        let mut request = tonic::Request::new(RebuildRequest::default());
        request.set_timeout(Duration::from_secs(5));
        match client.rebuild(request).await {
            Ok(answer) => Ok(answer.into_inner().state),
            Err(status) => Err(status.code()),
        }
    }

    #[tokio::test]
    async fn calls_inside_the_process_need_the_token_too() {
        let stop = Stop::default();
        let (channel, incoming) = pipe().split();
        let serving = tokio::spawn(serve_pipe(routes(7), incoming, stop.clone()));
        assert_eq!(call(&channel, "right").await, Ok(7));
        assert_eq!(call(&channel, "wrong").await, Err(Code::Unauthenticated));
        stop.stop_softly();
        serving.await.expect("no panic").expect("ends well");
    }

    #[tokio::test]
    async fn a_second_server_is_found_and_used_within_ten_seconds_and_forgotten_when_it_ends() {
        let first = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let second = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = |listener: &TcpListener| listener.local_addr().expect("bound");
        let (first_at, second_at) = (address(&first), address(&second));
        // Its address is known from the start, but nobody is there yet.
        drop(second);
        let stop = Stop::default();
        tokio::spawn(serve_tcp(routes(1), first, stop.clone()));
        let urls = format!("http://{first_at},http://{second_at}");
        let (channel, task) = discovery::channel(&urls, stop.soft.clone()).expect("two addresses");
        tokio::spawn(task);
        for _ in 0..20 {
            assert_eq!(call(&channel, "right").await, Ok(1));
        }

        let second_stop = Stop::default();
        let second = TcpListener::bind(second_at).await.expect("still free");
        let serving = tokio::spawn(serve_tcp(routes(2), second, second_stop.clone()));
        let started = Instant::now();
        while call(&channel, "right").await != Ok(2) {
            assert!(started.elapsed() < Duration::from_secs(10), "never used");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        second_stop.stop_now();
        serving.await.expect("no panic").expect("ends well");
        tokio::time::sleep(Duration::from_secs(7)).await;
        for _ in 0..20 {
            assert_eq!(call(&channel, "right").await, Ok(1));
        }
        stop.stop_now();
    }
}
