use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use serde_json::{Value, json};
use tidegate_federation::signature::{body_digest, sign_cavage};
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::common::{Server, member};
use crate::peer::{Peer, build, refused_without_a_trace};

#[tokio::test]
async fn a_known_actors_activity_is_queued_as_it_came_under_both_schemes() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    member(&server, "ada").await;
    let body = bob.note().to_string();
    let now = OffsetDateTime::now_utc();
    for request in [
        bob.request("/inbox", body.as_bytes(), now),
        bob.request_9421("/inbox", body.as_bytes(), now),
        bob.request("/users/ada/inbox", body.as_bytes(), now),
        bob.request("/actor/inbox", body.as_bytes(), now),
    ] {
        let answer = server.send(request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        assert!(answer.body.is_empty());
    }
    let queued: Vec<String> = sqlx::query_scalar("select payload::text from queue_messages")
        .fetch_all(&server.deps.pool)
        .await
        .expect("messages");
    assert_eq!(queued.len(), 4);
    assert!(
        queued
            .iter()
            .all(|text| text.contains("inbound") && text.contains("hello"))
    );
    assert!(!server.fetched().await);
}

#[tokio::test]
async fn a1_nobody_speaks_for_another_actor() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    member(&server, "ada").await;
    let now = OffsetDateTime::now_utc();
    let as_bob = bob.note().to_string();
    let eve = Peer::known(&server, "https://e.test/users/eve").await;
    let stranger = Peer::new("https://e.test/users/new");
    let neighbour = Peer::known(&server, "https://p.test/users/mallory").await;
    for path in ["/inbox", "/users/ada/inbox"] {
        for (peer, why) in [
            (&eve, "another origin"),
            (&stranger, "an unknown key of another origin"),
            (&neighbour, "the same origin"),
        ] {
            refused_without_a_trace(&server, peer.request(path, as_bob.as_bytes(), now), why).await;
        }
        refused_without_a_trace(
            &server,
            eve.request_9421(path, as_bob.as_bytes(), now),
            "9421",
        )
        .await;
    }
}

#[tokio::test]
async fn a2_the_exact_bytes_are_covered() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    let now = OffsetDateTime::now_utc();
    let body = bob.note().to_string();
    let mut swapped = bob.request("/inbox", body.as_bytes(), now);
    *swapped.body_mut() = Body::from(body.replace("hello", "HELLO"));
    refused_without_a_trace(&server, swapped, "signed digest of another body").await;

    let url = Url::parse("https://us.test/inbox").expect("a URL");
    let unsigned = sign_cavage(&bob.key, &Method::POST, &url, now, None).expect("signs");
    refused_without_a_trace(
        &server,
        build("/inbox", unsigned.clone(), body.as_bytes()),
        "no digest",
    )
    .await;
    let mut beside = unsigned;
    let digest = format!("SHA-256={}", body_digest(body.as_bytes()));
    beside.push((header::HeaderName::from_static("digest"), digest));
    refused_without_a_trace(
        &server,
        build("/inbox", beside, body.as_bytes()),
        "digest not covered",
    )
    .await;

    let unsigned = build("/inbox", Vec::new(), body.as_bytes());
    refused_without_a_trace(&server, unsigned, "no signature").await;
}

#[tokio::test]
async fn a3_a5_another_path_or_another_time_is_another_request() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    member(&server, "ada").await;
    let now = OffsetDateTime::now_utc();
    let body = bob.note().to_string();
    let mut moved = bob.request("/inbox", body.as_bytes(), now);
    *moved.uri_mut() = "/users/ada/inbox".parse().expect("a path");
    refused_without_a_trace(&server, moved, "another inbox").await;
    for minutes in [-66, -13 * 60, 66, 24 * 60] {
        let at = now + Duration::minutes(minutes);
        let request = bob.request("/inbox", body.as_bytes(), at);
        refused_without_a_trace(&server, request, &format!("{minutes} minutes")).await;
        let stranger = Peer::new("https://new.test/users/x");
        let request = stranger.request("/inbox", stranger.note().to_string().as_bytes(), at);
        refused_without_a_trace(&server, request, "also of a stranger").await;
    }
}

