//! Nobody makes this instance ask others for much (attacks C12, C13).

use serde_json::{Value, json};

use crate::support::World;
use crate::support::inbound;
use crate::support::people::{create, note};

const ADA: &str = "https://us.test/users/ada";
const BOB: &str = "https://p.test/users/bob";

/// A post for ada that mentions these as well, in every field that may name somebody.
fn crowded(author: &str, name: &str, strangers: &[String]) -> Value {
    let mut mentioned = vec![ADA];
    mentioned.extend(strangers.iter().map(String::as_str));
    let mut note = note(author, name, &mentioned);
    note["to"] = json!(mentioned);
    note["cc"] = json!(mentioned);
    let mut create = create(&note);
    create["to"] = json!(mentioned);
    create["cc"] = json!(mentioned);
    create
}

fn strangers(label: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("https://{label}-{n}.test/users/x"))
        .collect()
}

#[tokio::test]
async fn five_thousand_strangers_in_one_post_cost_twenty_requests() {
    let world = World::start().await;
    world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    let activity = crowded(BOB, "1", &strangers("h", 5_000));
    world.receive(bob.id, &activity).await;
    assert_eq!(world.egress.asked().len(), 20);
    // The post itself is taken in.
    let told = world.count("select count(*) from notifications").await;
    assert_eq!(told, 1);
}

#[tokio::test]
async fn what_one_origin_has_asked_for_is_bounded_over_all_its_posts() {
    let world = World::start().await;
    world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    let neighbour = world.remote("bea", "p.test").await;
    let mut batch = Vec::new();
    for n in 0..10 {
        for author in [&bob, &neighbour] {
            let label = format!("{}-{n}", author.username);
            let activity = crowded(&author.uri, &n.to_string(), &strangers(&label, 20));
            batch.push(inbound(author.id, &activity));
        }
    }
    world.handle(batch).await;
    assert_eq!(world.egress.asked().len(), 300);
    assert_eq!(
        world.count("select count(*) from statuses").await,
        20,
        "every post is taken in"
    );

    let other = world.remote("carl", "q.test").await;
    let activity = crowded(&other.uri, "1", &strangers("other", 20));
    world.receive(other.id, &activity).await;
    assert_eq!(
        world.egress.asked().len(),
        320,
        "another origin has its own"
    );
}

#[tokio::test]
async fn no_page_of_a_collection_is_ever_asked_for() {
    let world = World::start().await;
    world.local(100, "ada").await;
    let bob = world.remote("bob", "p.test").await;
    let mut note = note(BOB, "1", &[ADA]);
    for field in ["replies", "likes", "shares"] {
        let url = format!("https://p.test/{field}");
        note[field] = json!({
            "id": url, "type": "Collection",
            "first": {"type": "CollectionPage", "partOf": url, "items": [],
                      "next": format!("{url}?page=1")},
        });
    }
    note["replies"]["first"]["items"] = json!(strangers("reply", 5));
    world.receive(bob.id, &create(&note)).await;
    assert_eq!(world.count("select count(*) from statuses").await, 1);
    assert_eq!(world.egress.asked(), [] as [String; 0]);
}
