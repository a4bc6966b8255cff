//! The promise of `docs/effects.md`: every message three times, in any order, leaves the same
//! as every message once.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::json;
use tidegate_federation::PUBLIC;
use tidegate_model::{Mail, Message, Visibility};
use tidegate_store::accounts::Account;
use tidegate_store::activities::Audience;

use crate::support::people::{act, actor_document, create, follow_uri, note, real_pem};
use crate::support::{World, eventually, inbound};
use crate::unverified::{follow, keep, serve_key};

const ADA: &str = "https://us.test/users/ada";
const BOB: &str = "https://p.test/users/bob";
const POST: &str = "https://us.test/users/ada/statuses/5001";

/// Readers whose home timelines are compared.
const READERS: [i64; 2] = [100, 101];

/// Who is there in every run.
struct Cast {
    ada: Account,
    carol: Account,
    locked: Account,
    bob: Account,
    dan: Account,
    erin: Account,
    frank: Account,
    gil: Account,
    ivan: Account,
    jo: Account,
}

async fn cast(world: &World) -> Cast {
    let cast = Cast {
        ada: world.local(100, "ada").await,
        carol: world.local(101, "carol").await,
        locked: world.local(102, "locked").await,
        bob: world.remote("bob", "p.test").await,
        dan: world.remote("dan", "d.test").await,
        erin: world.remote("erin", "e.test").await,
        frank: world.remote("frank", "f.test").await,
        gil: world.remote("gil", "g.test").await,
        ivan: world.remote("ivan", "i.test").await,
        jo: world.remote("jo", "j.test").await,
    };
    sqlx::query("update accounts set locked = true where id = 102")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    world.follow(&cast.ada, &cast.bob).await;
    world.follow(&cast.carol, &cast.ada).await;
    world.follow(&cast.frank, &cast.locked).await;
    for follower in [&cast.bob, &cast.dan, &cast.gil] {
        world.follow(follower, &cast.carol).await;
    }
    world.ask(&cast.locked, &cast.gil, false).await;
    world.ask(&cast.carol, &cast.jo, false).await;
    world.follow(&cast.jo, &cast.locked).await;
    world.follow(&cast.carol, &cast.ivan).await;
    sqlx::query(
        "insert into statuses (uri, account_id, local, visibility, content)
         values ($1, $2, false, 'public', '<p>first</p>')",
    )
    .bind(format!("{BOB}/notes/old"))
    .bind(cast.bob.id)
    .execute(&world.deps.pool)
    .await
    .expect("a post that is there already");
    for reader in READERS {
        world.timelines.open(reader).await;
    }
    cast
}

/// The same beginning for every run, and one message for every kind of effect. None of them
/// depends on the order of two others, other than through what the handlers make right.
async fn prepare(world: &World) -> Vec<Message> {
    let cast = cast(world).await;
    let mut messages = of_this_instance(world, &cast).await;
    messages.extend(of_others(world, &cast));
    serve_key(world);
    messages.push(keep(world, &follow(1), time::Duration::ZERO, false).await);
    messages
}

/// Fan-out, planning and mail.
async fn of_this_instance(world: &World, cast: &Cast) -> Vec<Message> {
    let (carol, bob) = (&cast.carol, &cast.bob);
    let post = world
        .post(5_001, &cast.ada, Visibility::Public, &[carol.id])
        .await;
    let planned = world
        .post(5_002, carol, Visibility::Public, &[bob.id])
        .await;
    let audience = Audience {
        followers_of: Some(carol.id),
        accounts: vec![bob.id, cast.dan.id],
        earlier_recipients: false,
    };
    let activity_id = world.enqueue("Create", &planned, audience).await;
    eventually("the relay publishes the plan", async || {
        world.count("select count(*) from outbox").await == 0
    })
    .await;
    // Its only copy; the ones that count are published with the others.
    sqlx::query("delete from queue_messages")
        .execute(&world.deps.pool)
        .await
        .expect("deletes");
    vec![
        Message::FanoutStatus { status_id: post.id },
        Message::FanoutStatus {
            status_id: planned.id,
        },
        Message::FanoutRange {
            status_id: post.id,
            start: 1,
            end: i64::MAX,
        },
        Message::Plan { activity_id },
        Message::Mail(Mail {
            dedupe_key: "confirm:1".to_owned(),
            to: "ada@example.org".to_owned(),
            subject: "Confirm".to_owned(),
            text: "Hello".to_owned(),
        }),
    ]
}

