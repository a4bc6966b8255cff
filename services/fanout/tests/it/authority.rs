//! Hostile servers. Every refused attack must leave no trace: the whole dump is compared.

use serde_json::{Value, json};
use tidegate_federation::PUBLIC;
use tidegate_model::{Message, Visibility};
use tidegate_store::accounts::Account;

use crate::support::people::{act, actor_document, create, follow_uri, note};
use crate::support::{World, inbound};

const ADA: &str = "https://us.test/users/ada";
const BOB: &str = "https://p.test/users/bob";
const EVE: &str = "https://e.test/users/eve";

struct Stage {
    world: World,
    ada: Account,
    bob: Account,
    eve: Account,
}

/// Ada here follows Bob and Eve; Bob has a post here, Ada a private one.
async fn stage() -> Stage {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    let eve = world.remote("eve", "e.test").await;
    world.follow(&ada, &bob).await;
    world.follow(&ada, &eve).await;
    world.follow(&eve, &ada).await;
    world.receive(bob.id, &create(&note(BOB, "1", &[]))).await;
    world.post(5_001, &ada, Visibility::Private, &[]).await;
    Stage {
        world,
        ada,
        bob,
        eve,
    }
}

impl Stage {
    /// Eve sends this, and nothing changes, nothing is asked for and nothing is sent.
    async fn is_refused(&self, name: &str, activity: &Value) {
        let before = self.world.dump(&[self.ada.id]).await;
        let asked = self.world.egress.asked();
        self.world.receive(self.eve.id, activity).await;
        let after = self.world.dump(&[self.ada.id]).await;
        assert_eq!(after, before, "{name}: {activity}");
        assert_eq!(self.world.egress.asked(), asked, "{name}");
        let dead = "select count(*) from dead_messages";
        assert_eq!(self.world.count(dead).await, 0, "{name}");
    }
}

#[tokio::test]
async fn a_create_of_anothers_id_or_author_is_refused() {
    let stage = stage().await;
    // B1: Bob's id, Eve's bytes.
    let mut forged = note(EVE, "x", &[ADA]);
    forged["id"] = json!("https://p.test/notes/1");
    stage
        .is_refused("B1 id", &act("Create", "https://e.test/c/1", EVE, &forged))
        .await;
    let mut forged = note(EVE, "x", &[ADA]);
    forged["attributedTo"] = json!(BOB);
    stage
        .is_refused(
            "B1 author",
            &act("Create", "https://e.test/c/2", EVE, &forged),
        )
        .await;
    // B11: ours.
    let mut forged = note(EVE, "x", &[ADA]);
    forged["attributedTo"] = json!(ADA);
    stage
        .is_refused("B11", &act("Create", "https://e.test/c/3", EVE, &forged))
        .await;
    // An activity in another's name.
    stage
        .is_refused(
            "actor",
            &act("Create", "https://p.test/c/4", BOB, &note(BOB, "9", &[ADA])),
        )
        .await;
    // Another's note, only named.
    let named = act(
        "Create",
        "https://e.test/c/5",
        EVE,
        &json!("https://p.test/notes/1"),
    );
    stage.is_refused("B1 named", &named).await;
}

#[tokio::test]
async fn an_update_across_origins_is_refused() {
    let stage = stage().await;
    let mut edited = note(BOB, "1", &[]);
    edited["content"] = json!("defaced");
    edited["updated"] = json!("2026-06-01T00:00:00Z");
    stage
        .is_refused(
            "B6 note",
            &act("Update", "https://e.test/u/1", EVE, &edited),
        )
        .await;
    let mut edited = note(EVE, "1", &[]);
    edited["id"] = json!(format!("{BOB}/notes/1"));
    edited["updated"] = json!("2026-06-01T00:00:00Z");
    stage
        .is_refused("B6 id", &act("Update", "https://e.test/u/2", EVE, &edited))
        .await;
    let profile = actor_document("bob", "p.test", &crate::support::people::real_pem());
    stage
        .is_refused(
            "B6 person",
            &act("Update", "https://e.test/u/3", EVE, &profile),
        )
        .await;
    let delete = act(
        "Delete",
        "https://e.test/d/1",
        EVE,
        &json!(format!("{BOB}/notes/1")),
    );
    stage.is_refused("delete", &delete).await;
    let delete = act("Delete", "https://e.test/d/2", EVE, &json!(BOB));
    stage.is_refused("delete account", &delete).await;
}

