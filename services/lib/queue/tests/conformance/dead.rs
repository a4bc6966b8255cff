//! Dead messages of the broker end in the table that operators look at.

use std::time::{Duration, Instant};

use tidegate_queue::Queue;
use tidegate_testkit::Postgres;

use crate::backend::{Backend, PATIENCE, consume, next, publish, rabbit};

#[tokio::test]
async fn what_died_on_the_broker_is_found_in_the_table_with_queue_and_reason() {
    let database = Postgres::shared().await.fresh_database().await;
    let place = Backend::rabbit().await;
    let (_, url, prefix) = place.address();
    let broker = rabbit(url, prefix);
    let name = place.name("plan");
    broker
        .declare(std::slice::from_ref(&name))
        .await
        .expect("declares");
    publish(&broker, &name, [7]).await;
    place.put_raw(&name, "not json \\u0000").await;
    let mut consumer = consume(&broker, &name, 4).await;
    // The other one is buried by the queue itself.
    next(&mut consumer).await.bury("nobody can").await;
    let start = Instant::now();
    let mut moved = 0;
    while moved < 2 {
        assert!(start.elapsed() < PATIENCE, "only {moved} moved");
        moved += broker.drain_dead(&database.pool).await.expect("drains");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    consumer.stop().await;
    let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "select queue, reason, payload -> 'message' ->> 'activity_id' from dead_messages
         order by payload -> 'message' is null",
    )
    .fetch_all(&database.pool)
    .await
    .expect("reads");
    assert_eq!(rows.len(), 2, "{rows:?}");
    let buried = (name.clone(), "nobody can".to_owned(), Some("7".to_owned()));
    assert_eq!(rows[0], buried);
    assert_eq!(rows[1].0, name);
    assert!(rows[1].1.starts_with("malformed message"), "{rows:?}");
    assert_eq!(broker.drain_dead(&database.pool).await.expect("drains"), 0);
}
