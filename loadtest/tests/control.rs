//! The control interface, driven over HTTP as a script would.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_loadtest::{Answer, RawRequest, Sim, SimConfig, control};

/// A second simulator serves as HTTP client.
struct Remote {
    client: Sim,
    base: String,
}

impl Remote {
    async fn start(sim: &Sim) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let router = control::router(sim.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            client: Sim::start(SimConfig::default()).await.expect("a free port"),
            base,
        }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let mut request = RawRequest::post(&format!("{}{path}", self.base), &body);
        request.method = method.parse().expect("a method");
        request.headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        self.client.send_raw(request).await.expect("answered")
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.call("POST", path, body).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.json());
        answer.json().expect("JSON")
    }

    async fn get(&self, path: &str) -> Value {
        self.call("GET", path, json!(null))
            .await
            .json()
            .expect("JSON")
    }
}

#[tokio::test]
async fn a_script_can_run_a_whole_conversation() {
    let sim = Sim::start(SimConfig::default()).await.expect("a free port");
    let remote = Remote::start(&sim).await;
    let ada = json!({ "host": "alpha.sim.test", "username": "ada" });
    let bob = json!({ "host": "beta.sim.test", "username": "bob" });
    remote.post("/actors", ada.clone()).await;
    let made = remote
        .post(
            "/actors",
            json!({ "host": "beta.sim.test", "username": "bob", "spec": { "shared_inbox": true } }),
        )
        .await;
    let target = made["uri"].as_str().expect("a URI");
    remote
        .post(
            "/act",
            json!({ "actor": ada, "do": "follow", "target": target }),
        )
        .await;
    let accepted = |_: &_| {
        let bob = sim.actor("beta.sim.test", "bob").expect("added");
        !sim.followers(&bob).expect("known").is_empty()
    };
    assert!(
        sim.ledger()
            .wait_until(accepted, Duration::from_secs(20))
            .await
    );
    let post = json!({ "html": "<p>hello</p>", "visibility": "private" });
    let posted = remote
        .post("/act", json!({ "actor": bob, "do": "post", "post": post }))
        .await;
    assert_eq!(posted["sent"]["deliveries"][0]["status"], 202);

    let ledger = remote.get("/ledger?kind=Create&host=alpha.sim.test").await;
    assert_eq!(
        ledger["entries"][0]["body"]["object"]["content"],
        "<p>hello</p>"
    );
    assert_eq!(ledger["entries"][0]["signature"]["verdict"], "valid");
    let arrivals = remote.get("/arrivals").await;
    let created = arrivals["arrivals"].as_array().expect("rows").iter();
    let mut created =
        created.filter(|row| row["arrival"]["activity"] == posted["sent"]["activity"]);
    assert_eq!(created.next().expect("arrived")["counts"]["taken"], 1);
    assert_eq!(
        remote.call("DELETE", "/ledger", json!(null)).await.status,
        200
    );
    assert_eq!(remote.get("/arrivals").await["arrivals"], json!([]));
    sim.shutdown().await;
}

#[tokio::test]
async fn behaviours_raw_requests_and_documents_can_be_ordered() {
    let sim = Sim::start(SimConfig::default()).await.expect("a free port");
    let remote = Remote::start(&sim).await;
    let bulk = json!({ "suffix": "sim.test", "hosts": 3, "per_host": 2 });
    let actors = remote.post("/actors/bulk", bulk).await;
    assert_eq!(actors["actors"].as_array().expect("a list").len(), 6);
    let gone = json!({ "inbox": [{ "fault": { "kind": "status", "code": 410 } }] });
    remote
        .post(
            "/hosts",
            json!({ "host": "h1.sim.test", "behaviour": gone }),
        )
        .await;
    let by = json!({ "host": "h0.sim.test", "username": "u0" });
    let body =
        json!({ "id": "x", "type": "Like", "actor": "http://h0.sim.test/users/u0", "object": "o" });
    let raw = |url: &str, spoil: bool| {
        json!({
            "url": url, "body": body.to_string(),
            "headers": [["content-type", "application/activity+json"]],
            "signature": { "by": by, "scheme": "rfc9421", "spoil": spoil },
        })
    };
    for (url, spoil, status) in [
        ("http://h1.sim.test/inbox", false, 410),
        ("http://h2.sim.test/inbox", false, 202),
        ("http://h2.sim.test/inbox", true, 401),
    ] {
        assert_eq!(
            remote.post("/raw", raw(url, spoil)).await["status"],
            status,
            "{url} {spoil}"
        );
    }
    let document = json!({ "status": 404, "headers": [], "body": "" });
    let order = json!({ "host": "h2.sim.test", "path": "/users/u0", "document": document });
    remote.post("/documents", order).await;
    let get = json!({ "actor": by, "do": "get", "url": "http://h2.sim.test/users/u0" });
    assert_eq!(remote.post("/act", get).await["status"], 404);
    sim.shutdown().await;
}

#[tokio::test]
async fn wrong_orders_are_refused_with_a_reason() {
    let sim = Sim::start(SimConfig::default()).await.expect("a free port");
    let remote = Remote::start(&sim).await;
    let nobody = json!({ "actor": { "host": "a.test", "username": "x" }, "do": "update_profile" });
    let answer = remote.call("POST", "/act", nobody).await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json().expect("JSON")["error"],
        "x@a.test is not simulated here"
    );
    for (path, order) in [
        (
            "/act",
            json!({ "actor": { "host": "a.test", "username": "x" }, "do": "dance" }),
        ),
        ("/hosts", json!({ "host": "a.test", "behavior": {} })),
        (
            "/actors/bulk",
            json!({ "suffix": "s.test", "hosts": 1_000_000, "per_host": 1_000_000 }),
        ),
    ] {
        let status = remote.call("POST", path, order).await.status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    sim.shutdown().await;
}
