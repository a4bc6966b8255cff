//! The backends under test, and the few words that all tests are written in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions};
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tidegate_model::{Message, Secret};
use tidegate_queue::{
    Consumer, Delivered, Outgoing, Queue, RabbitOptions, RabbitQueue, TableQueue,
};
use tidegate_testkit::{Postgres, RabbitMq, TestDatabase, TestVhost};

/// Short, so that tests can wait for it.
pub(crate) const VISIBILITY: Duration = Duration::from_secs(2);

/// Longer than any message takes on its way back on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A place for one test's queues.
pub(crate) enum Backend {
    Table(TestDatabase),
    Rabbit(TestVhost),
}

impl Backend {
    pub(crate) async fn table() -> Self {
        Self::Table(Postgres::shared().await.fresh_database().await)
    }

    pub(crate) async fn rabbit() -> Self {
        Self::Rabbit(RabbitMq::shared().await.vhost().await)
    }

    /// What a child process needs to open the same.
    pub(crate) fn address(&self) -> (&'static str, &str, &str) {
        match self {
            Self::Table(database) => ("table", &database.url, "t"),
            Self::Rabbit(vhost) => ("rabbit", &vhost.url, &vhost.prefix),
        }
    }

    /// As another process would open it.
    pub(crate) async fn open(&self) -> Arc<dyn Queue> {
        let (kind, url, prefix) = self.address();
        open(kind, url, prefix).await
    }

    /// A queue's full name.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.address().2)
    }

    /// Opens and declares one queue.
    pub(crate) async fn queue(&self, name: &str) -> (Arc<dyn Queue>, String) {
        let (queue, name) = (self.open().await, self.name(name));
        queue
            .declare(std::slice::from_ref(&name))
            .await
            .expect("declares");
        (queue, name)
    }

    /// Puts something there that no build of ours wrote.
    pub(crate) async fn put_raw(&self, queue: &str, payload: &str) {
        match self {
            Self::Table(database) => {
                sqlx::query("insert into queue_messages (queue, payload) values ($1, $2::jsonb)")
                    .bind(queue)
                    .bind(payload)
                    .execute(&database.pool)
                    .await
                    .expect("inserts");
            }
            Self::Rabbit(vhost) => {
                let connection = connect(&vhost.url).await;
                let channel = connection.create_channel().await.expect("opens");
                channel
                    .basic_publish(
                        "".into(),
                        queue.into(),
                        BasicPublishOptions::default(),
                        payload.as_bytes(),
                        BasicProperties::default(),
                    )
                    .await
                    .expect("publishes");
                connection.close(200, "".into()).await.expect("closes");
            }
        }
    }

    /// Queue and reason of the dead messages, once there are `count`.
    pub(crate) async fn dead(&self, count: usize) -> Vec<(String, String)> {
        let start = std::time::Instant::now();
        let mut found = Vec::new();
        while found.len() < count {
            assert!(start.elapsed() < PATIENCE, "only {found:?} died");
            match self {
                Self::Table(database) => {
                    found = sqlx::query_as("select queue, reason from dead_messages order by id")
                        .fetch_all(&database.pool)
                        .await
                        .expect("reads");
                }
                Self::Rabbit(vhost) => found.extend(take_dead(vhost).await),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        found
    }
}

pub(crate) async fn open(kind: &str, url: &str, prefix: &str) -> Arc<dyn Queue> {
    if kind == "table" {
        let options = tidegate_store::PoolOptions {
            url: Secret::new(url.to_owned()),
            max_connections: 4,
            acquire_timeout: PATIENCE,
        };
        let pool = tidegate_store::connect(&options).await.expect("connects");
        Arc::new(TableQueue::with_visibility(pool, VISIBILITY))
    } else {
        Arc::new(rabbit(url, prefix))
    }
}

/// Without a database: what waits for another try waits in hand.
pub(crate) fn rabbit(url: &str, prefix: &str) -> RabbitQueue {
    let nowhere = sqlx::postgres::PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(50))
        .connect_lazy("postgres://127.0.0.1:1/nowhere")
        .expect("a URL of PostgreSQL");
    rabbit_with(url, prefix, nowhere)
}

/// With the database that messages wait in.
pub(crate) fn rabbit_with(url: &str, prefix: &str, pool: sqlx::PgPool) -> RabbitQueue {
    let options = RabbitOptions {
        url: Secret::new(url.to_owned()),
        authorities: String::new(),
        prefix: prefix.to_owned(),
    };
    RabbitQueue::new(&options, pool).expect("a URL of RabbitMQ")
}

async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("connects")
}

async fn take_dead(vhost: &TestVhost) -> Vec<(String, String)> {
    let connection = connect(&vhost.url).await;
    let channel = connection.create_channel().await.expect("opens");
    let mut found = Vec::new();
    let queue = format!("{}.dead", vhost.prefix);
    while let Some(message) = channel
        .basic_get(queue.as_str().into(), BasicGetOptions::default())
        .await
        .expect("gets")
    {
        let headers = message.properties.headers().clone().unwrap_or_default();
        let text = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => format!("{other:?}"),
        };
        found.push((text("x-tidegate-queue"), text("x-tidegate-reason")));
        message.ack(BasicAckOptions::default()).await.expect("acks");
    }
    connection.close(200, "".into()).await.expect("closes");
    found
}

pub(crate) fn outgoing(queue: &str, id: i64) -> Outgoing {
    Outgoing {
        queue: queue.to_owned(),
        message: Message::Plan { activity_id: id },
    }
}

/// Publishes ids and expects every one to be taken.
pub(crate) async fn publish(queue: &dyn Queue, name: &str, ids: impl IntoIterator<Item = i64>) {
    let batch = ids.into_iter().map(|id| outgoing(name, id)).collect();
    for result in queue.publish(batch).await {
        result.expect("publishes");
    }
}

pub(crate) async fn consume(queue: &dyn Queue, name: &str, prefetch: u16) -> Box<dyn Consumer> {
    queue
        .consume(&[name.to_owned()], prefetch)
        .await
        .expect("consumes")
}

pub(crate) fn id_of(delivered: &Delivered) -> i64 {
    match delivered.message {
        Message::Plan { activity_id } => activity_id,
        ref other => panic!("not ours: {other:?}"),
    }
}

/// The next message; the test fails when none comes.
pub(crate) async fn next(consumer: &mut Box<dyn Consumer>) -> Delivered {
    tokio::time::timeout(PATIENCE, consumer.next())
        .await
        .expect("a message comes")
        .expect("the consumer lives")
}

/// Whether nothing comes for this long.
pub(crate) async fn silent(consumer: &mut Box<dyn Consumer>, time: Duration) -> bool {
    tokio::time::timeout(time, consumer.next()).await.is_err()
}

/// Takes and acknowledges until these ids have all been seen. Others may come as well.
pub(crate) async fn drain(consumer: &mut Box<dyn Consumer>, wanted: &BTreeSet<i64>) -> Vec<i64> {
    let mut missing = wanted.clone();
    let mut seen = Vec::new();
    while !missing.is_empty() {
        let message = tokio::time::timeout(PATIENCE, consumer.next()).await;
        let Ok(Some(message)) = message else {
            panic!(
                "{} messages are lost, for example {:?}",
                missing.len(),
                missing.first()
            );
        };
        let id = id_of(&message);
        missing.remove(&id);
        seen.push(id);
        message.ack().await;
    }
    seen
}
