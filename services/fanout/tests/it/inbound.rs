//! What honest servers send, and what becomes of it.

use serde_json::{Value, json};
use tidegate_federation::PUBLIC;
use tidegate_model::Visibility;
use tidegate_store::accounts::Account;
use tidegate_store::follows;

use crate::support::people::{act, actor_document, create, follow_uri, note, remote_actor};
use crate::support::{World, eventually, inbound};

const BOB: &str = "https://p.test/users/bob";
const ADA: &str = "https://us.test/users/ada";

/// Ada here follows Bob there.
async fn friends(world: &World) -> (Account, Account) {
    let ada = world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    world.follow(&ada, &bob).await;
    (ada, bob)
}

/// The activities that we send: kind, and the body.
async fn sent(world: &World) -> Vec<(String, Value)> {
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("select kind, body from activities order by id")
            .fetch_all(&world.deps.pool)
            .await
            .expect("reads");
    rows.into_iter()
        .map(|(kind, body)| (kind, serde_json::from_slice(&body).expect("JSON")))
        .collect()
}

async fn notifications(world: &World) -> Vec<(i64, String)> {
    sqlx::query_as("select account_id, kind from notifications order by id")
        .fetch_all(&world.deps.pool)
        .await
        .expect("reads")
}

#[tokio::test]
async fn a_followed_accounts_post_reaches_the_home_timeline() {
    let world = World::start().await;
    let (ada, bob) = friends(&world).await;
    world.timelines.open(ada.id).await;
    let post = note(BOB, "1", &[]);
    world.receive(bob.id, &create(&post)).await;
    let status = world.status("https://p.test/users/bob/notes/1").await;
    let status = status.expect("is stored");
    assert_eq!(world.timelines.ids(ada.id).await, Some(vec![status.id]));
    assert_eq!(status.visibility(), Visibility::Public);
    assert!(world.egress.asked().is_empty());
}

#[tokio::test]
async fn a_post_that_concerns_nobody_is_not_stored() {
    let world = World::start().await;
    world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    let before = world.dump(&[]).await;
    let stranger = "https://q.test/users/carl";
    world
        .receive(bob.id, &create(&note(BOB, "1", &[stranger])))
        .await;
    assert_eq!(world.dump(&[]).await, before);
    assert!(
        world.egress.asked().is_empty(),
        "nobody is looked up for it"
    );
}

#[tokio::test]
async fn a_mention_is_stored_notified_and_resolves_the_others_within_a_budget() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    let pem = crate::support::people::real_pem();
    world.egress.serve(&actor_document("carl", "q.test", &pem));
    let mut mentioned = vec![ADA.to_owned(), "https://q.test/users/carl".to_owned()];
    mentioned.extend((0..40).map(|n| format!("https://h{n}.test/users/x")));
    let mentioned: Vec<&str> = mentioned.iter().map(String::as_str).collect();
    world
        .receive(bob.id, &create(&note(BOB, "1", &mentioned)))
        .await;
    assert_eq!(
        notifications(&world).await,
        [(ada.id, "mention".to_owned())]
    );
    assert_eq!(world.count("select count(*) from mentions").await, 2);
    assert_eq!(world.egress.asked().len(), 20);
}

#[tokio::test]
async fn a_direct_post_is_for_the_addressed_alone() {
    let world = World::start().await;
    let (ada, bob) = friends(&world).await;
    let other = world.local(101, "other").await;
    world.follow(&other, &bob).await;
    let mut post = note(BOB, "1", &[ADA]);
    post["to"] = json!([ADA]);
    post["cc"] = json!([]);
    world.receive(bob.id, &create(&post)).await;
    let uri = post["id"].as_str().expect("an id");
    let status = world.status(uri).await.expect("is stored");
    assert_eq!(status.visibility(), Visibility::Direct);
    assert_eq!(world.timelines.readers_of(status.id), [ada.id]);
    for (viewer, sees) in [(ada.id, 1), (other.id, 0)] {
        let seen = tidegate_store::statuses::visible(&world.deps.pool, &[status.id], Some(viewer))
            .await
            .expect("reads");
        assert_eq!(seen.len(), sees, "viewer {viewer}");
    }
}

#[tokio::test]
async fn a_reply_finds_its_parent_in_either_order() {
    for parent_first in [true, false] {
        let world = World::start().await;
        let (_, bob) = friends(&world).await;
        let parent = note(BOB, "parent", &[]);
        let mut reply = note(BOB, "reply", &[]);
        reply["inReplyTo"] = parent["id"].clone();
        let mut both = [create(&parent), create(&reply)];
        if !parent_first {
            both.reverse();
        }
        for activity in &both {
            world.receive(bob.id, activity).await;
        }
        let parent = world.status(parent["id"].as_str().expect("an id")).await;
        let reply = world.status(reply["id"].as_str().expect("an id")).await;
        let (parent, reply) = (parent.expect("stored"), reply.expect("stored"));
        assert_eq!(reply.in_reply_to_id, Some(parent.id));
        assert_eq!(parent.replies_count, 1);
    }
}

