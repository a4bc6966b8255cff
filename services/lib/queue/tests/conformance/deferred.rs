//! Messages that wait for another try hold nothing, neither on the broker nor in the process.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tidegate_queue::{Queue, Relay};
use tidegate_store::OutboxHandle;
use tidegate_testkit::Postgres;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, consume, id_of, next, publish, rabbit_with, silent};

async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from deferred_messages")
        .fetch_one(pool)
        .await
        .expect("counts")
}

#[tokio::test]
async fn what_waits_on_rabbitmq_lets_others_pass_and_keeps_its_count() {
    let database = Postgres::shared().await.fresh_database().await;
    let pool = database.pool.clone();
    let place = Backend::rabbit().await;
    let (_, url, prefix) = place.address();
    let queue: Arc<dyn Queue> = Arc::new(rabbit_with(url, prefix, pool.clone()));
    let name = place.name("q");
    queue
        .declare(std::slice::from_ref(&name))
        .await
        .expect("declares");
    let stop = CancellationToken::new();
    let relay = Relay::new(pool.clone(), Arc::clone(&queue), OutboxHandle::default());
    let relaying = tokio::spawn(relay.run(stop.clone()));

    // Three times as many wait as may be in hand; the one behind them comes all the same.
    publish(&*queue, &name, 0..12).await;
    publish(&*queue, &name, [99]).await;
    let mut consumer = consume(&*queue, &name, 4).await;
    for _ in 0..12 {
        let message = next(&mut consumer).await;
        assert_ne!(id_of(&message), 99);
        message.give_back(Duration::from_mins(5)).await;
    }
    let passed = next(&mut consumer).await;
    assert_eq!((id_of(&passed), passed.redeliveries), (99, 0));
    passed.ack().await;
    assert!(silent(&mut consumer, Duration::from_secs(2)).await);
    assert_eq!(count(&pool).await, 12);

    // More tries than the broker would allow, and not one of them forgotten.
    sqlx::query("update deferred_messages set redeliveries = 2000, due_at = now()")
        .execute(&pool)
        .await
        .expect("updates");
    for _ in 0..12 {
        let message = next(&mut consumer).await;
        assert_eq!(message.redeliveries, 2_000);
        message.ack().await;
    }
    assert_eq!(count(&pool).await, 0);
    stop.cancel();
    relaying.await.expect("ends well");
}