#[tokio::test]
async fn a_neighbour_on_the_same_host_does_not_own_the_post() {
    let stage = stage().await;
    let world = &stage.world;
    let mallory = world.remote("mallory", "p.test").await;
    let before = world.dump(&[]).await;
    let uri = format!("{BOB}/notes/1");
    let me = mallory.uri.as_str();
    let mut edited = note(me, "1", &[]);
    edited["id"] = json!(uri);
    edited["updated"] = json!("2026-06-01T00:00:00Z");
    for activity in [
        act("Update", "https://p.test/m/1", me, &edited),
        act("Delete", "https://p.test/m/2", me, &json!(uri)),
    ] {
        world.receive(mallory.id, &activity).await;
        assert_eq!(world.dump(&[]).await, before);
    }
}

#[tokio::test]
async fn forged_answers_and_undos_change_no_relation() {
    let stage = stage().await;
    let (world, ada, bob) = (&stage.world, &stage.ada, &stage.bob);
    let carl = world.remote("carl", "q.test").await;
    world.ask(ada, &carl, false).await;
    world.follow(bob, ada).await;
    let asked = follow_uri(ada, &carl);
    let granted = follow_uri(ada, bob);
    let bobs = follow_uri(bob, ada);
    let follow = |id: &str, actor: &str, object: &str| json!({"id": id, "type": "Follow", "actor": actor, "object": object});
    let never = follow("https://us.test/f/0", ADA, "https://e.test/users/other");
    for (name, activity) in [
        (
            "never asked",
            act("Accept", "https://e.test/1", EVE, &never),
        ),
        (
            "accept for another",
            act("Accept", "https://e.test/2", EVE, &json!(asked)),
        ),
        (
            "accept for another, inline",
            act(
                "Accept",
                "https://e.test/3",
                EVE,
                &follow(&asked, ADA, &carl.uri),
            ),
        ),
        (
            "accept for another, aimed at herself",
            act("Accept", "https://e.test/4", EVE, &follow(&asked, ADA, EVE)),
        ),
        (
            "reject of another's",
            act("Reject", "https://e.test/5", EVE, &json!(granted)),
        ),
        (
            "undo of another's",
            act("Undo", "https://e.test/6", EVE, &follow(&bobs, BOB, ADA)),
        ),
        (
            "undo of another's, by id",
            act("Undo", "https://e.test/7", EVE, &json!(bobs)),
        ),
    ] {
        stage.is_refused(name, &activity).await;
    }
}

#[tokio::test]
async fn nothing_remote_widens_a_private_post() {
    let stage = stage().await;
    let post = format!("{ADA}/statuses/5001");
    let mut copy = note(EVE, "x", &[]);
    copy["id"] = json!(post);
    stage
        .is_refused("B10 create", &act("Create", "https://e.test/1", EVE, &copy))
        .await;
    copy["attributedTo"] = json!(ADA);
    stage
        .is_refused("B10 update", &act("Update", "https://e.test/2", EVE, &copy))
        .await;
    let mut boost = act("Announce", "https://e.test/3", EVE, &json!(post));
    boost["to"] = json!([PUBLIC]);
    stage.is_refused("B10 announce", &boost).await;
    let mut add = act("Add", "https://e.test/4", EVE, &json!(post));
    add["to"] = json!([PUBLIC]);
    stage.is_refused("B10 add", &add).await;
    // Somebody who may not see it cannot like it either.
    let stranger = stage.world.remote("stranger", "s.test").await;
    let before = stage.world.dump(&[]).await;
    let like = act("Like", "https://s.test/l/1", &stranger.uri, &json!(post));
    stage.world.receive(stranger.id, &like).await;
    assert_eq!(stage.world.dump(&[]).await, before);
}

#[tokio::test]
async fn what_an_announce_carries_is_fetched_from_its_origin() {
    let stage = stage().await;
    let world = &stage.world;
    let truth = note(BOB, "2", &[]);
    world.egress.serve(&truth);
    let mut altered = truth.clone();
    altered["content"] = json!("I never said that");
    let mut boost = act("Announce", "https://e.test/b/1", EVE, &altered);
    boost["to"] = json!([PUBLIC]);
    world.receive(stage.eve.id, &boost).await;
    let uri = truth["id"].as_str().expect("an id");
    let stored = world.status(uri).await.expect("is stored");
    assert_eq!(stored.content, "<p>2</p>");
    assert_eq!(world.egress.asked(), [uri]);
}

