//! Paging by `Link`, and markers.

use axum::http::{StatusCode, header};
use serde_json::json;

use super::world::{Person, World, id_of};

/// Follows `next` to the end, then `prev` back, and expects the same ids both ways.
async fn walk(world: &World, who: &Person, path: &str, expected: &[i64]) {
    let mut found = Vec::new();
    let mut last = Vec::new();
    let mut next = Some(path.to_owned());
    let mut back = None;
    while let Some(path) = next {
        let answer = world.get(who, &path).await;
        if let Some(link) = answer.headers.get(header::LINK) {
            let link = link.to_str().expect("text");
            assert!(
                !link.contains("rel=\"next\"") || link.starts_with('<') && link.contains("max_id"),
                "{link}"
            );
        }
        next = answer.link("next");
        let prev = answer.link("prev");
        let page = answer.ids();
        if !page.is_empty() {
            last = page.clone();
            back = prev;
        }
        found.extend(page);
    }
    assert_eq!(found, expected, "{path}");
    let mut upwards = last;
    while let Some(path) = back {
        let answer = world.get(who, &path).await;
        back = answer.link("prev");
        let page = answer.ids();
        upwards.splice(0..0, page);
    }
    assert_eq!(upwards, expected, "{path} upwards");
}

#[tokio::test]
async fn followers_and_favourites_are_paged_by_links_alone() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let status = id_of(&world.write(&ada, "x", "public").await);
    let mut people = Vec::new();
    for n in 0..5 {
        let person = world.person(&format!("p{n}")).await;
        world.follow(&person, ada.id()).await;
        let path = format!("/api/v1/statuses/{status}/favourite");
        world.post(&person, &path, json!({})).await.ok();
        let path = format!("/api/v1/statuses/{status}/reblog");
        world.post(&person, &path, json!({})).await.ok();
        people.push(person.id());
    }
    people.reverse();
    for path in [
        format!("/api/v1/accounts/{}/followers?limit=2", ada.id()),
        format!("/api/v1/statuses/{status}/favourited_by?limit=2"),
        format!("/api/v1/statuses/{status}/reblogged_by?limit=2"),
    ] {
        walk(&world, &ada, &path, &people).await;
    }
    let told = world.get(&ada, "/api/v1/notifications").await.ids();
    assert_eq!(told.len(), 15);
    walk(&world, &ada, "/api/v1/notifications?limit=4", &told).await;
    let only = world
        .get(&ada, "/api/v1/notifications?types[]=follow")
        .await
        .ids();
    assert_eq!(only.len(), 5);
    let without = world
        .get(
            &ada,
            "/api/v1/notifications?exclude_types[]=follow&exclude_types[]=reblog",
        )
        .await
        .ids();
    assert_eq!(without.len(), 5);
}

#[tokio::test]
async fn an_accounts_posts_are_filtered_and_paged() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let plain = id_of(&world.write(&ada, "plain #tide", "public").await);
    let other = world.write(&bob, "other", "public").await;
    let body = json!({ "status": "answer", "in_reply_to_id": other["id"] });
    let reply = id_of(&world.post(&ada, "/api/v1/statuses", body).await.ok());
    let path = format!("/api/v1/statuses/{}/reblog", id_of(&other));
    let boost = id_of(&world.post(&ada, &path, json!({})).await.ok());
    let base = format!("/api/v1/accounts/{}/statuses", ada.id());
    for (query, expected) in [
        ("", vec![boost, reply, plain]),
        ("?exclude_replies=true", vec![boost, plain]),
        ("?exclude_reblogs=1", vec![reply, plain]),
        ("?tagged=Tide", vec![plain]),
        ("?only_media=true", vec![]),
        ("?pinned=true", vec![]),
    ] {
        let found = world.look(&format!("{base}{query}")).await.ids();
        assert_eq!(found, expected, "{query}");
    }
    walk(
        &world,
        &ada,
        &format!("{base}?limit=1"),
        &[boost, reply, plain],
    )
    .await;
}

#[tokio::test]
async fn notifications_are_read_dismissed_and_cleared() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for name in ["bob", "carol"] {
        let person = world.person(name).await;
        world.follow(&person, ada.id()).await;
    }
    let ids = world.get(&ada, "/api/v1/notifications").await.ids();
    let unread = "/api/v1/notifications/unread_count";
    assert_eq!(world.get(&ada, unread).await.ok()["count"], 2);
    let body = json!({ "notifications": { "last_read_id": ids[1].to_string() } });
    world.post(&ada, "/api/v1/markers", body).await.ok();
    assert_eq!(world.get(&ada, unread).await.ok()["count"], 1);
    let one = format!("/api/v1/notifications/{}", ids[0]);
    assert_eq!(id_of(&world.get(&ada, &one).await.ok()), ids[0]);
    world
        .post(&ada, &format!("{one}/dismiss"), json!({}))
        .await
        .ok();
    assert_eq!(world.get(&ada, &one).await.status, StatusCode::NOT_FOUND);
    world
        .post(&ada, "/api/v1/notifications/clear", json!({}))
        .await
        .ok();
    let left = world.get(&ada, "/api/v1/notifications").await;
    assert!(left.headers.get(header::LINK).is_none());
    assert_eq!(left.ids(), Vec::<i64>::new());
}

#[tokio::test]
async fn a_marker_that_saw_another_version_is_a_conflict() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let set = |body: serde_json::Value| world.post(&ada, "/api/v1/markers", body);
    let first = set(json!({ "home": { "last_read_id": "5" } })).await.ok();
    assert_eq!(first["home"]["last_read_id"], "5");
    assert_eq!(first["home"]["version"], 0);
    let second = set(json!({ "home": { "last_read_id": "6", "version": 0 } }))
        .await
        .ok();
    assert_eq!(second["home"]["version"], 1);
    let late = set(json!({ "home": { "last_read_id": "7", "version": 0 } })).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    let read = world
        .get(
            &ada,
            "/api/v1/markers?timeline[]=home&timeline[]=notifications",
        )
        .await
        .ok();
    assert_eq!(read["home"]["last_read_id"], "6");
    assert!(read.get("notifications").is_none());
}
