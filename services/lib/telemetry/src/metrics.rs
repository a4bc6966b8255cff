//! Metrics in the process-wide registry of the `prometheus` crate.
//!
//! A metric is a documented static where it is counted, made by one of the macros below; the
//! doc comment is for readers of the code, the help text for readers of the dashboard. Names are
//! `tidegate_<role>_<noun>_<unit>[_total]` in base units. A remote host is never a label.

use axum::{Router, http::header, response::IntoResponse, routing::get};
use prometheus::{Encoder, TextEncoder};

/// A counter that only grows: `counter!("tidegate_x_total", "Help.")`, with labels
/// `counter!("tidegate_x_total", "Help.", ["outcome"])`.
#[macro_export]
macro_rules! counter {
    ($name:expr, $help:expr) => {
        ::std::sync::LazyLock::new(|| {
            $crate::prometheus::register_int_counter!($name, $help)
                .expect("a metric is registered once, by the static that holds it")
        })
    };
    ($name:expr, $help:expr, $labels:expr) => {
        ::std::sync::LazyLock::new(|| {
            $crate::prometheus::register_int_counter_vec!($name, $help, &$labels)
                .expect("a metric is registered once, by the static that holds it")
        })
    };
}

/// A value that goes up and down, in the same two forms as `counter!`; whole numbers.
#[macro_export]
macro_rules! gauge {
    ($name:expr, $help:expr) => {
        ::std::sync::LazyLock::new(|| {
            $crate::prometheus::register_int_gauge!($name, $help)
                .expect("a metric is registered once, by the static that holds it")
        })
    };
    ($name:expr, $help:expr, $labels:expr) => {
        ::std::sync::LazyLock::new(|| {
            $crate::prometheus::register_int_gauge_vec!($name, $help, &$labels)
                .expect("a metric is registered once, by the static that holds it")
        })
    };
}

/// A histogram of seconds with labels: `histogram!("tidegate_x_seconds", "Help.", ["route"],
/// vec![0.01, 0.1, 1.0])`.
#[macro_export]
macro_rules! histogram {
    ($name:expr, $help:expr, $labels:expr, $buckets:expr) => {
        ::std::sync::LazyLock::new(|| {
            $crate::prometheus::register_histogram_vec!($name, $help, &$labels, $buckets)
                .expect("a metric is registered once, by the static that holds it")
        })
    };
}

/// Everything counted so far, in the text format that Prometheus scrapes.
pub fn render() -> Vec<u8> {
    let mut out = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&prometheus::gather(), &mut out) {
        tracing::error!(%error, "metrics could not be written");
    }
    out
}

/// `GET /metrics`, for a port of its own.
pub fn metrics_router() -> Router {
    Router::new().route("/metrics", get(serve))
}

async fn serve() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        render(),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    static SEEN: LazyLock<prometheus::IntCounter> =
        counter!("tidegate_test_seen_total", "Times that a test looked.");

    #[test]
    fn a_counted_thing_is_rendered() {
        SEEN.inc();
        let text = String::from_utf8(super::render()).expect("text");
        assert!(text.contains("tidegate_test_seen_total 1"), "{text}");
    }
}
