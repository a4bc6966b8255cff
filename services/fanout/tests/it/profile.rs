//! What an actor's own word about itself changes, and how one that goes takes its relations along.

use serde_json::{Value, json};

use crate::support::World;
use crate::support::people::{act, actor_document, real_pem};

const BOB: &str = "https://p.test/users/bob";

async fn told(world: &World, bob: i64, number: u32, document: &Value) {
    let id = format!("https://p.test/up/{number}");
    world.receive(bob, &act("Update", &id, BOB, document)).await;
}

#[tokio::test]
async fn an_update_never_moves_key_or_inbox_and_an_older_one_changes_nothing() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    world.follow(&ada, &bob).await;
    let mut document = actor_document("bob", "p.test", &real_pem());
    document["name"] = json!("new");
    document["updated"] = json!("2026-06-02T00:00:00Z");
    document["inbox"] = json!("https://p.test/elsewhere");
    document["endpoints"]["sharedInbox"] = json!("https://p.test/elsewhere");
    told(&world, bob.id, 1, &document).await;
    document["name"] = json!("old");
    document["updated"] = json!("2026-06-01T00:00:00Z");
    told(&world, bob.id, 2, &document).await;
    let (name, key, inbox, shared, is_stale): (String, String, String, Option<String>, bool) =
        sqlx::query_as(
            "select display_name, public_key_pem, inbox_url, shared_inbox_url, fetched_at is null
             from accounts where id = $1",
        )
        .bind(bob.id)
        .fetch_one(&world.deps.pool)
        .await
        .expect("reads");
    assert_eq!(name, "new");
    assert_eq!(
        (key, inbox, shared),
        (bob.public_key_pem, bob.inbox_url, bob.shared_inbox_url)
    );
    assert!(
        is_stale,
        "the next request under another key has it fetched"
    );
}

#[tokio::test]
async fn two_with_many_relations_may_go_at_once() {
    let world = World::start().await;
    let bob = world.remote("bob", "p.test").await;
    let eve = world.remote("eve", "e.test").await;
    let people = "insert into accounts (username, domain, uri, url, inbox_url, key_id,
                                        public_key_pem, followers_count, following_count)
                  select 'u' || n, 'q.test', 'https://q.test/' || n, '', '', '', '', 2, 2
                  from generate_series(1, 1200) n";
    sqlx::query(people)
        .execute(&world.deps.pool)
        .await
        .expect("people");
    let follows = "insert into follows (account_id, target_id, uri, state)
                   select case side when 1 then g.id else a.id end,
                          case side when 1 then a.id else g.id end,
                          a.uri || '/' || g.id || '/' || side, 'accepted'
                   from accounts a cross join generate_series(1, 2) side
                   cross join accounts g
                   where a.domain = 'q.test' and g.domain in ('p.test', 'e.test')
                   order by case g.domain when 'p.test' then a.id else -a.id end";
    sqlx::query(follows)
        .execute(&world.deps.pool)
        .await
        .expect("follows");
    let gone = |uri: &str| act("Delete", &format!("{uri}#delete"), uri, &json!(uri));
    let (one, other) = (gone(&bob.uri), gone(&eve.uri));
    tokio::join!(world.receive(bob.id, &one), world.receive(eve.id, &other));
    assert_eq!(world.count("select count(*) from follows").await, 0);
    let left =
        "select (select coalesce(sum(followers_count + following_count), 0)::bigint from accounts)
                     + (select count(*) from accounts where deleted_at is null
                        and domain in ('p.test', 'e.test'))";
    assert_eq!(world.count(left).await, 0);
}