#[tokio::test]
async fn a_follow_is_accepted_with_its_own_id_and_a_new_id_is_answered_again() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    let first = act("Follow", "https://p.test/f/1", BOB, &json!(ADA));
    world.receive(bob.id, &first).await;
    let again = act("Follow", "https://p.test/f/2", BOB, &json!(ADA));
    world.receive(bob.id, &again).await;
    let sent = sent(&world).await;
    let ids: Vec<&Value> = sent.iter().map(|(_, body)| &body["object"]["id"]).collect();
    assert_eq!(ids, ["https://p.test/f/1", "https://p.test/f/2"]);
    assert!(sent.iter().all(|(kind, _)| kind == "Accept"));
    assert_eq!(notifications(&world).await, [(ada.id, "follow".to_owned())]);
    let row = world
        .count("select followers_count from accounts where id = 100")
        .await;
    assert_eq!(row, 1);
    // Planned to Bob's inbox on the urgent lane.
    let urgent = "select count(*) from deliveries where lane = 'now' and host = 'p.test'";
    assert_eq!(world.count(urgent).await, 2);
}

#[tokio::test]
async fn a_locked_account_is_asked_and_a_blocked_follower_is_rejected() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    sqlx::query("update accounts set locked = true where id = 100")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    let follow = act("Follow", "https://p.test/f/1", BOB, &json!(ADA));
    world.receive(bob.id, &follow).await;
    assert!(sent(&world).await.is_empty());
    let asked = [(ada.id, "follow_request".to_owned())];
    assert_eq!(notifications(&world).await, asked);

    let eve = world.remote("eve", "e.test").await;
    world.block(&ada, &eve).await;
    let follow = act(
        "Follow",
        "https://e.test/f/1",
        "https://e.test/users/eve",
        &json!(ADA),
    );
    world.receive(eve.id, &follow).await;
    let answers = sent(&world).await;
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].0, "Reject");
    let rows = "select count(*) from follows where account_id <> 0";
    assert_eq!(world.count(rows).await, 1);
}

#[tokio::test]
async fn an_accept_makes_the_follow_count_and_drops_the_old_home() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    world.ask(&ada, &bob, false).await;
    world.timelines.open(ada.id).await;
    let ours = follow_uri(&ada, &bob);
    let accept = act(
        "Accept",
        "https://p.test/a/1",
        BOB,
        &json!({"id": ours, "type": "Follow", "actor": ADA, "object": BOB}),
    );
    world.receive(bob.id, &accept).await;
    let follow = follows::between(&world.deps.pool, ada.id, bob.id).await;
    assert!(follow.expect("reads").expect("is there").is_accepted());
    assert_eq!(world.timelines.ids(ada.id).await, None);

    let reject = act("Reject", "https://p.test/r/1", BOB, &json!(ours));
    world.receive(bob.id, &reject).await;
    let follow = follows::between(&world.deps.pool, ada.id, bob.id).await;
    assert!(follow.expect("reads").is_none());
}

#[tokio::test]
async fn likes_boosts_and_blocks_are_done_and_undone() {
    let world = World::start().await;
    let (ada, bob) = friends(&world).await;
    world.follow(&bob, &ada).await;
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let like = act("Like", "https://p.test/l/1", BOB, &json!(post.uri));
    let mut boost = act("Announce", "https://p.test/b/1", BOB, &json!(post.uri));
    boost["to"] = json!([PUBLIC]);
    world.receive(bob.id, &like).await;
    world.receive(bob.id, &boost).await;
    let told = notifications(&world).await;
    let expected = [(100, "favourite".to_owned()), (100, "reblog".to_owned())];
    assert_eq!(told, expected);
    let counts = "select favourites_count * 10 + reblogs_count from statuses where id = 5001";
    assert_eq!(world.count(counts).await, 11);

    for (n, done) in [&like, &boost].into_iter().enumerate() {
        let id = format!("https://p.test/u/{n}");
        world.receive(bob.id, &act("Undo", &id, BOB, done)).await;
    }
    assert_eq!(world.count(counts).await, 0);
    assert!(notifications(&world).await.is_empty());

    let block = act("Block", "https://p.test/x/1", BOB, &json!(ADA));
    world.receive(bob.id, &block).await;
    assert_eq!(world.count("select count(*) from follows").await, 0);
    assert_eq!(world.count("select count(*) from blocks").await, 1);
    let undo = act(
        "Undo",
        "https://p.test/u/9",
        BOB,
        &json!("https://p.test/x/1"),
    );
    world.receive(bob.id, &undo).await;
    assert_eq!(world.count("select count(*) from blocks").await, 0);
}

