//! Liveness and readiness, on the port of the metrics.
//!
//! Liveness says that the process answers at all: restarting it would mend nothing else.
//! Readiness asks the parts that requests need, and is false while starting and stopping.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use futures::future::{BoxFuture, join_all};
use tokio::time::timeout;

/// How long a part may take to answer a probe: below the usual probe time-out of orchestrators.
const PROBE_LIMIT: Duration = Duration::from_millis(800);

/// Asks one part whether it works; the error is a sentence for the operator.
pub(crate) type Probe = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// What readiness is made of. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Health {
    serving: Arc<AtomicBool>,
    probes: Arc<std::sync::RwLock<Vec<(&'static str, Probe)>>>,
}

impl Health {
    /// Adds a part that readiness depends on.
    pub(crate) fn depend_on(&self, name: &'static str, probe: Probe) {
        self.probes
            .write()
            .expect("no holder of this lock panics")
            .push((name, probe));
    }

    /// Says that the node takes work, or that it no longer does.
    pub(crate) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::SeqCst);
    }

    /// Whether work may be sent here, with one line for each part.
    pub(crate) async fn report(&self) -> (bool, String) {
        let serving = self.serving.load(Ordering::SeqCst);
        let probes = self
            .probes
            .read()
            .expect("no holder of this lock panics")
            .clone();
        let answers = join_all(
            probes
                .iter()
                .map(|(_, probe)| timeout(PROBE_LIMIT, probe())),
        )
        .await;
        let mut ready = serving;
        let mut text = format!("serving: {}\n", if serving { "yes" } else { "no" });
        for ((name, _), answer) in probes.iter().zip(answers) {
            let line = match answer {
                Ok(Ok(())) => "ok".to_owned(),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "does not answer".to_owned(),
            };
            ready &= line == "ok";
            let _ = writeln!(text, "{name}: {line}");
        }
        (ready, text)
    }
}

/// `/health/live` and `/health/ready`.
pub(crate) fn router(health: Health) -> Router {
    Router::new()
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", get(ready))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    let (ready, text) = health.report().await;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(result: Result<(), &'static str>) -> Probe {
        Arc::new(move || Box::pin(async move { result.map_err(anyhow::Error::msg) }))
    }

    #[tokio::test]
    async fn readiness_follows_serving_and_every_part() {
        let health = Health::default();
        health.depend_on("database", probe(Ok(())));
        assert!(!health.report().await.0);
        health.set_serving(true);
        assert!(health.report().await.0);
        health.depend_on("queue", probe(Err("the broker is away")));
        let (ready, text) = health.report().await;
        assert!(!ready);
        assert!(text.contains("queue: the broker is away"), "{text}");
        assert!(text.contains("database: ok"), "{text}");
    }

    #[tokio::test]
    async fn a_part_that_hangs_is_not_waited_for() {
        let health = Health::default();
        health.set_serving(true);
        health.depend_on("database", Arc::new(|| Box::pin(std::future::pending())));
        let (ready, text) = health.report().await;
        assert!(!ready);
        assert!(text.contains("does not answer"), "{text}");
    }
}