#[tokio::test]
async fn a8_a9_a_wrong_key_of_a_known_actor_changes_nothing() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    let forger = Peer::new("https://p.test/users/bob");
    let body = bob.note().to_string();
    let now = OffsetDateTime::now_utc();
    let request = forger.request("/inbox", body.as_bytes(), now);
    refused_without_a_trace(&server, request, "a fresh key that fails is wrong").await;

    // An Update that brings another key, signed with that key.
    let update = json!({
        "id": "https://p.test/users/bob#updates/1", "type": "Update",
        "actor": "https://p.test/users/bob",
        "object": {"id": "https://p.test/users/bob", "type": "Person",
                   "inbox": "https://e.test/inbox",
                   "publicKey": {"id": "https://p.test/users/bob#main-key",
                                 "owner": "https://p.test/users/bob", "publicKeyPem": forger.pem}},
    });
    let request = forger.request("/inbox", update.to_string().as_bytes(), now);
    refused_without_a_trace(&server, request, "re-binding").await;
    let pem: String = sqlx::query_scalar("select public_key_pem from accounts where uri = $1")
        .bind(&bob.actor)
        .fetch_one(&server.deps.pool)
        .await
        .expect("bob");
    assert_eq!(pem, bob.pem);

    // A key that was looked up long ago may have been replaced: it is asked for again.
    sqlx::query("update accounts set fetched_at = now() - interval '2 hours'")
        .execute(&server.deps.pool)
        .await
        .expect("updates");
    assert_eq!(
        forger.post(&server, &bob.note()).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(server.count("unverified_activities").await, 1);
    assert_eq!(server.count("queue_messages").await, 0);
}

#[tokio::test]
async fn a11_key_ids_that_are_tricks_are_refused() {
    let server = Server::start().await;
    for actor in [
        "http://plain.test/users/x",
        "https://user:pw@e.test/users/x",
        "https://us.test/users/ada",
        "https://US.test:444/users/ada",
    ] {
        let peer = Peer::new(actor);
        let now = OffsetDateTime::now_utc();
        let request = peer.request("/inbox", peer.note().to_string().as_bytes(), now);
        refused_without_a_trace(&server, request, actor).await;
    }
}

#[tokio::test]
async fn a13_the_departure_of_a_stranger_leaves_no_trace() {
    let server = Server::start().await;
    let before = server.dump().await;
    for kind in ["Delete", "Update"] {
        let stranger = Peer::new("https://gone.test/users/x");
        let body = json!({"id": "https://gone.test/d", "type": kind, "actor": stranger.actor,
                          "object": stranger.actor});
        assert_eq!(
            stranger.post(&server, &body).await.status,
            StatusCode::ACCEPTED
        );
    }
    assert_eq!(server.dump().await, before);
    assert!(!server.fetched().await);
}

