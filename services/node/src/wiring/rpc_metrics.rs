//! Counts every call between roles, under names from a fixed list: whoever reaches the port can
//! make up paths, and must not be able to make up labels.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use http::{Request, Response};
use tidegate_telemetry::prometheus::{HistogramVec, IntCounterVec};
use tidegate_telemetry::{counter, histogram};
use tokio::time::Instant;
use tonic::Code;
use tower::{Layer, Service};

/// Every call that a role offers, as service and method.
const KNOWN: [(&str, &str); 16] = [
    ("tidegate.delivery.v1.Egress", "ResolveHandle"),
    ("tidegate.delivery.v1.Egress", "FetchObject"),
    ("tidegate.delivery.v1.Egress", "FetchKey"),
    ("tidegate.delivery.v1.Deliveries", "Count"),
    ("tidegate.delivery.v1.Deliveries", "List"),
    ("tidegate.delivery.v1.Deliveries", "Replay"),
    ("tidegate.delivery.v1.Deliveries", "Purge"),
    ("tidegate.delivery.v1.Deliveries", "PerStatus"),
    ("tidegate.delivery.v1.Hosts", "List"),
    ("tidegate.delivery.v1.Hosts", "Show"),
    ("tidegate.delivery.v1.Hosts", "Pause"),
    ("tidegate.delivery.v1.Hosts", "Resume"),
    ("tidegate.delivery.v1.Hosts", "ProbeNow"),
    ("tidegate.fanout.v1.Timelines", "Rebuild"),
    ("grpc.health.v1.Health", "Check"),
    ("grpc.health.v1.Health", "Watch"),
];

/// For every path that is not in the list.
const UNKNOWN: (&str, &str) = ("other", "other");

static REQUESTS: LazyLock<IntCounterVec> = counter!(
    "tidegate_rpc_requests_total",
    "Calls between roles that this process answered; Cancelled also counts those that ran out of time.",
    ["service", "method", "code"]
);

/// From a call inside one process (1 ms) to the default deadline (30 s).
static SECONDS: LazyLock<HistogramVec> = histogram!(
    "tidegate_rpc_request_seconds",
    "Time from a call between roles to its answer.",
    ["service", "method"],
    vec![0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0]
);

/// Puts counting around the services of a server.
#[derive(Clone, Copy)]
pub(super) struct CountCalls;

impl<S> Layer<S> for CountCalls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counted { inner }
    }
}

/// Services whose calls are counted.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
}

impl<S, In, Out> Service<Request<In>> for Counted<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    Out: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let mut call = Call::of(request.uri().path());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let answer = answering.await;
            // A method, so that the whole call is moved in here and counted when this is dropped.
            call.answered(match &answer {
                Ok(response) => code(response),
                Err(_) => Code::Internal,
            });
            answer
        })
    }
}

/// A refusal is told in the head of the answer; an answer without is one.
fn code<B>(response: &Response<B>) -> Code {
    response
        .headers()
        .get("grpc-status")
        .map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

/// A call that is counted when it ends, in whichever way.
struct Call {
    name: (&'static str, &'static str),
    started: Instant,
    /// Until it is answered: that of one that is dropped, by its caller or at its deadline.
    code: Code,
}

impl Call {
    fn of(path: &str) -> Self {
        Self {
            name: known(path),
            started: Instant::now(),
            code: Code::Cancelled,
        }
    }

    fn answered(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let (service, method) = self.name;
        let code = format!("{:?}", self.code);
        REQUESTS.with_label_values(&[service, method, &code]).inc();
        SECONDS
            .with_label_values(&[service, method])
            .observe(self.started.elapsed().as_secs_f64());
    }
}

fn known(path: &str) -> (&'static str, &'static str) {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
    else {
        return UNKNOWN;
    };
    KNOWN
        .into_iter()
        .find(|known| *known == (service, method))
        .unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_known_services_and_nothing_else() {
        let path = "/tidegate.delivery.v1.Egress/FetchKey";
        assert_eq!(known(path), ("tidegate.delivery.v1.Egress", "FetchKey"));
        for path in [
            "/tidegate.delivery.v1.Egress/Steal",
            "/x/y",
            "",
            "//",
            "/a/b/c",
        ] {
            assert_eq!(known(path), UNKNOWN, "{path}");
        }
    }

    #[tokio::test]
    async fn a_refused_call_is_counted_under_its_code_when_it_is_answered() {
        let count = |code| {
            REQUESTS
                .with_label_values(&["grpc.health.v1.Health", "Check", code])
                .get()
        };
        let mut service = CountCalls.layer(tower::service_fn(async |_: Request<()>| {
            let refused = Response::builder().header("grpc-status", "16").body(());
            Ok::<_, std::convert::Infallible>(refused.expect("an answer"))
        }));
        let before = (count("Unauthenticated"), count("Cancelled"));
        let request = Request::get("/grpc.health.v1.Health/Check")
            .body(())
            .expect("a request");
        service.call(request).await.expect("an answer");
        let after = (count("Unauthenticated"), count("Cancelled"));
        assert_eq!(after, (before.0 + 1, before.1));
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_any_more_is_counted() {
        let count = || {
            REQUESTS
                .with_label_values(&["grpc.health.v1.Health", "Watch", "Cancelled"])
                .get()
        };
        let mut service = CountCalls.layer(tower::service_fn(|_: Request<()>| {
            std::future::pending::<Result<Response<()>, std::convert::Infallible>>()
        }));
        let before = count();
        let request = Request::get("/grpc.health.v1.Health/Watch")
            .body(())
            .expect("a request");
        drop(service.call(request));
        assert_eq!(count(), before + 1);
    }
}
