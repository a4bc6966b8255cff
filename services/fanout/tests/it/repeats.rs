//! The promise of `docs/effects.md`: every message three times, in any order, leaves the same
//! as every message once.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::json;
use tidegate_federation::PUBLIC;
use tidegate_model::{Mail, Message, Visibility};
use tidegate_store::activities::Audience;

use crate::support::people::{act, actor_document, create, follow_uri, note};
use crate::support::{World, eventually, inbound};

const ADA: &str = "https://us.test/users/ada";
const BOB: &str = "https://p.test/users/bob";

/// Readers whose home timelines are compared.
const READERS: [i64; 2] = [100, 101];

/// The same beginning for every run, and one message for every kind of effect. None of them
/// depends on the order of two others, other than through what the handlers make right.
async fn prepare(world: &World) -> Vec<Message> {
    let ada = world.local(100, "ada").await;
    let carol = world.local(101, "carol").await;
    let locked = world.local(102, "locked").await;
    sqlx::query("update accounts set locked = true where id = 102")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    let bob = world.remote("bob", "p.test").await;
    let dan = world.remote("dan", "d.test").await;
    let erin = world.remote("erin", "e.test").await;
    let frank = world.remote("frank", "f.test").await;
    let gil = world.remote("gil", "g.test").await;
    world.follow(&ada, &bob).await;
    world.follow(&carol, &ada).await;
    world.follow(&frank, &locked).await;
    for follower in [&bob, &dan, &gil] {
        world.follow(follower, &carol).await;
    }
    world.ask(&locked, &gil, false).await;
    for reader in READERS {
        world.timelines.open(reader).await;
    }
    let pem = crate::support::people::real_pem();
    world.egress.serve(&actor_document("hana", "h.test", &pem));
    let boosted = note("https://h.test/users/hana", "1", &[]);
    world.egress.serve(&boosted);

    let post = world
        .post(5_001, &ada, Visibility::Public, &[carol.id])
        .await;
    let planned = world
        .post(5_002, &carol, Visibility::Public, &[bob.id])
        .await;
    let audience = Audience {
        followers_of: Some(carol.id),
        accounts: vec![bob.id, dan.id],
        earlier_recipients: false,
    };
    let activity_id = world.enqueue("Create", &planned, audience).await;
    eventually("the relay publishes the plan", async || {
        world.count("select count(*) from outbox").await == 0
    })
    .await;
    sqlx::query("delete from queue_messages")
        .execute(&world.deps.pool)
        .await
        .expect("deletes");

    let mention = note(BOB, "mention", &[ADA]);
    let mut reply = note(BOB, "reply", &[]);
    reply["inReplyTo"] = mention["id"].clone();
    let mut boost = act("Announce", "https://p.test/b/1", BOB, &boosted["id"]);
    boost["to"] = json!([PUBLIC]);
    let mut own_boost = act("Announce", "https://p.test/b/2", BOB, &json!(post.uri));
    own_boost["to"] = json!([PUBLIC]);
    let mut profile = actor_document("bob", "p.test", crate::support::people::PEM);
    profile["publicKey"]["publicKeyPem"] = json!(pem);
    profile["name"] = json!("Robert");
    let like = act("Like", "https://d.test/l/1", &dan.uri, &json!(post.uri));
    let taken_back = act("Like", "https://e.test/l/1", &erin.uri, &json!(post.uri));
    let asked = follow_uri(&locked, &gil);
    vec![
        Message::FanoutStatus { status_id: post.id },
        Message::FanoutStatus {
            status_id: planned.id,
        },
        Message::Plan { activity_id },
        inbound(bob.id, &create(&mention)),
        inbound(bob.id, &create(&reply)),
        inbound(bob.id, &boost),
        inbound(bob.id, &own_boost),
        inbound(bob.id, &act("Update", "https://p.test/up/1", BOB, &profile)),
        inbound(
            bob.id,
            &act(
                "Delete",
                "https://p.test/d/1",
                BOB,
                &json!("https://p.test/gone"),
            ),
        ),
        inbound(dan.id, &like),
        inbound(erin.id, &taken_back),
        inbound(
            erin.id,
            &act("Undo", "https://e.test/u/1", &erin.uri, &taken_back),
        ),
        inbound(
            erin.id,
            &act("Follow", "https://e.test/f/1", &erin.uri, &json!(ADA)),
        ),
        inbound(
            dan.id,
            &act("Follow", "https://d.test/f/1", &dan.uri, &json!(locked.uri)),
        ),
        inbound(
            frank.id,
            &act(
                "Block",
                "https://f.test/x/1",
                &frank.uri,
                &json!(locked.uri),
            ),
        ),
        inbound(
            gil.id,
            &act("Accept", "https://g.test/a/1", &gil.uri, &json!(asked)),
        ),
        Message::Mail(Mail {
            dedupe_key: "confirm:1".to_owned(),
            to: "ada@example.org".to_owned(),
            subject: "Confirm".to_owned(),
            text: "Hello".to_owned(),
        }),
    ]
}

#[tokio::test]
async fn every_message_three_times_and_shuffled_leaves_what_once_leaves() {
    let once = World::start().await;
    let messages = prepare(&once).await;
    for message in messages {
        once.handle(vec![message]).await;
    }
    let expected = once.dump(&READERS).await;
    assert!(expected["notifications"].len() >= 6, "{expected:?}");
    assert!(expected["dead_messages"].is_empty(), "{expected:?}");
    drop(once);

    for seed in 1..=3 {
        let thrice = World::start().await;
        let messages = prepare(&thrice).await;
        let mut copies: Vec<Message> = messages
            .iter()
            .cycle()
            .take(3 * messages.len())
            .cloned()
            .collect();
        copies.shuffle(&mut StdRng::seed_from_u64(seed));
        thrice.handle(copies).await;
        let dump = thrice.dump(&READERS).await;
        for (table, rows) in &expected {
            assert_eq!(&dump[table], rows, "{table}, seed {seed}");
        }
        let mails = std::fs::read_dir(thrice.mail.path())
            .expect("a folder")
            .count();
        assert_eq!(mails, 1);
    }
}