#[tokio::test]
async fn a_strangers_activity_waits_for_its_key_and_its_followers_wait_behind_it() {
    let server = Server::start().await;
    let stranger = Peer::new("https://new.test/users/x");
    assert_eq!(
        stranger.post(&server, &stranger.note()).await.status,
        StatusCode::ACCEPTED
    );
    let (method, path, headers, origin): (String, String, Value, String) =
        sqlx::query_as("select method, path, headers, origin from unverified_activities")
            .fetch_one(&server.deps.pool)
            .await
            .expect("one row");
    assert_eq!(
        (method.as_str(), path.as_str(), origin.as_str()),
        ("POST", "/inbox", "new.test")
    );
    assert!(
        headers["signature"]
            .as_str()
            .expect("kept")
            .contains("new.test")
    );
    assert_eq!(server.count("outbox").await, 1);
    assert_eq!(server.count("queue_messages").await, 0);
    assert!(
        !server.fetched().await,
        "the key is fetched by another role"
    );

    // The key becomes known, but the first activity still waits.
    sqlx::query(
        "insert into accounts (username, domain, uri, url, inbox_url, key_id, public_key_pem, fetched_at)
         values ('x', 'new.test', $1, $1, $1, $1 || '#main-key', $2, now())",
    )
    .bind(&stranger.actor)
    .bind(&stranger.pem)
    .execute(&server.deps.pool)
    .await
    .expect("stored");
    let mut second = stranger.note();
    second["object"]["content"] = json!("hello again");
    assert_eq!(
        stranger.post(&server, &second).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(server.count("unverified_activities").await, 2);
    assert_eq!(server.count("queue_messages").await, 0);
}

#[tokio::test]
async fn the_waiting_room_has_bounds() {
    let server = Server::start().await;
    let stranger = Peer::new("https://new.test/users/x");
    let mut big = stranger.note();
    big["object"]["content"] = json!("x".repeat(70_000));
    assert_eq!(
        stranger.post(&server, &big).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    sqlx::query(
        "insert into unverified_activities (origin, key_id, method, path, headers, body)
         select 'new.test', 'k', 'POST', '/inbox', '{}', '' from generate_series(1, 200)",
    )
    .execute(&server.deps.pool)
    .await
    .expect("filled");
    let full = stranger.post(&server, &stranger.note()).await;
    assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(full.headers.contains_key(header::RETRY_AFTER));
    let other = Peer::new("https://other.test/users/x");
    assert_eq!(
        other.post(&server, &other.note()).await.status,
        StatusCode::ACCEPTED
    );
    sqlx::query(
        "insert into unverified_activities (origin, key_id, method, path, headers, body)
         select 'o' || n, 'k', 'POST', '/inbox', '{}', '' from generate_series(1, 10000) n",
    )
    .execute(&server.deps.pool)
    .await
    .expect("filled");
    let third = Peer::new("https://third.test/users/x");
    assert_eq!(
        third.post(&server, &third.note()).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(server.count("outbox").await, 1);
}

#[tokio::test]
async fn sizes_shapes_and_names_are_checked_first() {
    let server = Server::start().await;
    let before = server.dump().await;
    let bob = Peer::new("https://p.test/users/bob");
    let now = OffsetDateTime::now_utc();
    let huge = vec![b' '; 1024 * 1024 + 1];
    let answer = server.send(bob.request("/inbox", &huge, now)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    for body in ["", "{}", "[1]", "{\"type\":\"Create\"}", "\u{0}"] {
        let answer = server
            .send(bob.request("/inbox", body.as_bytes(), now))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.json()["error"].is_string());
    }
    let nobody = bob.request("/users/nobody/inbox", b"{}", now);
    assert_eq!(server.send(nobody).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn without_a_broker_peers_are_asked_to_come_back() {
    use std::sync::Arc;
    let database = tidegate_testkit::Postgres::shared()
        .await
        .fresh_database()
        .await;
    let server = Server::on(crate::common::quick(), database, Arc::new(Away)).await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    let before = server.dump().await;
    let answer = bob.post(&server, &bob.note()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(server.dump().await, before);
}

/// A broker that is not there.
struct Away;

#[async_trait::async_trait]
impl tidegate_queue::Queue for Away {
    async fn declare(&self, _: &[String]) -> Result<(), tidegate_queue::QueueError> {
        Err(away())
    }

    async fn publish(
        &self,
        batch: Vec<tidegate_queue::Outgoing>,
    ) -> Vec<Result<(), tidegate_queue::QueueError>> {
        batch.iter().map(|_| Err(away())).collect()
    }

    async fn consume(
        &self,
        _: &[String],
        _: u16,
    ) -> Result<Box<dyn tidegate_queue::Consumer>, tidegate_queue::QueueError> {
        Err(away())
    }

    async fn stats(
        &self,
        _: &[String],
    ) -> Result<Vec<tidegate_queue::QueueStats>, tidegate_queue::QueueError> {
        Err(away())
    }
}

fn away() -> tidegate_queue::QueueError {
    tidegate_queue::QueueError::Unavailable("gone".to_owned())
}

#[tokio::test]
async fn forgeries_under_a_known_key_take_one_place_and_divert_nobody() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    let forger = Peer::new("https://p.test/users/bob");
    sqlx::query("update accounts set fetched_at = now() - interval '2 hours'")
        .execute(&server.deps.pool)
        .await
        .expect("updates");
    let note = bob.note();
    let first = forger.post(&server, &note).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    for n in 0..3 {
        let mut other = note.clone();
        other["object"]["content"] = json!(n);
        let again = forger.post(&server, &other).await;
        assert_eq!(again.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(again.headers.contains_key(header::RETRY_AFTER));
    }
    assert_eq!(server.count("unverified_activities").await, 1);
    // What the key proves goes its way, and a stranger of that origin has all its places.
    assert_eq!(bob.post(&server, &note).await.status, StatusCode::ACCEPTED);
    assert_eq!(server.count("queue_messages").await, 1);
    sqlx::query(
        "insert into unverified_activities (origin, key_id, method, path, headers, body)
         select 'p.test', 'k', 'POST', '/inbox', '{}', '' from generate_series(1, 199)",
    )
    .execute(&server.deps.pool)
    .await
    .expect("filled");
    let stranger = Peer::new("https://p.test/users/new");
    let note = stranger.note();
    assert_eq!(
        stranger.post(&server, &note).await.status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn what_is_proven_and_too_large_to_wait_is_asked_to_come_back() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    sqlx::query(
        "insert into unverified_activities (origin, key_id, method, path, headers, body)
         values ('p.test', 'https://p.test/users/bob#main-key', 'POST', '/inbox', '{}', '')",
    )
    .execute(&server.deps.pool)
    .await
    .expect("filled");
    let mut big = bob.note();
    big["object"]["content"] = json!("x".repeat(70_000));
    let answer = bob.post(&server, &big).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn a_suspended_actor_may_take_back_and_do_nothing_else() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    sqlx::query("update accounts set suspended_at = now()")
        .execute(&server.deps.pool)
        .await
        .expect("updates");
    assert_eq!(
        bob.post(&server, &bob.note()).await.status,
        StatusCode::FORBIDDEN
    );
    for kind in ["Delete", "Undo", "Reject", "Block"] {
        let body = json!({"id": format!("{}/{kind}", bob.actor), "type": kind,
                          "actor": bob.actor, "object": format!("{}/notes/1", bob.actor)});
        assert_eq!(
            bob.post(&server, &body).await.status,
            StatusCode::ACCEPTED,
            "{kind}"
        );
    }
    assert_eq!(server.count("queue_messages").await, 4);
}
