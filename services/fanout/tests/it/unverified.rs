//! Requests whose key must be fetched first.

use std::sync::LazyLock;

use http::Method;
use serde_json::{Value, json};
use sqlx::types::Json;
use tidegate_federation::keys::{KeyPairs, generate};
use tidegate_federation::signature::{SigningKey, body_digest, sign_cavage};
use tidegate_model::Message;
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::support::people::{act, actor_document};
use crate::support::{World, eventually};

const ADA: &str = "https://us.test/users/ada";
const NEW: &str = "https://n.test/users/new";

static KEYS: LazyLock<KeyPairs> = LazyLock::new(|| generate().expect("keys"));

fn key_id() -> String {
    format!("{NEW}#main-key")
}

/// Stores a request as the inbox does, signed by `NEW`, with another body when `tampered`.
pub(crate) async fn keep(
    world: &World,
    activity: &Value,
    age: Duration,
    tampered: bool,
) -> Message {
    keep_signed(world, activity, age, tampered, &KEYS).await
}

/// The same, signed with any key pair.
async fn keep_signed(
    world: &World,
    activity: &Value,
    age: Duration,
    tampered: bool,
    keys: &KeyPairs,
) -> Message {
    let body = activity.to_string();
    let received_at = OffsetDateTime::now_utc() - age;
    let key = SigningKey::rsa(key_id(), keys.rsa_private.expose()).expect("a key");
    let url = Url::parse("https://us.test/inbox").expect("a URL");
    let signed = if tampered { "{}" } else { &body };
    let digest = body_digest(signed.as_bytes());
    let headers =
        sign_cavage(&key, &Method::POST, &url, received_at, Some(&digest)).expect("signs");
    let headers: std::collections::BTreeMap<String, String> = headers
        .into_iter()
        .map(|(name, value)| (name.as_str().to_owned(), value))
        .collect();
    let id = sqlx::query_scalar(
        "insert into unverified_activities (origin, key_id, method, path, headers, body, received_at)
         values ('n.test', $1, 'POST', '/inbox', $2, $3, $4) returning id",
    )
    .bind(key_id())
    .bind(Json(headers))
    .bind(body.as_bytes())
    .bind(received_at)
    .fetch_one(&world.deps.pool)
    .await
    .expect("inserts");
    Message::Unverified { id }
}

/// `NEW` asks to follow ada.
pub(crate) fn follow(n: u32) -> Value {
    act("Follow", &format!("https://n.test/f/{n}"), NEW, &json!(ADA))
}

/// The key of `NEW` can be fetched.
pub(crate) fn serve_key(world: &World) {
    let document = actor_document("new", "n.test", &KEYS.rsa_public_pem);
    world.egress.serve_at(&key_id(), &document);
}

const ROWS: &str = "select count(*) from unverified_activities";

#[tokio::test]
async fn a_request_is_taken_in_once_its_key_is_there_and_its_neighbours_with_it() {
    let world = World::start().await;
    world.local(100, "ada").await;
    serve_key(&world);
    let first = keep(&world, &follow(1), Duration::ZERO, false).await;
    let undo = act("Undo", "https://n.test/u/1", NEW, &follow(1));
    let second = keep(&world, &undo, Duration::ZERO, false).await;
    // The later message comes first, and does both in their order.
    world.handle(vec![second]).await;
    world.handle(vec![first]).await;
    assert_eq!(world.count(ROWS).await, 0);
    assert_eq!(world.count("select count(*) from follows").await, 0);
    assert_eq!(
        world
            .count("select count(*) from activities where kind = 'Accept'")
            .await,
        1
    );
    assert_eq!(world.egress.asked(), [key_id()]);
}

#[tokio::test]
async fn a_wrong_signature_or_a_lying_key_leaves_nothing() {
    let world = World::start().await;
    world.local(100, "ada").await;
    let before = world.dump(&[]).await;
    // A8: the key's document belongs to somebody else, or lists another key.
    let other = actor_document("other", "m.test", &KEYS.rsa_public_pem);
    world.egress.serve_at(&key_id(), &other);
    let message = keep(&world, &follow(1), Duration::ZERO, false).await;
    world.handle(vec![message]).await;
    assert_eq!(world.dump(&[]).await, before);

    // A2: the body was changed on the way.
    serve_key(&world);
    let message = keep(&world, &follow(2), Duration::ZERO, true).await;
    world.handle(vec![message]).await;
    assert_eq!(world.count(ROWS).await, 0);
    assert_eq!(world.count("select count(*) from follows").await, 0);

    // A1: a right signature over what another is said to do.
    let foreign = act(
        "Follow",
        "https://p.test/f/1",
        "https://p.test/users/bob",
        &json!(ADA),
    );
    let message = keep(&world, &foreign, Duration::ZERO, false).await;
    world.handle(vec![message]).await;
    assert_eq!(world.count(ROWS).await, 0);
    assert_eq!(world.count("select count(*) from follows").await, 0);
}

/// A9: the key's document says that it is somebody whom we know, with another inbox and key.
#[tokio::test]
async fn a_document_in_somebody_elses_name_changes_nothing_and_raises_an_alarm() {
    let world = World::start().await;
    world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    let alarms = || {
        let text = String::from_utf8(tidegate_telemetry::render()).expect("text");
        let name = "tidegate_fanout_impersonations_total ";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.parse::<f64>().expect("a number"))
    };
    let before = alarms();
    let mut lie = actor_document("bob", "p.test", &KEYS.rsa_public_pem);
    lie["inbox"] = json!("https://m.test/inbox");
    world.egress.serve_at(&key_id(), &lie);
    let message = keep(&world, &follow(1), Duration::ZERO, false).await;
    world.handle(vec![message]).await;
    let after: (String, String, String) =
        sqlx::query_as("select uri, inbox_url, public_key_pem from accounts where id = $1")
            .bind(bob.id)
            .fetch_one(&world.deps.pool)
            .await
            .expect("bob");
    assert_eq!(after, (bob.uri, bob.inbox_url, bob.public_key_pem));
    assert_eq!(world.count("select count(*) from follows").await, 0);
    assert!(alarms() > before, "nobody was told");
}