#[tokio::test]
async fn a_boost_of_a_suspended_or_non_public_author_is_refused() {
    let stage = stage().await;
    let world = &stage.world;
    let carl = world.remote("carl", "q.test").await;
    sqlx::query("update accounts set suspended_at = now() where id = $1")
        .bind(carl.id)
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    let post = note(&carl.uri, "1", &[]);
    let mut private = note(BOB, "3", &[]);
    private["to"] = json!([format!("{BOB}/followers")]);
    private["cc"] = json!([]);
    world.egress.serve(&post);
    world.egress.serve(&private);
    let before = world.dump(&[]).await;
    for (n, post) in [post, private].iter().enumerate() {
        let id = format!("https://e.test/b/{n}");
        let mut boost = act("Announce", &id, EVE, &post["id"]);
        boost["to"] = json!([PUBLIC]);
        world.receive(stage.eve.id, &boost).await;
        assert_eq!(world.dump(&[]).await, before);
    }
    // The suspended themselves are not heard either.
    let create = create(&note(&carl.uri, "2", &[ADA]));
    world.receive(carl.id, &create).await;
    assert_eq!(world.dump(&[]).await, before);
}

#[tokio::test]
async fn a_deleted_post_does_not_come_back() {
    let stage = stage().await;
    let world = &stage.world;
    let post = note(BOB, "7", &[ADA]);
    let uri = post["id"].as_str().expect("an id");
    let delete = act(
        "Delete",
        "https://p.test/d/7",
        BOB,
        &json!({"id": uri, "type": "Tombstone"}),
    );
    world.receive(stage.bob.id, &delete).await;
    world.receive(stage.bob.id, &create(&post)).await;
    assert!(world.status(uri).await.is_none());

    // Nor by an Update, nor by a boost.
    let mut edited = post.clone();
    edited["updated"] = json!("2026-06-01T00:00:00Z");
    let update = act("Update", "https://p.test/e/7", BOB, &edited);
    world.receive(stage.bob.id, &update).await;
    world.egress.serve(&post);
    let mut boost = act("Announce", "https://e.test/b/7", EVE, &json!(uri));
    boost["to"] = json!([PUBLIC]);
    world.receive(stage.eve.id, &boost).await;
    assert!(world.status(uri).await.is_none());
    assert!(world.egress.asked().is_empty());
}

#[tokio::test]
async fn a_hundred_copies_at_once_count_once() {
    let stage = stage().await;
    let world = &stage.world;
    let post = world.post(5_002, &stage.ada, Visibility::Public, &[]).await;
    let like = act("Like", "https://e.test/l/1", EVE, &json!(post.uri));
    let follow = act("Follow", "https://p.test/f/1", BOB, &json!(ADA));
    let mut copies: Vec<Message> = vec![inbound(stage.eve.id, &like); 100];
    copies.extend(vec![inbound(stage.bob.id, &follow); 100]);
    world.handle(copies).await;
    let once = "select (select count(*) from favourites) * 1000
                     + (select count(*) from notifications) * 100
                     + (select count(*) from activities) * 10
                     + (select favourites_count from statuses where id = 5002)";
    assert_eq!(world.count(once).await, 1_000 + 200 + 10 + 1);
}

#[tokio::test]
async fn nobody_uses_up_the_ids_of_another() {
    let stage = stage().await;
    let world = &stage.world;
    let mallory = world.remote("mallory", "p.test").await;
    let post = world.post(5_002, &stage.ada, Visibility::Public, &[]).await;
    let id = "https://p.test/l/1";
    let theirs = act("Like", id, &mallory.uri, &json!(post.uri));
    let bobs = act("Follow", id, BOB, &json!(ADA));
    world.receive(mallory.id, &theirs).await;
    world.receive(stage.bob.id, &bobs).await;
    let both = "select (select count(*) from favourites) * 10
                     + (select count(*) from follows where target_id = 100 and account_id <> 100)";
    // Eve follows from the start.
    assert_eq!(world.count(both).await, 12);
}