#[tokio::test]
async fn an_undo_that_comes_first_wins() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    let follow = act("Follow", "https://p.test/f/1", BOB, &json!(ADA));
    let undo = act("Undo", "https://p.test/u/1", BOB, &follow);
    world.receive(bob.id, &undo).await;
    world.receive(bob.id, &follow).await;
    let follow = follows::between(&world.deps.pool, bob.id, ada.id).await;
    assert!(follow.expect("reads").is_none());
    assert!(sent(&world).await.is_empty());

    // A late Undo of an earlier follow does not end a newer one.
    let second = act("Follow", "https://p.test/f/2", BOB, &json!(ADA));
    world.receive(bob.id, &second).await;
    let late = act(
        "Undo",
        "https://p.test/u/2",
        BOB,
        &act("Follow", "https://p.test/f/1", BOB, &json!(ADA)),
    );
    world.receive(bob.id, &late).await;
    let follow = follows::between(&world.deps.pool, bob.id, ada.id).await;
    assert!(follow.expect("reads").is_some());
}

#[tokio::test]
async fn an_unknown_boosted_post_is_fetched_with_its_author() {
    let world = World::start().await;
    let (ada, bob) = friends(&world).await;
    world.timelines.open(ada.id).await;
    let carl = "https://q.test/users/carl";
    let pem = crate::support::people::real_pem();
    world.egress.serve(&actor_document("carl", "q.test", &pem));
    let original = note(carl, "1", &[]);
    world.egress.serve(&original);
    let mut boost = act("Announce", "https://p.test/b/1", BOB, &original["id"]);
    boost["to"] = json!([PUBLIC]);
    world.receive(bob.id, &boost).await;
    let uri = original["id"].as_str().expect("an id");
    let original = world.status(uri).await.expect("is stored");
    let boost = world.status("https://p.test/b/1").await.expect("is stored");
    assert_eq!(boost.reblog_of_id, Some(original.id));
    // The boost is on the home timeline; the original by itself is not.
    assert_eq!(world.timelines.ids(ada.id).await, Some(vec![boost.id]));
}

#[tokio::test]
async fn what_a_silent_server_is_needed_for_waits_for_it() {
    let world = World::start().await;
    let (_, bob) = friends(&world).await;
    world.egress.set_away(true);
    let carl = "https://q.test/users/carl";
    let original = note(carl, "1", &[]);
    let mut boost = act("Announce", "https://p.test/b/1", BOB, &original["id"]);
    boost["to"] = json!([PUBLIC]);
    world.publish(vec![inbound(bob.id, &boost)]).await;
    eventually("it is put back with a delay", async || {
        world
            .count(
                "select count(*) from queue_messages where visible_at > now() and holder is null",
            )
            .await
            == 1
    })
    .await;
    assert_eq!(world.count("select count(*) from inbound_seen").await, 0);
}

#[tokio::test]
async fn an_edit_changes_text_and_never_the_audience() {
    let world = World::start().await;
    let (_, bob) = friends(&world).await;
    let mut post = note(BOB, "1", &[]);
    post["to"] = json!([format!("{BOB}/followers")]);
    post["cc"] = json!([]);
    world.receive(bob.id, &create(&post)).await;
    let edit = |n: u32, text: &str, updated: &str| {
        let mut edited = note(BOB, "1", &[ADA]);
        edited["content"] = json!(text);
        edited["updated"] = json!(updated);
        act("Update", &format!("https://p.test/e/{n}"), BOB, &edited)
    };
    let later = time::OffsetDateTime::now_utc() + time::Duration::days(400);
    let format = time::format_description::well_known::Rfc3339;
    let far = later.format(&format).expect("formats");
    world
        .receive(bob.id, &edit(1, "new", "2026-06-01T00:00:00Z"))
        .await;
    world
        .receive(bob.id, &edit(2, "old", "2026-03-01T00:00:00Z"))
        .await;
    let uri = post["id"].as_str().expect("an id");
    let status = world.status(uri).await.expect("is stored");
    assert_eq!(status.content, "new");
    assert_eq!(status.visibility(), Visibility::Private);
    assert_eq!(world.count("select count(*) from mentions").await, 0);
    // A time from the future counts as now, so that an honest edit can follow.
    world.receive(bob.id, &edit(3, "future", &far)).await;
    let status = world.status(uri).await.expect("is stored");
    assert_eq!(status.content, "future");
    assert_eq!(world.count("select count(*) from status_edits").await, 2);
    assert!(status.edited_at.expect("edited") <= time::OffsetDateTime::now_utc());
}

