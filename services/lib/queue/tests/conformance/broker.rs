//! What only RabbitMQ can get wrong: its own death, its alarms, its refusals.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_queue::{Queue, QueueError};
use tidegate_testkit::{BreakableProxy, RabbitMq};
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, PATIENCE, consume, drain, id_of, next, outgoing, publish, rabbit};

/// Publishes batch after batch until told to stop; returns what was confirmed.
async fn keep_publishing(
    queue: Arc<dyn Queue>,
    name: String,
    stop: CancellationToken,
) -> BTreeSet<i64> {
    let mut confirmed = BTreeSet::new();
    for start in (0..).step_by(100) {
        if stop.is_cancelled() {
            break;
        }
        let ids = start..start + 100;
        let batch = ids.clone().map(|id| outgoing(&name, id)).collect();
        for (id, result) in ids.zip(queue.publish(batch).await) {
            if result.is_ok() {
                confirmed.insert(id);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    confirmed
}

#[tokio::test]
async fn a_killed_broker_loses_nothing_and_an_alarm_only_delays() {
    let broker = RabbitMq::private().await;
    let place = Backend::Rabbit(broker.vhost().await);
    let (queue, name) = place.queue("q").await;
    let mut consumer = consume(&*queue, &name, 50).await;

    // Killed while publishing; the consumer and the publisher find the new node by themselves.
    let stop = CancellationToken::new();
    let publishing = keep_publishing(Arc::clone(&queue), name.clone(), stop.clone());
    let publishing = tokio::spawn(publishing);
    tokio::time::sleep(Duration::from_secs(2)).await;
    broker.kill9();
    broker.start().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    stop.cancel();
    let confirmed = publishing.await.expect("publishes to the end");
    let last_half = confirmed.iter().next_back().copied().unwrap_or_default() / 2;
    assert!(
        confirmed.range(last_half..).count() > 100,
        "it published on"
    );
    let seen: BTreeSet<i64> = drain(&mut consumer, &confirmed).await.into_iter().collect();
    assert!(seen.is_superset(&confirmed));
    // Messages whose confirm was lost may be there too; out of the way of what follows.
    while let Ok(Some(extra)) = tokio::time::timeout(Duration::from_secs(2), consumer.next()).await
    {
        extra.ack().await;
    }

    // An alarm: publishing fails within its limit, then at once; what is there is consumed.
    publish(&*queue, &name, [-1]).await;
    broker.memory_alarm(true).await;
    let start = Instant::now();
    let result = queue.publish(vec![outgoing(&name, -2)]).await.remove(0);
    assert!(
        matches!(result, Err(QueueError::Unavailable(_))),
        "{result:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    let start = Instant::now();
    let result = queue.publish(vec![outgoing(&name, -3)]).await.remove(0);
    assert!(
        matches!(result, Err(QueueError::Unavailable(_))),
        "{result:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let waiting = next(&mut consumer).await;
    assert_eq!(id_of(&waiting), -1);
    waiting.ack().await;
    broker.memory_alarm(false).await;
    let start = Instant::now();
    while queue.publish(vec![outgoing(&name, -4)]).await[0].is_err() {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drain(&mut consumer, &BTreeSet::from([-4])).await;
}

#[tokio::test]
async fn a_missing_queue_is_a_failure_and_is_made() {
    let place = Backend::rabbit().await;
    let (queue, name) = place.queue("q").await;
    let (_, other) = place.queue("other").await;
    publish(&*queue, &name, [1]).await;
    let Backend::Rabbit(vhost) = &place else {
        unreachable!("it is RabbitMQ")
    };
    vhost.delete_queue(&name);
    // Exactly the message without a queue fails, wherever its return was noticed.
    let batch = (0..60)
        .map(|id| outgoing(if id == 30 { &name } else { &other }, id))
        .collect();
    let results = queue.publish(batch).await;
    let failed: Vec<usize> = (0..60).filter(|place| results[*place].is_err()).collect();
    assert_eq!(failed, [30]);
    publish(&*queue, &name, [30]).await;
    let mut consumer = consume(&*queue, &name, 5).await;
    drain(&mut consumer, &BTreeSet::from([30])).await;
}

#[tokio::test]
async fn a_consumer_survives_the_deletion_of_its_queue() {
    let place = Backend::rabbit().await;
    let (queue, name) = place.queue("q").await;
    let mut consumer = consume(&*queue, &name, 5).await;
    let Backend::Rabbit(vhost) = &place else {
        unreachable!("it is RabbitMQ")
    };
    vhost.delete_queue(&name);
    tokio::time::sleep(Duration::from_secs(2)).await;
    publish(&*queue, &name, [1]).await;
    drain(&mut consumer, &BTreeSet::from([1])).await;
}

#[tokio::test]
async fn a_refusal_says_what_to_type() {
    let broker = RabbitMq::shared().await;
    let vhost = broker.vhost().await;
    let refusal = async |url: &str| match rabbit(url, "t").declare(&["t.q".to_owned()]).await {
        Err(QueueError::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    };
    let unknown = vhost.url.replace(&vhost.prefix, "nowhere");
    let text = refusal(&unknown).await;
    assert!(text.contains("rabbitmqctl add_vhost 'nowhere'"), "{text}");
    let text = refusal(&vhost.url.replace(":guest@", ":wrong@")).await;
    assert!(
        text.contains("rabbitmqctl change_password 'guest'"),
        "{text}"
    );
    vhost.forbid_guest();
    let text = refusal(&vhost.url).await;
    assert!(text.contains("rabbitmqctl set_permissions"), "{text}");
    let pool = sqlx::PgPool::connect_lazy("postgres://127.0.0.1:1/nowhere").expect("a URL");
    let wrong = tidegate_queue::RabbitOptions {
        url: tidegate_model::Secret::new("postgres://h".to_owned()),
        authorities: String::new(),
        prefix: "t".to_owned(),
    };
    assert!(matches!(
        tidegate_queue::RabbitQueue::new(&wrong, pool),
        Err(QueueError::Refused(_))
    ));
}

#[tokio::test]
async fn a_silent_network_gives_an_answer_in_time_and_mends() {
    let place = Backend::rabbit().await;
    let (kind, url, prefix) = place.address();
    assert_eq!(kind, "rabbit");
    let authority = url
        .split('@')
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let authority = authority.expect("a URL with a host").to_owned();
    let proxy = BreakableProxy::start(authority.clone()).await;
    let queue = rabbit(&url.replace(&authority, &proxy.address.to_string()), prefix);
    let name = place.name("q");
    queue
        .declare(std::slice::from_ref(&name))
        .await
        .expect("declares");
    publish(&queue, &name, [1]).await;
    proxy.freeze();
    let start = Instant::now();
    let batch = (2..700).map(|id| outgoing(&name, id)).collect();
    let results = queue.publish(batch).await;
    assert!(results.iter().all(Result::is_err));
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "{:?}",
        start.elapsed()
    );
    proxy.heal();
    let start = Instant::now();
    while queue.publish(vec![outgoing(&name, 2)]).await[0].is_err() {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut consumer = consume(&queue, &name, 5).await;
    drain(&mut consumer, &BTreeSet::from([1, 2])).await;
    // A cut of the consumer's connection is mended behind its back.
    proxy.cut();
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.heal();
    let direct = place.open().await;
    publish(&*direct, &name, [3]).await;
    drain(&mut consumer, &BTreeSet::from([3])).await;
}

#[tokio::test]
async fn only_one_consumer_of_a_shards_queue_is_given_anything() {
    let place = Backend::rabbit().await;
    let (queue, name) = place.queue("deliver.bulk.3").await;
    let mut first = consume(&*queue, &name, 50).await;
    let mut second = consume(&*queue, &name, 50).await;
    publish(&*queue, &name, 0..20).await;
    for _ in 0..20 {
        next(&mut first).await.ack().await;
    }
    let idle = tokio::time::timeout(Duration::from_secs(1), second.next()).await;
    assert!(idle.is_err(), "two owners at once");
    first.stop().await;
    publish(&*queue, &name, [20]).await;
    let delivered = next(&mut second).await;
    assert_eq!(id_of(&delivered), 20, "the next in line takes over");
    delivered.ack().await;
}
