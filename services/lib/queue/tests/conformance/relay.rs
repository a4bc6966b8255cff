//! The outbox relay over a queue that comes and goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::PgPool;
use tidegate_model::Message;
use tidegate_queue::{
    Consumer, Outgoing, Queue, QueueError, QueueStats, Relay, TableQueue, measure_outbox,
};
use tidegate_store::OutboxHandle;
use tidegate_testkit::{Postgres, TestDatabase};
use tokio_util::sync::CancellationToken;

use crate::backend::{PATIENCE, consume, drain};

/// The embedded queue behind a switch.
struct Switched {
    inner: TableQueue,
    away: AtomicBool,
    attempts: AtomicUsize,
    /// Not available whatever the switch says.
    broken: &'static str,
}

#[async_trait]
impl Queue for Switched {
    async fn declare(&self, queues: &[String]) -> Result<(), QueueError> {
        self.inner.declare(queues).await
    }

    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        if !self.away.load(Ordering::SeqCst) {
            let broken: Vec<bool> = batch.iter().map(|one| one.queue == self.broken).collect();
            let whole = batch.into_iter().filter(|one| one.queue != self.broken);
            let mut results = self.inner.publish(whole.collect()).await.into_iter();
            let broken_one = || Err(QueueError::Unavailable("this queue is".to_owned()));
            return broken
                .into_iter()
                .map(|broken| {
                    if broken {
                        broken_one()
                    } else {
                        results.next().expect("one each")
                    }
                })
                .collect();
        }
        self.attempts.fetch_add(batch.len(), Ordering::SeqCst);
        let away = || QueueError::Unavailable("switched off".to_owned());
        batch.iter().map(|_| Err(away())).collect()
    }

    async fn consume(
        &self,
        queues: &[String],
        prefetch: u16,
    ) -> Result<Box<dyn Consumer>, QueueError> {
        self.inner.consume(queues, prefetch).await
    }

    async fn stats(&self, queues: &[String]) -> Result<Vec<QueueStats>, QueueError> {
        self.inner.stats(queues).await
    }
}

struct Scene {
    database: TestDatabase,
    queue: Arc<Switched>,
    outbox: OutboxHandle,
    stop: CancellationToken,
}

impl Scene {
    async fn new() -> Self {
        let database = Postgres::shared().await.fresh_database().await;
        let queue = Arc::new(Switched {
            inner: TableQueue::new(database.pool.clone()),
            away: AtomicBool::new(false),
            attempts: AtomicUsize::new(0),
            broken: "broken",
        });
        Self {
            database,
            queue,
            outbox: OutboxHandle::default(),
            stop: CancellationToken::new(),
        }
    }

    fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    fn start(&self) -> tokio::task::JoinHandle<()> {
        let relay = Relay::new(
            self.pool().clone(),
            Arc::clone(&self.queue) as Arc<dyn Queue>,
            self.outbox.clone(),
        );
        tokio::spawn(relay.run(self.stop.clone()))
    }

    async fn commit(&self, outbox: &OutboxHandle, ids: impl IntoIterator<Item = i64>) {
        self.commit_to("q", outbox, ids).await;
    }

    async fn commit_to(
        &self,
        queue: &str,
        outbox: &OutboxHandle,
        ids: impl IntoIterator<Item = i64>,
    ) {
        let mut transaction = self.pool().begin().await.expect("begins");
        for id in ids {
            let message = Message::Plan { activity_id: id };
            outbox
                .add(&mut transaction, queue, &message)
                .await
                .expect("adds");
        }
        transaction.commit().await.expect("commits");
        outbox.wake();
    }

    async fn rows(&self) -> i64 {
        sqlx::query_scalar("select count(*) from outbox")
            .fetch_one(self.pool())
            .await
            .expect("counts")
    }

