//! A node with nothing but the fanout role, and what tests say to it.

pub(crate) mod dump;
pub(crate) mod egress;
pub(crate) mod people;
pub(crate) mod timelines;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidegate_fanout::{FanoutDeps, FanoutOptions, HeardFrom, MailOptions, MailRoute, Spending};
use tidegate_model::{Clock, Instance, Lane, Message, Queues};
use tidegate_queue::{Outgoing, Queue, Relay, TableQueue};
use tidegate_store::{KeyVault, OutboxHandle};
use tidegate_telemetry::Stop;
use tidegate_testkit::{Postgres, TestDatabase};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use egress::FakeEgress;
use timelines::Recording;

/// How long anything may take before a test calls it stuck.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// One database, one queue, one running role.
pub(crate) struct World {
    pub(crate) deps: FanoutDeps,
    pub(crate) options: FanoutOptions,
    pub(crate) egress: FakeEgress,
    pub(crate) timelines: Arc<Recording>,
    pub(crate) mail: tempfile::TempDir,
    running: Option<(Stop, JoinHandle<anyhow::Result<()>>)>,
    _relay: DropGuard,
    _database: TestDatabase,
}

impl World {
    /// An empty world with the role running.
    pub(crate) async fn start() -> Self {
        let mut world = Self::stopped().await;
        world.run();
        world
    }

    /// An empty world in which nothing is consumed yet.
    pub(crate) async fn stopped() -> Self {
        let database = Postgres::shared().await.fresh_database().await;
        let pool = database.pool.clone();
        Self::over(database, pool).await
    }

    /// The same with a database pool of two, shared by role, queue and relay.
    pub(crate) async fn with_two_connections() -> Self {
        let database = Postgres::shared().await.fresh_database().await;
        let pool = database.pool_of(2).await;
        Self::over(database, pool).await
    }

    async fn over(database: TestDatabase, pool: sqlx::PgPool) -> Self {
        let queue: Arc<dyn Queue> = Arc::new(TableQueue::new(pool.clone()));
        let outbox = OutboxHandle::default();
        let egress = FakeEgress::start().await;
        let timelines = Arc::new(Recording::new());
        let mail = tempfile::tempdir().expect("a folder");
        let options = FanoutOptions {
            mail: MailOptions {
                from: "Us <noreply@us.test>".to_owned(),
                route: MailRoute::Folder(mail.path().to_owned()),
                ..MailOptions::default()
            },
            ..FanoutOptions::default()
        };
        let relay_stop = CancellationToken::new();
        let relay = Relay::new(pool.clone(), Arc::clone(&queue), outbox.clone());
        tokio::spawn(relay.run(relay_stop.clone()));
        let deps = FanoutDeps {
            pool,
            queue,
            queues: Queues::new("t", 4),
            timelines: Arc::clone(&timelines) as _,
            outbox,
            vault: KeyVault::new(b"a secret of the tests, long enough"),
            egress: egress.client().await,
            instance: us(),
            clock: Clock::system(),
            heard_from: HeardFrom::default(),
            spending: Spending::default(),
        };
        Self {
            deps,
            options,
            egress,
            timelines,
            mail,
            running: None,
            _relay: relay_stop.drop_guard(),
            _database: database,
        }
    }

    /// Starts the role.
    pub(crate) fn run(&mut self) {
        let stop = Stop::default();
        let role = tidegate_fanout::run(self.deps.clone(), self.options.clone(), stop.clone());
        self.running = Some((stop, tokio::spawn(role)));
    }

    /// Stops the role as a crash would: nothing in hand is finished.
    pub(crate) async fn crash(&mut self) {
        let (stop, role) = self.running.take().expect("it runs");
        stop.stop_now();
        role.await.expect("no panic").expect("it ends well");
    }

    /// Publishes, each message to its queue.
    pub(crate) async fn publish(&self, messages: Vec<Message>) {
        let batch = messages
            .into_iter()
            .map(|message| Outgoing {
                queue: self.deps.queues.of(&message, Lane::Now),
                message,
            })
            .collect();
        for result in self.deps.queue.publish(batch).await {
            result.expect("the queue takes it");
        }
    }

    /// Publishes and waits until everything that follows from it is done.
    pub(crate) async fn handle(&self, messages: Vec<Message>) {
        self.publish(messages).await;
        self.settled().await;
    }

    /// An activity from `actor`, as the inbox hands it over.
    pub(crate) async fn receive(&self, actor: i64, activity: &Value) {
        self.handle(vec![inbound(actor, activity)]).await;
    }

    /// Waits until the role's queues and the outbox are empty.
    pub(crate) async fn settled(&self) {
        let queues = self.deps.queues.for_fanout();
        let waiting = async {
            loop {
                let left: i64 = sqlx::query_scalar(
                    "select (select count(*) from outbox)
                          + (select count(*) from queue_messages where queue = any($1))",
                )
                .bind(&queues)
                .fetch_one(&self.deps.pool)
                .await
                .expect("counts");
                if left == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("everything is handled in time");
    }

    /// A number from the database.
    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement)
            .fetch_one(&self.deps.pool)
            .await
            .expect("counts")
    }
}

/// Who we are in tests.
pub(crate) fn us() -> Instance {
    Instance::new("us.test", &Url::parse("https://us.test").expect("a URL"))
}

/// An activity as the inbox hands it over.
pub(crate) fn inbound(actor: i64, activity: &Value) -> Message {
    Message::Inbound {
        account_id: actor,
        body: activity.to_string(),
        received_at: time::OffsetDateTime::now_utc().unix_timestamp(),
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come true in time"));
}
