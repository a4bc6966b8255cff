//! What the inbox makes of requests in bulk, for elsewhere, and under names that are tricks.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use futures::{StreamExt, future::join_all, stream};
use serde_json::json;
use time::OffsetDateTime;

use crate::common::Server;
use crate::peer::{Peer, known_and_stranger};

/// A4: replays inside the window are honest retries, too. None is turned away; that each
/// activity has its effects once is the fanout role's to keep, by the activity's id.
#[tokio::test]
async fn a4_a_hundred_copies_at_once_are_all_taken() {
    let server = Server::start().await;
    let (bob, stranger) = known_and_stranger(&server).await;
    let now = OffsetDateTime::now_utc();
    for peer in [&bob, &stranger] {
        let body = peer.note().to_string();
        let copies = (0..100).map(|_| server.send(peer.request("/inbox", body.as_bytes(), now)));
        for answer in join_all(copies).await {
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        }
    }
    assert_eq!(server.count("queue_messages").await, 100);
    assert_eq!(server.count("unverified_activities").await, 1);
    assert_eq!(server.count("outbox").await, 1);
}

fn delete(actor: &str) -> serde_json::Value {
    json!({"id": format!("{actor}#delete"), "type": "Delete", "actor": actor, "object": actor})
}

#[tokio::test]
async fn a13_ten_thousand_departures_of_strangers_leave_no_trace() {
    let server = Server::start().await;
    let before = server.dump().await;
    // Nobody may look at the signature of these, so one will do for all.
    let signed =
        Peer::new("https://gone.test/users/x").request("/inbox", b"{}", OffsetDateTime::now_utc());
    let signed = &signed;
    let storm = (0..10_000).map(|n| {
        let body = delete(&format!("https://gone{}.test/users/{n}", n % 100)).to_string();
        let mut request = Request::new(Body::from(body));
        request.method_mut().clone_from(signed.method());
        request.uri_mut().clone_from(signed.uri());
        request.headers_mut().clone_from(signed.headers());
        server.send(request)
    });
    let mut answers = stream::iter(storm).buffer_unordered(8);
    while let Some(answer) = answers.next().await {
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    }
    assert_eq!(server.dump().await, before);
    assert!(!server.fetched().await);
}

#[tokio::test]
async fn a13_a_departure_that_was_believed_before_leaves_no_trace() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    sqlx::query("update accounts set deleted_at = now() where uri = $1")
        .bind(&bob.actor)
        .execute(&server.deps.pool)
        .await
        .expect("deleted");
    let before = server.dump().await;
    let again = bob.post(&server, &delete(&bob.actor)).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.text());
    assert_eq!(server.dump().await, before);
    assert!(!server.fetched().await);
}
