//! `GET /api/v1/streaming/health`. Streaming itself is not built: clients that are told 404
//! fall back to polling.

pub(crate) async fn health() -> &'static str {
    "OK"
}
