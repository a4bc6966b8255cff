//! Search: what is known, and what has to be asked for.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde_json::json;

use super::world::{World, actor_document, id_of};

#[tokio::test]
async fn a_remote_handle_is_resolved_once_and_then_known() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let url = "https://far.test/users/carol";
    world.others.serve(url, &actor_document("carol"));
    world.others.name("carol@far.test", url);
    let path = "/api/v2/search?q=@carol@far.test";
    let without = world.get(&ada, path).await.ok();
    assert_eq!(without["accounts"], json!([]));
    for _ in 0..2 {
        let found = world.get(&ada, &format!("{path}&resolve=true")).await.ok();
        assert_eq!(found["accounts"][0]["acct"], "carol@far.test");
    }
    assert_eq!(world.others.fetches.load(Ordering::SeqCst), 1);
    let found = world.look(path).await.ok();
    assert_eq!(found["accounts"][0]["uri"], url);
    let by_url = world
        .get(&ada, &format!("/api/v2/search?q={url}&resolve=true"))
        .await
        .ok();
    assert_eq!(by_url["accounts"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_remote_post_comes_with_its_author() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let actor = "https://far.test/users/dora";
    world.others.serve(actor, &actor_document("dora"));
    let note = |id: &str, to: &str| {
        json!({
            "id": id, "type": "Note", "attributedTo": actor,
            "content": "<p>far <script>x</script></p>",
            "to": [to], "cc": [], "published": "2026-01-01T00:00:00Z",
        })
    };
    let public = "https://www.w3.org/ns/activitystreams#Public";
    world.others.serve(
        "https://far.test/n/1",
        &note("https://far.test/n/1", public),
    );
    let hidden = format!("{actor}/followers");
    world.others.serve(
        "https://far.test/n/2",
        &note("https://far.test/n/2", &hidden),
    );
    // A document that says that it is another one.
    world.others.serve(
        "https://far.test/n/3",
        &note("https://far.test/n/1", public),
    );
    let search = |n: u32| format!("/api/v2/search?q=https://far.test/n/{n}&resolve=true");
    let found = world.get(&ada, &search(1)).await.ok();
    assert_eq!(found["statuses"][0]["uri"], "https://far.test/n/1");
    assert_eq!(found["statuses"][0]["account"]["acct"], "dora@far.test");
    let content = found["statuses"][0]["content"].as_str().expect("HTML");
    assert!(!content.contains("script"), "{content}");
    for n in [2, 3, 4] {
        let found = world.get(&ada, &search(n)).await.ok();
        assert_eq!(found["statuses"], json!([]), "{n}");
    }
    assert_eq!(world.count("select count(*) from statuses").await, 1);
}

#[tokio::test]
async fn our_own_urls_are_found_without_asking() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let status = world.write(&ada, "x", "public").await;
    let private = world.write(&ada, "y", "private").await;
    for url in [&status["url"], &status["uri"]] {
        let url = url.as_str().expect("a URL");
        let found = world.look(&format!("/api/v2/search?q={url}")).await.ok();
        assert_eq!(id_of(&found["statuses"][0]), id_of(&status));
    }
    let url = private["url"].as_str().expect("a URL");
    let found = world.look(&format!("/api/v2/search?q={url}")).await.ok();
    assert_eq!(found["statuses"], json!([]));
    let page = "/api/v2/search?q=https://here.test/@ada&resolve=true";
    let found = world.get(&ada, page).await.ok();
    assert_eq!(id_of(&found["accounts"][0]), ada.id());
    assert_eq!(world.others.fetches.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn names_and_hashtags_are_found_by_their_beginning() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    world.person("adam").await;
    world.write(&ada, "#tide #tidal", "public").await;
    world.write(&ada, "#tideless", "private").await;
    let accounts = world.look("/api/v2/search?q=ad&type=accounts").await.ok();
    assert_eq!(accounts["accounts"].as_array().map(Vec::len), Some(2));
    let tags = world.look("/api/v2/search?q=%23tid").await.ok();
    let names: Vec<&str> = tags["hashtags"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|tag| tag["name"].as_str())
        .collect();
    assert_eq!(names, ["tidal", "tide"]);
    let wild = world.look("/api/v2/search?q=%25&type=accounts").await.ok();
    assert_eq!(wild["accounts"], json!([]));
    let typed = world.get(&ada, "/api/v1/accounts/search?q=adam").await.ok();
    assert_eq!(typed[0]["acct"], "adam");
}

#[tokio::test]
async fn strangers_make_us_fetch_nothing() {
    let world = World::new().await;
    let answer = world
        .look("/api/v2/search?q=https://far.test/n/1&resolve=true")
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        world.look("/api/v2/search").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(world.others.fetches.load(Ordering::SeqCst), 0);
}
