//! The suite of the seam.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::backend::{
    Backend, PATIENCE, VISIBILITY, consume, drain, id_of, next, outgoing, publish, silent,
};

macro_rules! on_every_backend {
    ($($name:ident)*) => {
        mod table {
            use super::Backend;
            $(#[tokio::test] async fn $name() { super::$name(Backend::table().await).await; })*
        }
        mod rabbit {
            use super::Backend;
            $(#[tokio::test] async fn $name() { super::$name(Backend::rabbit().await).await; })*
        }
    };
}

on_every_backend! {
    an_acked_message_is_gone
    a_dropped_message_comes_again
    a_panic_in_a_handler_does_not_lose_the_message
    a_returned_message_waits_for_its_delay
    a_message_in_hand_stays_in_hand
    a_buried_message_is_dead_with_its_reason
    an_unreadable_message_dies_at_first_sight
    one_malformed_in_a_hundred_harms_no_neighbour
    no_more_than_the_prefetch_is_in_hand
    two_consumers_share_the_work
    one_consumer_takes_from_many_queues
    a_stopped_consumer_returns_what_it_did_not_hand_out
    a_waiting_consumer_gets_a_message_at_once
    an_impossible_message_is_refused_and_its_neighbours_pass
}

async fn an_acked_message_is_gone(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, 0..300).await;
    let mut consumer = consume(&*queue, &name, 20).await;
    let seen = drain(&mut consumer, &(0..300).collect()).await;
    assert_eq!(seen.len(), 300, "none came twice");
    consumer.stop().await;
    assert!(consumer.next().await.is_none());
    let mut another = consume(&*backend.open().await, &name, 20).await;
    assert!(silent(&mut another, VISIBILITY + Duration::from_secs(1)).await);
    let stats = queue.stats(&[name]).await.expect("answers");
    assert_eq!((stats[0].ready, stats[0].unacked), (0, 0));
}

async fn a_dropped_message_comes_again(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, [7]).await;
    let mut consumer = consume(&*queue, &name, 5).await;
    let first = next(&mut consumer).await;
    assert_eq!(first.redeliveries, 0);
    drop(first);
    let second = next(&mut consumer).await;
    assert_eq!((id_of(&second), second.queue.clone()), (7, name));
    assert!(second.redeliveries >= 1);
    second.ack().await;
}

async fn a_panic_in_a_handler_does_not_lose_the_message(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, [7]).await;
    let mut consumer = consume(&*queue, &name, 5).await;
    let message = next(&mut consumer).await;
    let handler = tokio::spawn(async move {
        let _in_hand = message;
        panic!("as a handler with a bug would");
    });
    assert!(handler.await.is_err());
    let again = next(&mut consumer).await;
    assert_eq!(id_of(&again), 7);
    again.ack().await;
}

async fn a_returned_message_waits_for_its_delay(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, [7]).await;
    let mut consumer = consume(&*queue, &name, 5).await;
    let start = Instant::now();
    let delay = Duration::from_millis(1_200);
    next(&mut consumer).await.give_back(delay).await;
    let again = next(&mut consumer).await;
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    // Without a delay it comes at once.
    let start = Instant::now();
    again.give_back(Duration::ZERO).await;
    next(&mut consumer).await.ack().await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

async fn a_message_in_hand_stays_in_hand(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, [7]).await;
    let mut consumer = consume(&*queue, &name, 5).await;
    let slow = next(&mut consumer).await;
    let mut another = consume(&*backend.open().await, &name, 5).await;
    assert!(silent(&mut another, VISIBILITY * 2).await);
    slow.ack().await;
    assert!(silent(&mut another, VISIBILITY).await);
}

async fn a_buried_message_is_dead_with_its_reason(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, [7]).await;
    let mut consumer = consume(&*queue, &name, 5).await;
    next(&mut consumer).await.bury("the reason").await;
    assert_eq!(backend.dead(1).await, [(name, "the reason".to_owned())]);
    assert!(silent(&mut consumer, VISIBILITY + Duration::from_secs(1)).await);
}

