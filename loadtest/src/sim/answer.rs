//! Bodies of answers, good and evil.

use std::{io::Write, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::{StreamExt, stream};
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde_json::Value;

use super::server::{Never, Outcome};
use crate::behaviour::Fault;

/// The body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Never>;

/// What a server of the fediverse says its documents are.
pub(super) const ACTIVITY_JSON: &str = "application/activity+json; charset=utf-8";

/// Size of the pieces in which large bodies go out.
const PIECE: usize = 64 << 10;

/// The largest bomb: 1 MB compressed, made in about a second.
const LARGEST_BOMB: u64 = 1 << 30;

/// A status with an empty body.
pub(super) fn status(code: StatusCode) -> Response<Body> {
    with_body(code, None, Bytes::new())
}

/// A document.
pub(super) fn json(code: StatusCode, content_type: &str, value: &Value) -> Response<Body> {
    with_body(code, Some(content_type), Bytes::from(value.to_string()))
}

/// Any whole body.
pub(super) fn with_body(
    code: StatusCode,
    content_type: Option<&str>,
    body: Bytes,
) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = code;
    if let Some(value) = content_type.and_then(|text| text.parse().ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

fn later(code: StatusCode, retry_after: &str) -> Response<Body> {
    let mut response = status(code);
    if let Ok(value) = retry_after.parse() {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// Bends a healthy answer as a fault says. Hanging takes its time here.
pub(super) async fn bend(healthy: Response<Body>, fault: &Fault) -> Outcome {
    let response = match fault {
        Fault::Ok | Fault::Overwrite { .. } => healthy,
        Fault::Status { code } => status(known(*code)),
        Fault::TooManyRequests { retry_after } => later(StatusCode::TOO_MANY_REQUESTS, retry_after),
        Fault::Busy { retry_after } => later(StatusCode::SERVICE_UNAVAILABLE, retry_after),
        Fault::Hang { millis } => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
            return Outcome::Reset;
        }
        Fault::Trickle {
            interval_millis,
            bytes,
        } => trickle(healthy, *interval_millis, *bytes),
        Fault::Reset | Fault::LoseAnswer => return Outcome::Reset,
        Fault::Redirect { code, to } => {
            let mut response = status(known(*code));
            if let Ok(value) = to.parse() {
                response.headers_mut().insert(header::LOCATION, value);
            }
            response
        }
        Fault::HugeBody { bytes } => huge(*bytes),
        Fault::GzipBomb { bytes } => bomb(*bytes).await,
        Fault::ContentType { value } => {
            let mut response = healthy;
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(header::CONTENT_TYPE, value);
            }
            response
        }
    };
    Outcome::Answer(response)
}

fn known(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn streamed(healthy: Option<Response<Body>>, body: Body) -> Response<Body> {
    let mut response =
        healthy.unwrap_or_else(|| with_body(StatusCode::OK, Some(ACTIVITY_JSON), Bytes::new()));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = body;
    response
}

/// A JSON document that never quite ends: an opening brace, then spaces.
fn trickle(healthy: Response<Body>, interval_millis: u64, bytes: u64) -> Response<Body> {
    let pause = Duration::from_millis(interval_millis);
    let drops = stream::iter(0..bytes).then(move |index| async move {
        tokio::time::sleep(pause).await;
        let drop: &'static [u8] = if index == 0 { b"{" } else { b" " };
        Ok(Frame::data(Bytes::from_static(drop)))
    });
    streamed(Some(healthy), StreamBody::new(drops).boxed_unsync())
}

fn huge(bytes: u64) -> Response<Body> {
    let piece = Bytes::from(vec![b' '; PIECE]);
    let pieces = (0..bytes.div_ceil(PIECE as u64)).map(move |index| {
        let rest = bytes - index * PIECE as u64;
        Ok(Frame::data(piece.slice(..rest.min(PIECE as u64) as usize)))
    });
    streamed(None, StreamBody::new(stream::iter(pieces)).boxed_unsync())
}

async fn bomb(bytes: u64) -> Response<Body> {
    let packed = tokio::task::spawn_blocking(move || packed_spaces(bytes.min(LARGEST_BOMB))).await;
    let mut response = with_body(
        StatusCode::OK,
        Some(ACTIVITY_JSON),
        packed.expect("packing cannot panic"),
    );
    response.headers_mut().insert(
        header::CONTENT_ENCODING,
        header::HeaderValue::from_static("gzip"),
    );
    response
}

fn packed_spaces(bytes: u64) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let piece = vec![b' '; PIECE];
    let mut rest = bytes;
    while rest > 0 {
        let length = rest.min(PIECE as u64);
        encoder
            .write_all(&piece[..length as usize])
            .expect("memory takes every write");
        rest -= length;
    }
    Bytes::from(encoder.finish().expect("memory takes every write"))
}
