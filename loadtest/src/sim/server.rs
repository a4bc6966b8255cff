//! The one listening port: takes connections, finds the simulated host by its name, writes
//! everything down, answers.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Sim,
    answer::{self, Body},
    line::{Condition, Line},
};
use crate::signature::RequestView;

/// Connections open at once. Senders keep one or two per simulated host, and there can be
/// thousands of hosts.
const CONNECTIONS: usize = 16_384;

/// A connection without a request is closed after this time, as nginx does by default.
const IDLE: Duration = Duration::from_secs(75);

/// A request as it came in, read to its end.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) at: SystemTime,
    pub(super) method: Method,
    pub(super) host: String,
    pub(super) host_header: String,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// How it came: `http` or `https`.
    pub(super) scheme: &'static str,
}

impl Arrived {
    /// What a signature can cover.
    pub(super) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            scheme: self.scheme,
            host: &self.host_header,
            target: &self.target,
            headers: &self.headers,
            body: &self.body,
        }
    }
}

/// How a request ends.
pub(super) enum Outcome {
    Answer(Response<Body>),
    /// Cut the connection with a TCP reset.
    Reset,
}

/// Serves until the simulator is shut down; over TLS when there is an acceptor.
pub(super) async fn serve(sim: Sim, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("never closed");
        let accepted = tokio::select! {
            () = sim.shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(sim.clone(), stream, tls.clone());
                sim.shared.tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection (out of file descriptors?)");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(sim: Sim, stream: TcpStream, tls: Option<TlsAcceptor>) {
    // Answers are small; without this each waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let condition = Arc::<Condition>::default();
    let stream = Line::new(stream, Arc::clone(&condition));
    let Some(tls) = tls else {
        return speak(sim, stream, "http", condition).await;
    };
    match tokio::time::timeout(IDLE, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            sim.shared.handshakes.fetch_add(1, Ordering::Relaxed);
            speak(sim, stream, "https", condition).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "no handshake"),
        Err(_) => tracing::debug!("no handshake in time"),
    }
}

async fn speak(
    sim: Sim,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    scheme: &'static str,
    condition: Arc<Condition>,
) {
    let io = TokioIo::new(stream);
    let stop = sim.shared.stop.clone();
    let service =
        service_fn(move |request| respond(sim.clone(), request, scheme, Arc::clone(&condition)));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(io, service);
    tokio::pin!(serving);
    let cut = async {
        stop.cancelled().await;
        // Time for answers that are ready; whatever hangs on purpose is cut.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::select! {
        result = serving.as_mut() => if let Err(error) = result {
            tracing::debug!(%error, "connection ended");
        },
        () = cut => {}
    }
}

/// The error that makes hyper drop a connection.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
struct Cut;

async fn respond(
    sim: Sim,
    request: Request<Incoming>,
    scheme: &'static str,
    condition: Arc<Condition>,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let host_header = match parts.headers.get("host").map(http::HeaderValue::to_str) {
        Some(Ok(host)) => host.to_owned(),
        _ => return Ok(answer::status(StatusCode::BAD_REQUEST)),
    };
    let host = host_header
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if let Some(known) = sim.shared.world.host(&host) {
        condition.pace(known.behaviour().habits.bytes_per_second);
    }
    let body = match Limited::new(body, sim.shared.largest_body).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(answer::status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Err(_) => return Err(Cut),
    };
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let arrived = Arrived {
        at: SystemTime::now(),
        method: parts.method,
        host,
        host_header,
        target: target.to_owned(),
        headers: parts.headers,
        body,
        scheme,
    };
    match sim.handle(arrived).await {
        Outcome::Answer(response) => Ok(response),
        Outcome::Reset => {
            condition.end_with_a_reset();
            Err(Cut)
        }
    }
}

/// Bodies of this server cannot fail.
pub(super) type Never = Infallible;
