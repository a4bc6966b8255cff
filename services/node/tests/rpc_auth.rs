//! Every call between roles, on the real port of a real process, without the token and with a
//! wrong one: refused before anything is looked at. The list of calls is read from the contract.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use http::Request;
use tidegate_testkit::{Postgres, contents, differences, program};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

/// For a process to start on a loaded machine.
const START_LIMIT: Duration = Duration::from_mins(1);

const TOKEN: &str = "fedcba9876543210fedcba9876543210";

/// The numbers that gRPC writes for its codes.
const UNAUTHENTICATED: &str = "16";
const UNIMPLEMENTED: &str = "12";

/// What running roles write without being asked: leases, and the days of deliveries.
const OF_ITSELF: [&str; 3] = ["delivery_workers", "shard_leases", "deliveries_2"];

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// `/package.Service/Method` of every call in the contract.
fn calls() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/tidegate");
    let mut calls = Vec::new();
    for role in std::fs::read_dir(root).expect("the contract") {
        let folder = role.expect("a folder").path().join("v1");
        for file in std::fs::read_dir(folder).expect("version 1") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("a contract");
            let (mut package, mut service) = (String::new(), String::new());
            for line in text.lines() {
                let mut words = line.trim().split([' ', ';', '(']);
                let (first, name) = (words.next(), words.next().unwrap_or_default());
                match first {
                    Some("package") => name.clone_into(&mut package),
                    Some("service") => name.clone_into(&mut service),
                    Some("rpc") => calls.push(format!("/{package}.{service}/{name}")),
                    _ => {}
                }
            }
        }
    }
    calls
}

/// Calls with an empty message; the code of the answer.
async fn call(channel: &Channel, path: &str, token: Option<&str>) -> String {
    // Not compressed, length zero.
    let message = axum::body::Body::from(vec![0_u8; 5]);
    let mut request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "10S");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let request = request.body(Body::new(message)).expect("a request");
    let answer = channel.clone().oneshot(request).await.expect("an answer");
    answer.headers().get("grpc-status").map_or_else(
        || "0".to_owned(),
        |code| code.to_str().expect("a number").to_owned(),
    )
}

async fn metrics(port: u16, path: &str) -> Option<String> {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await;
    let answer = answer.ok()?;
    let fine = answer.status().is_success();
    let text = answer.text().await.ok()?;
    fine.then_some(text)
}

#[tokio::test]
async fn every_call_without_the_token_or_with_a_wrong_one_is_refused_over_tcp() {
    let database = Postgres::shared().await.fresh_database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (rpc, own) = (free_port(), free_port());
    let process = program(env!("CARGO_BIN_EXE_tidegate"))
        .args(["run", "--role", "fanout", "--role", "delivery"])
        .current_dir(folder.path())
        .env("TIDEGATE_DATA_DIR", folder.path())
        .env("TIDEGATE_DATABASE__URL", &database.url)
        // Never reached: nothing of it is asked for.
        .env("TIDEGATE_TIMELINES__URL", "redis://127.0.0.1:1")
        .env("TIDEGATE_RPC__TOKEN", TOKEN)
        .env("TIDEGATE_RPC__LISTEN", format!("127.0.0.1:{rpc}"))
        .env("TIDEGATE_METRICS__LISTEN", format!("127.0.0.1:{own}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _running = Running(process.expect("starts"));
    let started = Instant::now();
    while metrics(own, "/health/ready").await.is_none() {
        assert!(started.elapsed() < START_LIMIT, "never ready");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{rpc}"))
        .expect("a URL")
        .connect()
        .await
        .expect("connects");

    let calls = calls();
    assert!(calls.len() >= 14, "{calls:?}");
    let right = format!("Bearer {TOKEN}");
    let before = contents(&database.pool).await;
    for path in &calls {
        for wrong in [
            None,
            Some("Bearer fedcba9876543210fedcba9876543211"),
            Some("Bearer "),
            Some(TOKEN),
        ] {
            let code = call(&channel, path, wrong).await;
            assert_eq!(code, UNAUTHENTICATED, "{path} with {wrong:?}");
        }
    }
    let mut left = differences(&before, &contents(&database.pool).await);
    left.retain(|what| !OF_ITSELF.iter().any(|table| what.starts_with(table)));
    assert_eq!(left, Vec::<String>::new(), "a refused call left a trace");
    for path in &calls {
        let code = call(&channel, path, Some(&right)).await;
        assert_ne!(code, UNAUTHENTICATED, "{path} with the token");
        assert_ne!(code, UNIMPLEMENTED, "{path} is not offered");
    }
    let made_up = "/tidegate.delivery.v1.Egress/made-up";
    call(&channel, made_up, Some(&right)).await;

    let shown = metrics(own, "/metrics").await.expect("metrics");
    for path in &calls {
        let (service, method) = path[1..].split_once('/').expect("two parts");
        let line = format!(
            "tidegate_rpc_requests_total{{code=\"Unauthenticated\",method=\"{method}\",\
             service=\"{service}\"}} 4"
        );
        assert!(shown.contains(&line), "no {line} in {shown}");
    }
    assert!(shown.contains("tidegate_rpc_request_seconds_count"));
    assert!(shown.contains("service=\"other\"") && !shown.contains("made-up"));
}