/// Every kind of activity that is taken in.
fn of_others(world: &World, cast: &Cast) -> Vec<Message> {
    let Cast {
        bob,
        dan,
        erin,
        frank,
        gil,
        ivan,
        jo,
        carol,
        locked,
        ..
    } = cast;
    let pem = real_pem();
    world.egress.serve(&actor_document("hana", "h.test", &pem));
    let boosted = note("https://h.test/users/hana", "1", &[]);
    world.egress.serve(&boosted);

    let mention = note(BOB, "mention", &[ADA]);
    let mut reply = note(BOB, "reply", &[]);
    reply["inReplyTo"] = mention["id"].clone();
    let mut boost = act("Announce", "https://p.test/b/1", BOB, &boosted["id"]);
    boost["to"] = json!([PUBLIC]);
    let mut own_boost = act("Announce", "https://p.test/b/2", BOB, &json!(POST));
    own_boost["to"] = json!([PUBLIC]);
    let mut profile = actor_document("bob", "p.test", &pem);
    profile["name"] = json!("Robert");
    let like = act("Like", "https://d.test/l/1", &dan.uri, &json!(POST));
    let taken_back = act("Like", "https://e.test/l/1", &erin.uri, &json!(POST));
    let undo = act("Undo", "https://e.test/u/1", &erin.uri, &taken_back);
    let gone = json!("https://p.test/gone");
    let asked = json!(follow_uri(locked, gil));
    let declined = json!(follow_uri(carol, jo));
    // Not somebody whose post is planned: its audience would depend on which comes first.
    let followed = json!(locked.uri);
    let left = act("Follow", &follow_uri(jo, locked), &jo.uri, &followed);
    let leaves = act("Undo", "https://j.test/u/1", &jo.uri, &left);
    let ends = act("Delete", "https://i.test/d/1", &ivan.uri, &json!(ivan.uri));
    let mut edited = note(BOB, "old", &[]);
    edited["content"] = json!("<p>second</p>");
    edited["updated"] = json!("2026-11-01T00:00:00Z");
    let (ada, locked) = (json!(ADA), json!(locked.uri));
    vec![
        inbound(bob.id, &create(&mention)),
        inbound(bob.id, &create(&reply)),
        inbound(bob.id, &boost),
        inbound(bob.id, &own_boost),
        inbound(bob.id, &act("Update", "https://p.test/up/1", BOB, &profile)),
        inbound(bob.id, &act("Delete", "https://p.test/d/1", BOB, &gone)),
        inbound(bob.id, &act("Update", "https://p.test/up/2", BOB, &edited)),
        inbound(ivan.id, &ends),
        inbound(jo.id, &leaves),
        inbound(
            jo.id,
            &act("Reject", "https://j.test/r/1", &jo.uri, &declined),
        ),
        inbound(dan.id, &like),
        inbound(erin.id, &taken_back),
        inbound(erin.id, &undo),
        inbound(
            erin.id,
            &act("Follow", "https://e.test/f/1", &erin.uri, &ada),
        ),
        inbound(
            dan.id,
            &act("Follow", "https://d.test/f/1", &dan.uri, &locked),
        ),
        inbound(
            frank.id,
            &act("Block", "https://f.test/x/1", &frank.uri, &locked),
        ),
        inbound(
            gil.id,
            &act("Accept", "https://g.test/a/1", &gil.uri, &asked),
        ),
    ]
}

#[tokio::test]
async fn every_message_three_times_and_shuffled_leaves_what_once_leaves() {
    let mut once = World::stopped().await;
    let messages = Box::pin(prepare(&once)).await;
    once.run();
    for message in messages {
        once.handle(vec![message]).await;
    }
    let expected = once.dump(&READERS).await;
    assert!(expected["notifications"].len() >= 6, "{expected:?}");
    assert!(expected["deliveries"].len() >= 4, "{expected:?}");
    assert!(expected["dead_messages"].is_empty(), "{expected:?}");
    drop(once);

    for seed in 1..=4 {
        let mut thrice = if seed == 4 {
            World::with_two_connections().await
        } else {
            World::stopped().await
        };
        let messages = Box::pin(prepare(&thrice)).await;
        thrice.run();
        let all = messages.iter().cycle().take(3 * messages.len());
        let mut copies: Vec<Message> = all.cloned().collect();
        copies.shuffle(&mut StdRng::seed_from_u64(seed));
        thrice.handle(copies).await;
        let dump = thrice.dump(&READERS).await;
        for (table, rows) in &expected {
            assert_eq!(&dump[table], rows, "{table}, seed {seed}");
        }
        let mails = std::fs::read_dir(thrice.mail.path()).expect("a folder");
        assert_eq!(mails.count(), 1);
    }
}
