//! A delivery role over a real PostgreSQL, the table queue and the simulated fediverse.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part of this module"
)]

pub mod hosts;
pub mod people;
pub mod queues;
pub mod raw;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::get;
use futures::TryStreamExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use tidegate_delivery::{
    By, Delivery, DeliveryDeps, DeliveryOptions, EgressOptions, Filter, Move, MoveKind,
    OperatorError, Operators, Progress, Why,
};
use tidegate_federation::{keys, signature::body_digest};
use tidegate_loadtest::{Sim, SimConfig};
use tidegate_model::{Clock, Instance, Lane, Message, Queues, Secret, shard_of};
use tidegate_queue::{Outgoing, RabbitOptions, RabbitQueue, TableQueue};
use tidegate_store::accounts::{self, NewLocalAccount};
use tidegate_store::{KeyVault, OutboxHandle};
use tidegate_telemetry::Stop;
use tidegate_testkit::{Postgres, RabbitMq, TestDatabase, TestVhost};
use tokio::task::JoinHandle;
use url::Url;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A role, its surroundings, and one local author.
pub struct Rig {
    pub sim: Sim,
    pub deps: DeliveryDeps,
    pub options: DeliveryOptions,
    pub author: i64,
    db: TestDatabase,
    /// The broker that carries messages, unless the table does. Its place is deleted with the rig.
    broker: Option<(RabbitQueue, TestVhost)>,
    running: Option<(Stop, JoinHandle<anyhow::Result<()>>)>,
}

/// One row as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Row {
    pub state: String,
    pub reason: Option<String>,
    pub attempts: i32,
    pub last_status: Option<i32>,
}

/// An activity to plan by hand.
pub struct Plan<'a> {
    pub kind: &'a str,
    pub order_key: &'a str,
    pub seq: i64,
    pub lane: Lane,
    pub status_id: Option<i64>,
    pub inboxes: Vec<String>,
    pub to_accounts: Vec<i64>,
    /// Whose followers it is for.
    pub to_followers_of: Option<i64>,
    pub to_earlier_recipients: bool,
    /// The rig's own author, unless it is another.
    pub author: Option<i64>,
}

impl<'a> Plan<'a> {
    pub fn new(kind: &'a str, order_key: &'a str, seq: i64, inboxes: &[&str]) -> Self {
        Self {
            kind,
            order_key,
            seq,
            lane: Lane::Bulk,
            status_id: None,
            inboxes: inboxes.iter().map(|url| (*url).to_owned()).collect(),
            to_accounts: Vec::new(),
            to_followers_of: None,
            to_earlier_recipients: false,
            author: None,
        }
    }
}

impl Rig {
    /// Everything but the running role.
    pub async fn new() -> Self {
        let db = Postgres::shared().await.fresh_database().await;
        let vault = KeyVault::new(b"a secret for tests of thirty-two bytes");
        let instance = Instance::new("us.test", &Url::parse("http://us.test").expect("a URL"));
        let us = serve_actors(db.pool.clone()).await;
        let sim = Sim::start(SimConfig::towards("us.test", us))
            .await
            .expect("the simulator starts");
        let author = author(&db.pool, &vault, &instance).await;
        let options = DeliveryOptions {
            egress: EgressOptions {
                allow_plain_http: true,
                host_map: vec![("sim.test".to_owned(), sim.address())],
                connect_timeout: Duration::from_secs(1),
                total_timeout: Duration::from_secs(2),
                ..EgressOptions::default()
            },
            retry_ladder: vec![Duration::from_millis(100); 4],
            look_interval: Duration::from_millis(50),
            tick: Duration::from_millis(20),
            probe_first: Duration::from_millis(300),
            lease_length: Duration::from_millis(1_500),
            lease_renew: Duration::from_millis(200),
            ..DeliveryOptions::default()
        };
        let deps = DeliveryDeps {
            pool: db.pool.clone(),
            queue: Arc::new(TableQueue::new(db.pool.clone())),
            queues: Queues::new("t", 2),
            outbox: OutboxHandle::default(),
            vault,
            instance,
            clock: Clock::system(),
        };
        Self {
            sim,
            deps,
            options,
            author,
            db,
            broker: None,
            running: None,
        }
    }

    /// The same with the queue on RabbitMQ.
    pub async fn on_rabbit() -> Self {
        let mut rig = Self::new().await;
        let vhost = RabbitMq::shared().await.vhost().await;
        let options = RabbitOptions {
            url: Secret::new(vhost.url.clone()),
            authorities: String::new(),
            prefix: vhost.prefix.clone(),
        };
        let queue = RabbitQueue::new(&options, rig.pool().clone()).expect("a URL of RabbitMQ");
        rig.deps.queue = Arc::new(queue.clone());
        rig.broker = Some((queue, vhost));
        rig.shards(2).await;
        rig
    }