#[tokio::test]
async fn a_profile_is_updated_by_its_owner_and_an_account_deletes_itself() {
    let world = World::start().await;
    let (ada, bob) = friends(&world).await;
    world.follow(&bob, &ada).await;
    let mut profile = actor_document("bob", "p.test", &crate::support::people::real_pem());
    profile["name"] = json!("Robert");
    world
        .receive(bob.id, &act("Update", "https://p.test/up/1", BOB, &profile))
        .await;
    let name: String = sqlx::query_scalar("select display_name from accounts where id = $1")
        .bind(bob.id)
        .fetch_one(&world.deps.pool)
        .await
        .expect("reads");
    assert_eq!(name, "Robert");

    world
        .receive(bob.id, &create(&note(BOB, "1", &[ADA])))
        .await;
    world
        .receive(
            bob.id,
            &act("Delete", "https://p.test/d/1", BOB, &json!(BOB)),
        )
        .await;
    let left = "select (select count(*) from statuses where deleted_at is null and not local)
                     + (select count(*) from follows) + (select count(*) from notifications)
                     + (select followers_count + following_count from accounts where id = 100)
                     + (select count(*) from accounts where domain is not null and deleted_at is null)";
    assert_eq!(world.count(left).await, 0);
    // Nothing more is taken from it.
    world
        .receive(bob.id, &create(&note(BOB, "2", &[ADA])))
        .await;
    assert!(
        world
            .status("https://p.test/users/bob/notes/2")
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_shared_and_a_personal_inbox_do_not_matter_to_who_is_known() {
    let world = World::start().await;
    let mut moved = remote_actor("bob", "p.test");
    let bob = world.store(&moved).await;
    let ada = world.local(100, "ada").await;
    world.follow(&bob, &ada).await;
    moved.shared_inbox = None;
    let again = world.store(&moved).await;
    assert_eq!(again.id, bob.id);
    let inbox: String =
        sqlx::query_scalar("select i.url from follows f join inboxes i on i.id = f.inbox_id")
            .fetch_one(&world.deps.pool)
            .await
            .expect("reads");
    assert_eq!(inbox, format!("{BOB}/inbox"));
}

#[tokio::test]
async fn a_failing_host_that_writes_to_us_is_tried_at_most_once_an_hour() {
    let world = World::start().await;
    let (_, bob) = friends(&world).await;
    let failing = "insert into hosts (host, state, next_probe_at, hinted_at)
                   values ('p.test', 'failing', now() + interval '6 hours', $1)
                   on conflict (host) do update
                       set next_probe_at = excluded.next_probe_at, hinted_at = excluded.hinted_at";
    let due = "select count(*) from hosts where next_probe_at <= now() and state = 'failing'";
    sqlx::query(failing)
        .bind(None::<time::OffsetDateTime>)
        .execute(&world.deps.pool)
        .await
        .expect("a host");
    world.receive(bob.id, &create(&note(BOB, "1", &[]))).await;
    assert_eq!(world.count(due).await, 1, "still failing, but tried now");
    let hinted: Option<time::OffsetDateTime> = sqlx::query_scalar("select hinted_at from hosts")
        .fetch_one(&world.deps.pool)
        .await
        .expect("reads");
    sqlx::query(failing)
        .bind(hinted)
        .execute(&world.deps.pool)
        .await
        .expect("a host");
    world.receive(bob.id, &create(&note(BOB, "2", &[]))).await;
    assert_eq!(world.count(due).await, 0, "not twice within an hour");
}

/// Its state has the name of those that share it.
#[tokio::test]
async fn a_host_that_shares_its_state_brings_the_shared_probe_forward() {
    let world = World::start().await;
    let (_, bob) = friends(&world).await;
    for statement in [
        "insert into inboxes (url, host, shared) values ('https://p.test/inbox', 'p.test', true)
         on conflict do nothing",
        "update inboxes set state_host = 'sharing.test' where host = 'p.test'",
        "insert into hosts (host, state, next_probe_at)
         values ('sharing.test', 'unavailable', now() + interval '6 hours')",
    ] {
        sqlx::query(statement)
            .execute(&world.deps.pool)
            .await
            .expect("a shared state");
    }
    world.receive(bob.id, &create(&note(BOB, "1", &[]))).await;
    let due = "select count(*) from hosts where next_probe_at <= now() and host = 'sharing.test'";
    assert_eq!(world.count(due).await, 1);
}
