//! Search and what is not what it says (A9), or would be read for ever (C12).

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::world::{World, actor_document};

/// Documents in somebody else's name, as an operator sees them.
fn alarms() -> f64 {
    let text = String::from_utf8(tidegate_telemetry::render()).expect("text");
    let name = "tidegate_api_impersonations_total ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn a_document_in_somebody_elses_name_is_not_found_and_raises_an_alarm() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let search = |url: &str| format!("/api/v2/search?q={url}&resolve=true");
    let honest = "https://far.test/users/carol";
    world.others.serve(honest, &actor_document("carol"));
    let found = world.get(&ada, &search(honest)).await.ok();
    assert_eq!(found["accounts"][0]["uri"], honest);
    let before = world.stored().await;

    // The same document elsewhere, one of another origin, and another actor with her name.
    let mut namesake = actor_document("carol");
    let uri = "https://far.test/users/carol2";
    namesake["id"] = json!(uri);
    namesake["publicKey"]["id"] = json!(format!("{uri}#main-key"));
    namesake["publicKey"]["owner"] = json!(uri);
    let mut inbox = actor_document("carol");
    inbox["inbox"] = json!("https://e.test/inbox");
    for (url, lie) in [
        ("https://far.test/media/1", &inbox),
        ("https://e.test/users/carol", &inbox),
        (uri, &namesake),
    ] {
        let alarms_before = alarms();
        world.others.serve(url, lie);
        let found = world.get(&ada, &search(url)).await.ok();
        assert_eq!(found["accounts"], json!([]), "{url}");
        assert!(alarms() > alarms_before, "nobody was told of {url}");
    }
    assert_eq!(world.stored().await, before);
}

#[tokio::test]
async fn a_collection_is_no_find_and_its_pages_are_not_asked_for() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let url = "https://far.test/users/carol/outbox";
    let page = |n: u32| format!("{url}?page={n}");
    let items: Vec<String> = (0..100)
        .map(|n| format!("https://far.test/n/{n}"))
        .collect();
    for (at, kind, next) in [
        (url.to_owned(), "OrderedCollection", "first"),
        (page(1), "OrderedCollectionPage", "next"),
    ] {
        let mut document = json!({"id": at, "type": kind, "orderedItems": items});
        document[next] = Value::String(page(1));
        world.others.serve(&at, &document);
        let asked = world.others.fetches.load(Ordering::SeqCst);
        let found = world
            .get(&ada, &format!("/api/v2/search?q={at}&resolve=true"))
            .await
            .ok();
        for kind in ["accounts", "statuses", "hashtags"] {
            assert_eq!(found[kind], json!([]), "{at}");
        }
        assert_eq!(world.others.fetches.load(Ordering::SeqCst), asked + 1);
    }
}

impl World {
    /// Every remote account as it is stored.
    async fn stored(&self) -> Vec<String> {
        sqlx::query_scalar("select a::text from accounts a where domain is not null order by id")
            .fetch_all(&self.db.pool)
            .await
            .expect("accounts")
    }
}