#[tokio::test]
async fn what_cannot_be_read_is_dropped_without_a_trace() {
    let stage = stage().await;
    let before = stage.world.dump(&[]).await;
    for body in [
        String::new(),
        "[]".to_owned(),
        "{".to_owned(),
        json!({"type": "Follow"}).to_string(),
        json!({"type": "Follow", "actor": EVE}).to_string(),
        json!({"type": "Follow", "actor": EVE, "object": 7, "id": "x"}).to_string(),
        json!({"type": "Dance", "actor": EVE, "object": ADA}).to_string(),
        json!({"type": "Create", "actor": EVE, "object": {"@graph": [], "id": EVE}}).to_string(),
        "[".repeat(100_000),
    ] {
        let account_id = stage.eve.id;
        let message = Message::Inbound {
            account_id,
            body,
            received_at: 0,
        };
        stage.world.handle(vec![message]).await;
    }
    assert_eq!(stage.world.dump(&[]).await, before);
}

/// A16: a signature inside a body says nothing, whole or with a property gone, moved or renamed:
/// what somebody else wrote is believed from its origin only.
#[tokio::test]
async fn a_signature_inside_the_body_speaks_for_nobody() {
    let stage = stage().await;
    let honest = note(BOB, "signed", &[]);
    let mut gone = honest.clone();
    gone.as_object_mut().expect("an object").remove("to");
    let mut renamed = honest.clone();
    renamed["summary"] = renamed["content"].take();
    for (name, object) in [("whole", honest), ("gone", gone), ("renamed", renamed)] {
        let mut activity = create(&object);
        activity["signature"] = serde_json::json!({
            "type": "RsaSignature2017",
            "creator": format!("{BOB}#main-key"),
            "created": "2026-01-01T00:00:00Z",
            "signatureValue": "c2lnbmVkIGJ5IGJvYg==",
        });
        stage.is_refused(name, &activity).await;
        let mut moved = activity.clone();
        moved["object"]["signature"] = moved["signature"].take();
        stage.is_refused(name, &moved).await;
    }
}

/// E7: what looks like a statement is text, in every field that is kept.
#[tokio::test]
async fn hostile_words_are_words() {
    const WORDS: &str = "'); drop table statuses; -- $1 %s ${x} \\";
    let stage = stage().await;
    let mut hostile = note(EVE, "words", &[ADA]);
    hostile["content"] = json!(format!("<p>{WORDS}</p>"));
    hostile["summary"] = json!(WORDS);
    hostile["url"] = json!("https://e.test/');drop table statuses;--");
    let tags = hostile["tag"].as_array_mut().expect("tags");
    tags[0]["name"] = json!(WORDS);
    tags.push(json!({"type": "Hashtag", "name": format!("#{WORDS}"), "href": EVE}));
    tags.push(json!({"type": "Emoji", "name": format!(":{WORDS}:"), "id": WORDS}));
    stage.world.receive(stage.eve.id, &create(&hostile)).await;
    let told = "select count(*) from statuses
        where spoiler_text = $words$'); drop table statuses; -- $1 %s ${x} \\$words$
          and content like $words$<p>'); drop table statuses; -- $1%</p>$words$";
    assert_eq!(stage.world.count(told).await, 1);

    let mut profile = actor_document("eve", "e.test", &crate::support::people::real_pem());
    profile["name"] = json!(WORDS);
    profile["summary"] = json!(format!("<p>{WORDS}</p>"));
    profile["attachment"] = json!([{"type": "PropertyValue", "name": WORDS, "value": WORDS}]);
    let update = act("Update", "https://e.test/u/words", EVE, &profile);
    stage.world.receive(stage.eve.id, &update).await;
    let named = "select count(*) from accounts
        where display_name = $words$'); drop table statuses; -- $1 %s ${x} \\$words$";
    assert_eq!(stage.world.count(named).await, 1);

    // A name or an id of this kind is nobody's.
    let mut nobody = profile.clone();
    nobody["preferredUsername"] = json!(WORDS);
    let update = act("Update", "https://e.test/u/name", EVE, &nobody);
    stage.is_refused("E7 name", &update).await;
    let mut nul = note(EVE, "nul", &[ADA]);
    nul["content"] = json!("<p>a\u{0}b</p>");
    stage.is_refused("E7 NUL", &create(&nul)).await;
    assert_eq!(
        stage
            .world
            .count("select count(*) from dead_messages")
            .await,
        0
    );
}