    /// Another number of shards, with queues that messages may come to before the role starts.
    pub async fn shards(&mut self, count: u32) {
        let prefix = self
            .broker
            .as_ref()
            .map_or("t", |(_, vhost)| vhost.prefix.as_str());
        self.deps.queues = Queues::new(prefix, count);
        let queues = self.deps.queues.for_delivery();
        let declared = self.deps.queue.declare(&queues).await;
        declared.expect("queues");
    }

    /// Brings what died on a broker to where the table has it.
    pub async fn bring_dead_messages(&self) {
        if let Some((queue, _)) = &self.broker {
            queue.drain_dead(self.pool()).await.expect("dead messages");
        }
    }

    /// The same with the role running.
    pub async fn running() -> Self {
        let mut rig = Self::new().await;
        rig.start();
        rig
    }

    pub fn pool(&self) -> &PgPool {
        &self.db.pool
    }

    pub fn delivery(&self) -> Delivery {
        Delivery::new(self.deps.clone(), self.options.clone()).expect("the role is built")
    }

    pub fn start(&mut self) {
        let stop = Stop::default();
        let (delivery, told) = (self.delivery(), stop.clone());
        let task = tokio::spawn(async move { delivery.run(told).await });
        self.running = Some((stop, task));
    }

    /// Stops in an orderly way; everything in hand is finished.
    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().expect("it runs");
        stop.stop_softly();
        tokio::time::timeout(PATIENCE, task)
            .await
            .expect("it ends in time")
            .expect("no panic")
            .expect("no error");
    }

    /// Ends as a killed process does: nothing is finished, nothing is given back.
    pub fn kill(&mut self) {
        let (_, task) = self.running.take().expect("it runs");
        task.abort();
    }

    /// Writes an activity and its rows as planning does, without a message.
    pub async fn plan(&self, plan: &Plan<'_>) -> i64 {
        let uri = format!("http://us.test/activities/{}-{}", plan.order_key, plan.seq);
        let body = json!({
            "@context": "https://www.w3.org/ns/activitystreams",
            "id": uri, "type": plan.kind, "actor": "http://us.test/users/ada",
            "object": format!("http://us.test/objects/{}", plan.order_key),
        });
        let body = body.to_string().into_bytes();
        let id: i64 = sqlx::query_scalar(
            "insert into activities (uri, kind, account_id, order_key, seq, lane, body, digest,
                                     status_id, to_accounts, planned_count, to_followers_of,
                                     to_earlier_recipients, planned_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, now())
             returning id",
        )
        .bind(&uri)
        .bind(plan.kind)
        .bind(plan.author.unwrap_or(self.author))
        .bind(plan.order_key)
        .bind(plan.seq)
        .bind(plan.lane.as_str())
        .bind(&body)
        .bind(body_digest(&body))
        .bind(plan.status_id)
        .bind(&plan.to_accounts)
        .bind(plan.inboxes.len() as i64)
        .bind(plan.to_followers_of)
        .bind(plan.to_earlier_recipients)
        .fetch_one(self.pool())
        .await
        .expect("an activity");
        for url in &plan.inboxes {
            let (inbox, host) = self.inbox(url).await;
            sqlx::query(
                "insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq,
                                         state, published_at)
                 values ($1, $2, $3, $4, $5, $6, $7, 'queued', now())",
            )
            .bind(id)
            .bind(inbox)
            .bind(&host)
            .bind(shard_of(&host, self.deps.queues.shards()) as i32)
            .bind(plan.lane.as_str())
            .bind(plan.order_key)
            .bind(plan.seq)
            .execute(self.pool())
            .await
            .expect("a row");
        }
        id
    }

    /// The number of an inbox, and whose state its deliveries have; odd URLs are written as they
    /// are.
    pub async fn inbox(&self, url: &str) -> (i64, String) {
        let host = tidegate_model::host_of(url).unwrap_or_else(|_| "odd.test".to_owned());
        sqlx::query_as(
            "insert into inboxes (url, host, shared) values ($1, $2, false)
             on conflict (url) do update set shared = inboxes.shared
             returning id, coalesce(state_host, host)",
        )
        .bind(url)
        .bind(&host)
        .fetch_one(self.pool())
        .await
        .expect("an inbox")
    }

    /// Publishes the messages of a planned activity.
    pub async fn publish(&self, activity_id: i64) {
        let rows: Vec<(i64, i32, String)> =
            sqlx::query_as("select inbox_id, shard, lane from deliveries where activity_id = $1")
                .bind(activity_id)
                .fetch_all(self.pool())
                .await
                .expect("rows");
        for shard in 0..self.deps.queues.shards() {
            let here: Vec<i64> = rows
                .iter()
                .filter(|row| row.1 == shard as i32)
                .map(|row| row.0)
                .collect();
            if here.is_empty() {
                continue;
            }
            let lane = Lane::parse(&rows[0].2).expect("a lane");
            let message = Message::Deliver {
                activity_id,
                shard,
                inbox_ids: here,
            };
            let queue = self.deps.queues.of(&message, lane);
            for result in self
                .deps
                .queue
                .publish(vec![Outgoing { queue, message }])
                .await
            {
                result.expect("published");
            }
        }
    }

    /// Plans and publishes.
    pub async fn send(&self, plan: &Plan<'_>) -> i64 {
        let id = self.plan(plan).await;
        self.publish(id).await;
        id
    }

    /// The rows of an activity by inbox URL.
    pub async fn row(&self, activity_id: i64, url: &str) -> Row {
        sqlx::query_as(
            "select d.state, d.reason, d.attempts, d.last_status
             from deliveries d join inboxes i on i.id = d.inbox_id
             where d.activity_id = $1 and i.url = $2",
        )
        .bind(activity_id)
        .bind(url)
        .fetch_one(self.pool())
        .await
        .expect("a row")
    }

    /// Waits until a row is in this state and returns it.
    pub async fn until(&self, activity_id: i64, url: &str, state: &str) -> Row {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let row = self.row(activity_id, url).await;
            if row.state == state {
                return row;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{url} stays {row:?}, wanted {state}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The operators' hand.
    pub fn operators(&self) -> Operators {
        self.delivery().operators()
    }

    /// Replays or purges as an operator does, to the end.
    pub async fn shift(&self, kind: MoveKind, filter: Filter) -> Result<Progress, OperatorError> {
        let order = Move {
            kind,
            all: filter.is_empty(),
            filter,
            limit: 0,
            why: Why::new(By::CommandLine, "a test").expect("short"),
        };
        let steps: Vec<Progress> = self.operators().moving(order).try_collect().await?;
        Ok(*steps.last().expect("at least one"))
    }

    /// Waits until the queue holds nothing.
    pub async fn until_queue_is_empty(&self) {
        let queues = self.deps.queues.for_delivery();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let stats = self.deps.queue.stats(&queues).await.expect("stats");
            let left: u64 = stats.iter().map(|queue| queue.ready + queue.unacked).sum();
            if left == 0 {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{left} messages stay"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops once every message has had its end. A broker does not count what is in the hands of
    /// consumers: it is there again when they are gone.
    pub async fn stop_when_all_is_done(&mut self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.until_queue_is_empty().await;
            self.stop().await;
            let queues = self.deps.queues.for_delivery();
            let stats = self.deps.queue.stats(&queues).await.expect("stats");
            if stats.iter().all(|queue| queue.ready + queue.unacked == 0) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{stats:?}");
            self.start();
        }
    }

    /// A local post of the author.
    pub async fn post(&self, visibility: &str) -> i64 {
        self.post_of(self.author, visibility).await
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
        }
    }
}

async fn author(pool: &PgPool, vault: &KeyVault, instance: &Instance) -> i64 {
    let pairs = keys::generate().expect("keys");
    let mut connection = pool.acquire().await.expect("a connection");
    let id = accounts::next_id(&mut *connection).await.expect("an id");
    let new = NewLocalAccount {
        id,
        username: "ada",
        actor_type: "Person",
        public_key_pem: &pairs.rsa_public_pem,
        rsa_private: &vault
            .encrypt(id, pairs.rsa_private.expose())
            .expect("encrypts"),
        ed25519_private: &vault
            .encrypt(id, pairs.ed25519_private.expose())
            .expect("encrypts"),
        ed25519_public: &pairs.ed25519_public,
    };
    accounts::create_local(&mut connection, instance, &new)
        .await
        .expect("an account")
        .id
}

/// Our own actors, as the api role would show them: the simulator asks for their keys.
async fn serve_actors(pool: PgPool) -> SocketAddr {
    async fn actor(pool: PgPool, uri: String) -> axum::response::Response {
        let Ok(Some(found)) = accounts::by_uri(&pool, &uri).await else {
            return axum::http::StatusCode::NOT_FOUND.into_response();
        };
        let body: Json<Value> = Json(json!({
            "@context": "https://www.w3.org/ns/activitystreams",
            "id": found.uri, "type": found.actor_type, "preferredUsername": found.username,
            "inbox": found.inbox_url,
            "publicKey": {"id": found.key_id, "owner": found.uri, "publicKeyPem": found.public_key_pem},
        }));
        (
            [("content-type", "application/activity+json")],
            body.0.to_string(),
        )
            .into_response()
    }
    let people = pool.clone();
    let router = axum::Router::new()
        .route(
            "/users/{name}",
            get(move |Path(name): Path<String>| {
                actor(people.clone(), format!("http://us.test/users/{name}"))
            }),
        )
        .route(
            "/actor",
            get(move || actor(pool.clone(), "http://us.test/actor".to_owned())),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