    async fn wait_for_rows(&self, wanted: i64) {
        let start = Instant::now();
        while self.rows().await != wanted {
            assert!(start.elapsed() < PATIENCE, "{} rows", self.rows().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_committed_message_is_published_at_once_and_its_row_goes() {
    let scene = Scene::new().await;
    let running = scene.start();
    let mut consumer = consume(&*scene.queue, "q", 50).await;
    let mut waits = Vec::new();
    for id in 0..9 {
        let start = Instant::now();
        scene.commit(&scene.outbox, [id]).await;
        drain(&mut consumer, &BTreeSet::from([id])).await;
        waits.push(start.elapsed());
    }
    waits.sort_unstable();
    assert!(waits[4] < Duration::from_millis(200), "{waits:?}");
    // More than one claim's worth.
    scene.commit(&scene.outbox, 100..1_700).await;
    drain(&mut consumer, &(100..1_700).collect()).await;
    scene.wait_for_rows(0).await;
    scene.stop.cancel();
    running.await.expect("ends well");
}

#[tokio::test]
async fn an_outage_keeps_every_row_tries_one_at_a_time_and_then_catches_up() {
    let scene = Scene::new().await;
    scene.queue.away.store(true, Ordering::SeqCst);
    let running = scene.start();
    for start in (0..300).step_by(50) {
        scene.commit(&scene.outbox, start..start + 50).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(scene.rows().await, 300, "posting works, nothing is lost");
    let attempts = scene.queue.attempts.load(Ordering::SeqCst);
    assert!(attempts < 120, "{attempts} attempts in three seconds");
    let longest: f64 = sqlx::query_scalar(
        "select max(extract(epoch from leased_until - now()))::float8 from outbox",
    )
    .fetch_one(scene.pool())
    .await
    .expect("reads");
    assert!(longest > 5.0, "the lease of a tried row grows: {longest}");
    scene.queue.away.store(false, Ordering::SeqCst);
    let start = Instant::now();
    scene.wait_for_rows(0).await;
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    let mut consumer = consume(&*scene.queue, "q", 50).await;
    drain(&mut consumer, &(0..300).collect()).await;
    scene.stop.cancel();
    running.await.expect("ends well");
}

#[tokio::test]
async fn a_dead_process_s_rows_are_taken_when_their_lease_ran_out() {
    let scene = Scene::new().await;
    let dead = OutboxHandle::default();
    scene.commit(&dead, [7]).await;
    let running = scene.start();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(scene.rows().await, 1, "its lease is respected");
    scene.wait_for_rows(0).await;
    scene.stop.cancel();
    running.await.expect("ends well");
}

#[tokio::test]
async fn a_stopping_relay_publishes_what_is_committed() {
    let scene = Scene::new().await;
    scene.stop.cancel();
    scene.commit(&scene.outbox, 0..700).await;
    scene.start().await.expect("ends well");
    assert_eq!(scene.rows().await, 0);
}

#[tokio::test]
async fn an_unreadable_row_dies_and_its_neighbours_pass() {
    let scene = Scene::new().await;
    sqlx::query(
        "insert into outbox (queue, payload, lease_owner, leased_until)
         values ('q', '{\"type\": \"?\"}', gen_random_uuid(), now())",
    )
    .execute(scene.pool())
    .await
    .expect("inserts");
    scene.commit(&scene.outbox, [1]).await;
    let running = scene.start();
    scene.wait_for_rows(0).await;
    let reason: String = sqlx::query_scalar("select reason from dead_messages")
        .fetch_one(scene.pool())
        .await
        .expect("it is among the dead");
    assert!(reason.contains("malformed outbox row"), "{reason}");
    scene.stop.cancel();
    running.await.expect("ends well");
}

#[tokio::test]
async fn two_relays_do_not_publish_a_row_twice() {
    let scene = Scene::new().await;
    let other = OutboxHandle::default();
    let relay = Relay::new(
        scene.pool().clone(),
        Arc::clone(&scene.queue) as Arc<dyn Queue>,
        other.clone(),
    );
    let running = [scene.start(), tokio::spawn(relay.run(scene.stop.clone()))];
    for start in (0..2_000).step_by(100) {
        let outbox = if start % 200 == 0 {
            &other
        } else {
            &scene.outbox
        };
        scene.commit(outbox, start..start + 100).await;
    }
    scene.wait_for_rows(0).await;
    let published: i64 = sqlx::query_scalar("select count(*) from queue_messages")
        .fetch_one(scene.pool())
        .await
        .expect("counts");
    assert_eq!(published, 2_000);
    scene.stop.cancel();
    for one in running {
        one.await.expect("ends well");
    }
}

#[tokio::test]
async fn one_queue_that_is_away_does_not_hold_up_the_others() {
    let scene = Scene::new().await;
    let running = scene.start();
    scene.commit_to("broken", &scene.outbox, 0..5).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.commit(&scene.outbox, 100..1_300).await;
    let start = Instant::now();
    scene.wait_for_rows(5).await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    scene.stop.cancel();
    running.await.expect("ends well");
}

#[tokio::test]
async fn the_age_of_the_outbox_is_known_without_any_queue() {
    let scene = Scene::new().await;
    scene.commit(&scene.outbox, [1]).await;
    sqlx::query("update outbox set created_at = now() - interval '300 seconds'")
        .execute(scene.pool())
        .await
        .expect("updates");
    let measuring = measure_outbox(scene.pool().clone(), scene.stop.clone());
    let measuring = tokio::spawn(measuring);
    let age = || {
        let families = tidegate_telemetry::prometheus::gather();
        let name = "tidegate_outbox_oldest_age_seconds";
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0.0, |family| family.get_metric()[0].get_gauge().get_value())
    };
    let start = Instant::now();
    while age() < 300.0 {
        assert!(start.elapsed() < PATIENCE, "{}", age());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.stop.cancel();
    measuring.await.expect("ends well");
}