/// A14: somebody whom we know says goodbye, and the key of that is not to be had any more.
#[tokio::test]
async fn a_departure_is_believed_when_its_own_server_says_that_the_key_is_gone() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let leaver = world.remote("new", "n.test").await;
    world.follow(&leaver, &ada).await;
    let before = world.dump(&[]).await;
    let goodbye = act("Delete", "https://n.test/d/1", NEW, &json!(NEW));
    // 404: perhaps a mistake, and in any case no proof.
    let message = keep(&world, &goodbye, Duration::ZERO, false).await;
    world.handle(vec![message]).await;
    assert_eq!(world.dump(&[]).await, before);

    world.egress.end(&key_id());
    // Only for one who leaves: nothing else is believed without a key, nor of anybody else.
    let note = act(
        "Delete",
        "https://n.test/d/2",
        NEW,
        &json!("https://n.test/notes/1"),
    );
    let other = act(
        "Delete",
        "https://n.test/d/3",
        "https://n.test/users/other",
        &json!("https://n.test/users/other"),
    );
    for activity in [follow(1), note, other] {
        let message = keep(&world, &activity, Duration::ZERO, false).await;
        world.handle(vec![message]).await;
        assert_eq!(world.dump(&[]).await, before, "{activity}");
    }
    let message = keep(&world, &goodbye, Duration::ZERO, false).await;
    world.handle(vec![message]).await;
    assert_eq!(world.count(ROWS).await, 0);
    let gone = "select count(*) from accounts where username = 'new' and deleted_at is not null";
    assert_eq!(world.count(gone).await, 1);
    assert_eq!(world.count("select count(*) from follows").await, 0);
}

#[tokio::test]
async fn a_key_that_cannot_be_had_is_waited_for_at_most_a_day() {
    let world = World::start().await;
    world.local(100, "ada").await;
    world.egress.set_away(true);
    let message = keep(&world, &follow(1), Duration::ZERO, false).await;
    world.publish(vec![message]).await;
    eventually("it is put back with a delay", async || {
        world
            .count(
                "select count(*) from queue_messages where visible_at > now() and holder is null",
            )
            .await
            == 1
    })
    .await;
    assert_eq!(world.count(ROWS).await, 1);
    assert_eq!(
        world
            .count("select count(*) from accounts where domain is not null")
            .await,
        0
    );

    sqlx::query("update unverified_activities set received_at = now() - interval '25 hours'")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    sqlx::query("update queue_messages set visible_at = now()")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    world.settled().await;
    assert_eq!(world.count(ROWS).await, 0);
}

#[tokio::test]
async fn a_change_of_key_loses_nothing_that_was_signed_before_or_after_it() {
    let world = World::start().await;
    world.local(100, "ada").await;
    serve_key(&world);
    let first = keep(&world, &follow(1), Duration::ZERO, false).await;
    world.handle(vec![first]).await;
    let new_keys = generate().expect("keys");
    let document = actor_document("new", "n.test", &new_keys.rsa_public_pem);
    world.egress.serve_at(&key_id(), &document);
    let undo = act("Undo", "https://n.test/u/1", NEW, &follow(1));
    let before = keep(&world, &undo, Duration::ZERO, false).await;
    keep_signed(&world, &follow(2), Duration::ZERO, false, &new_keys).await;
    world.handle(vec![before]).await;
    assert_eq!(world.count(ROWS).await, 0);
    let uri = "select count(*) from follows where uri = 'https://n.test/f/2'";
    assert_eq!(world.count(uri).await, 1);
}

#[tokio::test]
async fn the_window_is_the_operators() {
    for (window, follows) in [(11, 1), (9, 0)] {
        let mut world = World::stopped().await;
        world.options.signature_window = Duration::minutes(window);
        world.run();
        world.local(100, "ada").await;
        serve_key(&world);
        let message = keep(&world, &follow(1), Duration::ZERO, false).await;
        sqlx::query(
            "update unverified_activities set received_at = received_at + interval '10 minutes'",
        )
        .execute(&world.deps.pool)
        .await
        .expect("updates");
        world.handle(vec![message]).await;
        assert_eq!(world.count("select count(*) from follows").await, follows);
        assert_eq!(world.count(ROWS).await, 0);
    }
}

/// A1: the inbox lets wait what names anybody of the key's origin; whose key it is shows only here.
#[tokio::test]
async fn a_stranger_does_not_speak_for_another_of_its_own_origin() {
    let world = World::start().await;
    world.local(100, "ada").await;
    let victim = world.remote("victim", "n.test").await;
    serve_key(&world);
    for (n, name) in [&victim.uri, "https://n.test/users/unheard"]
        .iter()
        .enumerate()
    {
        let id = format!("https://n.test/f/{n}");
        let message = keep(
            &world,
            &act("Follow", &id, name, &json!(ADA)),
            Duration::ZERO,
            false,
        )
        .await;
        world.handle(vec![message]).await;
    }
    assert_eq!(world.count(ROWS).await, 0);
    assert_eq!(world.count("select count(*) from follows").await, 0);
    assert_eq!(world.count("select count(*) from inbound_seen").await, 0);
    // The victim, the signer itself, ada: nobody else became known.
    assert_eq!(world.count("select count(*) from accounts").await, 3);
}