async fn an_unreadable_message_dies_at_first_sight(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    backend
        .put_raw(&name, r#"{"v":1,"message":{"type":"?"}}"#)
        .await;
    backend
        .put_raw(
            &name,
            r#"{"v":99,"message":{"type":"plan","activity_id":1}}"#,
        )
        .await;
    publish(&*queue, &name, [7]).await;
    let mut consumer = consume(&*queue, &name, 5).await;
    let message = next(&mut consumer).await;
    assert_eq!(id_of(&message), 7);
    message.ack().await;
    let dead = backend.dead(2).await;
    assert!(dead.iter().all(|(queue, _)| *queue == name), "{dead:?}");
    assert!(dead.iter().any(|(_, reason)| reason.contains("malformed")));
    assert!(dead.iter().any(|(_, reason)| reason.contains("version 99")));
}

async fn one_malformed_in_a_hundred_harms_no_neighbour(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    let whole: BTreeSet<i64> = (0..990).collect();
    for start in (0..990).step_by(99) {
        publish(&*queue, &name, start..start + 99).await;
        backend.put_raw(&name, r#"{"v":1,"message":[]}"#).await;
    }
    // Once a backend has ten in hand a malformed one that took a place for ever would show.
    let mut consumer = consume(&*queue, &name, 10).await;
    let seen = drain(&mut consumer, &whole).await;
    assert_eq!(seen.len(), 990, "each neighbour comes once");
    let dead = backend.dead(10).await;
    assert_eq!(dead.len(), 10);
    assert!(dead.iter().all(|(_, reason)| reason.contains("malformed")));
}

async fn no_more_than_the_prefetch_is_in_hand(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, 0..20).await;
    let mut consumer = consume(&*queue, &name, 5).await;
    let mut hand = Vec::new();
    for _ in 0..5 {
        hand.push(next(&mut consumer).await);
    }
    assert!(silent(&mut consumer, Duration::from_secs(1)).await);
    // Others can have the rest.
    let mut another = consume(&*backend.open().await, &name, 5).await;
    hand.push(next(&mut another).await);
    hand.remove(0).ack().await;
    hand.push(next(&mut consumer).await);
    let ids: BTreeSet<i64> = hand.iter().map(id_of).collect();
    assert_eq!(ids.len(), 6, "nobody has what another has");
}

async fn two_consumers_share_the_work(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    let mut consumers = [
        consume(&*queue, &name, 10).await,
        consume(&*backend.open().await, &name, 10).await,
    ];
    publish(&*queue, &name, 0..400).await;
    let start = Instant::now();
    let (mut all, mut shares) = (BTreeSet::new(), [0, 0]);
    while all.len() < 400 {
        assert!(start.elapsed() < PATIENCE);
        for (consumer, share) in consumers.iter_mut().zip(&mut shares) {
            let waited = tokio::time::timeout(Duration::from_millis(20), consumer.next()).await;
            if let Ok(Some(message)) = waited {
                assert!(all.insert(id_of(&message)), "came twice");
                *share += 1;
                message.ack().await;
            }
        }
    }
    assert!(shares.iter().all(|share| *share >= 20), "{shares:?}");
}

async fn one_consumer_takes_from_many_queues(backend: Backend) {
    let queue = backend.open().await;
    let names: Vec<String> = (0..6).map(|n| backend.name(&format!("q{n}"))).collect();
    queue.declare(&names).await.expect("declares");
    // The first has far more than the others: they must not wait for its end.
    publish(&*queue, &names[0], 0..1_000).await;
    for name in &names[1..] {
        publish(&*queue, name, 2_000..2_005).await;
    }
    let mut consumer = queue.consume(&names, 12).await.expect("consumes");
    let (mut busy, mut others) = (0, 0);
    while others < 25 {
        let message = next(&mut consumer).await;
        if message.queue == names[0] {
            busy += 1;
        } else {
            others += 1;
        }
        message.ack().await;
    }
    assert!(busy < 900, "{busy} of the busy queue came first");
}

async fn a_stopped_consumer_returns_what_it_did_not_hand_out(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, 0..10).await;
    let mut consumer = consume(&*queue, &name, 10).await;
    let in_hand = next(&mut consumer).await;
    let kept = id_of(&in_hand);
    consumer.stop().await;
    assert!(consumer.next().await.is_none());
    let start = Instant::now();
    let mut another = consume(&*backend.open().await, &name, 10).await;
    let wanted = (0..10).filter(|id| *id != kept).collect();
    drain(&mut another, &wanted).await;
    assert!(start.elapsed() < VISIBILITY, "{:?}", start.elapsed());
    // What is in hand is still valid.
    in_hand.ack().await;
    assert!(silent(&mut another, VISIBILITY + Duration::from_secs(1)).await);
}

async fn a_waiting_consumer_gets_a_message_at_once(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    let mut consumer = consume(&*queue, &name, 5).await;
    let mut waits = Vec::new();
    for id in 0..15 {
        // Long enough that the consumer is idle again.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let start = Instant::now();
        publish(&*queue, &name, [id]).await;
        next(&mut consumer).await.ack().await;
        waits.push(start.elapsed());
    }
    waits.sort_unstable();
    // The median, since this machine may be busy with something else.
    assert!(waits[7] < Duration::from_millis(50), "{waits:?}");
}

async fn an_impossible_message_is_refused_and_its_neighbours_pass(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    let mut batch = vec![outgoing(&name, 1), outgoing(&name, 2), outgoing(&name, 3)];
    batch[1].message = tidegate_model::Message::Inbound {
        account_id: 1,
        body: "a\0b".to_owned(),
        received_at: 0,
    };
    let results = queue.publish(batch).await;
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(matches!(
        results[1],
        Err(tidegate_queue::QueueError::Refused(_))
    ));
    let mut consumer = consume(&*queue, &name, 5).await;
    drain(&mut consumer, &BTreeSet::from([1, 3])).await;
}
