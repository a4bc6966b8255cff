//! Accounts: follows in every state, blocks, mutes, notes and profiles.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::json;

use super::world::{Person, World, id_of};

fn path(id: i64, action: &str) -> String {
    format!("/api/v1/accounts/{id}/{action}")
}

async fn kinds(world: &World) -> Vec<String> {
    world
        .activities()
        .await
        .into_iter()
        .map(|activity| activity.0)
        .collect()
}

#[tokio::test]
async fn an_open_local_account_is_followed_at_once() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    for _ in 0..2 {
        let relationship = world.follow(&ada, bob.id()).await;
        assert_eq!(relationship["following"], true);
        assert_eq!(relationship["showing_reblogs"], true);
        assert_eq!(relationship["requested"], false);
    }
    let told = world.get(&bob, "/api/v1/notifications").await.ok();
    assert_eq!(told.as_array().map(Vec::len), Some(1));
    assert_eq!(told[0]["type"], "follow");
    let changed = world
        .post(
            &ada,
            &path(bob.id(), "follow"),
            json!({ "reblogs": false, "notify": true, "languages": ["de"] }),
        )
        .await
        .ok();
    assert_eq!(changed["showing_reblogs"], false);
    assert_eq!(changed["notifying"], true);
    assert_eq!(changed["languages"], json!(["de"]));
    let bob_now = world.look(&format!("/api/v1/accounts/{}", bob.id())).await;
    assert_eq!(bob_now.ok()["followers_count"], 1);
    let ended = world
        .post(&ada, &path(bob.id(), "unfollow"), json!({}))
        .await
        .ok();
    assert_eq!(ended["following"], false);
    assert_eq!(kinds(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_remote_account_is_asked_and_told_of_the_end() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.stranger("bob").await;
    let relationship = world.follow(&ada, bob.id).await;
    assert_eq!(relationship["following"], false);
    assert_eq!(relationship["requested"], true);
    world
        .post(&ada, &path(bob.id, "unfollow"), json!({}))
        .await
        .ok();
    let activities = world.activities().await;
    assert_eq!(kinds(&world).await, ["Follow", "Undo"]);
    assert!(activities.iter().all(|activity| activity.1 == "now"));
    assert_eq!(activities[0].2["object"], bob.uri);
    assert_eq!(activities[1].2["object"]["id"], activities[0].2["id"]);
    let stored: String = sqlx::query_scalar("select uri from activities where kind = 'Follow'")
        .fetch_one(&world.db.pool)
        .await
        .expect("the activity");
    assert_eq!(activities[0].2["id"], stored);
}

async fn lock(world: &World, who: &Person) {
    let body = json!({ "locked": true });
    world
        .call(
            Method::PATCH,
            "/api/v1/accounts/update_credentials",
            Some(&who.token),
            Some(&body),
        )
        .await
        .ok();
}

#[tokio::test]
async fn a_locked_account_decides() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let carol = world.person("carol").await;
    lock(&world, &ada).await;
    for who in [&bob, &carol] {
        let relationship = world.follow(who, ada.id()).await;
        assert_eq!(relationship["requested"], true);
    }
    let told = world.get(&ada, "/api/v1/notifications").await.ok();
    assert_eq!(told[0]["type"], "follow_request");
    let open = world.get(&ada, "/api/v1/follow_requests").await.ids();
    assert_eq!(open, [carol.id(), bob.id()]);
    let own = world
        .get(&ada, "/api/v1/accounts/verify_credentials")
        .await
        .ok();
    assert_eq!(own["source"]["follow_requests_count"], 2);
    // A post for followers is not for those who merely asked (rule R11).
    let private = id_of(&world.write(&ada, "x", "private").await);
    let status = format!("/api/v1/statuses/{private}");
    assert_eq!(world.get(&bob, &status).await.status, StatusCode::NOT_FOUND);
    let answer = |id: i64, word: &str| format!("/api/v1/follow_requests/{id}/{word}");
    let yes = world
        .post(&ada, &answer(bob.id(), "authorize"), json!({}))
        .await
        .ok();
    assert_eq!(yes["followed_by"], true);
    let no = world
        .post(&ada, &answer(carol.id(), "reject"), json!({}))
        .await
        .ok();
    assert_eq!(no["followed_by"], false);
    assert_eq!(world.get(&bob, &status).await.status, StatusCode::OK);
    let again = world
        .post(&ada, &answer(carol.id(), "authorize"), json!({}))
        .await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_block_ends_follows_both_ways_and_is_told_to_remote_servers() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let far = world.stranger("far").await;
    world.follow(&ada, bob.id()).await;
    world.follow(&bob, ada.id()).await;
    let blocked = world
        .post(&ada, &path(bob.id(), "block"), json!({}))
        .await
        .ok();
    assert_eq!(blocked["blocking"], true);
    assert_eq!(blocked["following"], false);
    assert_eq!(blocked["followed_by"], false);
    let refused = world.post(&bob, &path(ada.id(), "follow"), json!({})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(world.get(&ada, "/api/v1/blocks").await.ids(), [bob.id()]);
    assert_eq!(kinds(&world).await, Vec::<String>::new());
    for action in ["block", "block", "unblock"] {
        world
            .post(&ada, &path(far.id, action), json!({}))
            .await
            .ok();
    }
    assert_eq!(kinds(&world).await, ["Block", "Undo"]);
}

#[tokio::test]
async fn mutes_hide_and_end_by_themselves() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let muted = world
        .post(
            &ada,
            &path(bob.id(), "mute"),
            json!({ "duration": 3600, "notifications": "false" }),
        )
        .await
        .ok();
    assert_eq!(muted["muting"], true);
    assert_eq!(muted["muting_notifications"], false);
    assert!(muted["muting_expires_at"].is_string());
    let list = world.get(&ada, "/api/v1/mutes").await.ok();
    assert!(list[0]["mute_expires_at"].is_string());
    let id = id_of(&world.write(&bob, "x", "public").await);
    let public = "/api/v1/timelines/public";
    assert!(!world.get(&ada, public).await.ids().contains(&id));
    sqlx::query("update mutes set expires_at = now() - interval '1 second'")
        .execute(&world.db.pool)
        .await
        .expect("over");
    assert!(world.get(&ada, public).await.ids().contains(&id));
    let nonsense = world
        .post(&ada, &path(bob.id(), "mute"), json!({ "duration": -5 }))
        .await;
    assert_eq!(nonsense.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn nobody_follows_blocks_or_mutes_themselves_or_the_absent() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for action in ["follow", "block", "mute"] {
        let own = world.post(&ada, &path(ada.id(), action), json!({})).await;
        assert_eq!(own.status, StatusCode::FORBIDDEN, "{action}");
        let absent = world.post(&ada, &path(1, action), json!({})).await;
        assert_eq!(absent.status, StatusCode::NOT_FOUND, "{action}");
        let nonsense = world
            .post(&ada, &format!("/api/v1/accounts/x/{action}"), json!({}))
            .await;
        assert_eq!(nonsense.status, StatusCode::NOT_FOUND, "{action}");
    }
}

#[tokio::test]
async fn a_note_is_its_writers_own() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let noted = world
        .post(
            &ada,
            &path(bob.id(), "note"),
            json!({ "comment": "met at sea" }),
        )
        .await
        .ok();
    assert_eq!(noted["note"], "met at sea");
    let about_ada = world
        .get(
            &bob,
            &format!("/api/v1/accounts/relationships?id[]={}", ada.id()),
        )
        .await
        .ok();
    assert_eq!(about_ada[0]["note"], "");
    let long = json!({ "comment": "x".repeat(2_001) });
    let refused = world.post(&ada, &path(bob.id(), "note"), long).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_profile_changes_within_bounds_and_is_sent_to_followers() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let update = "/api/v1/accounts/update_credentials";
    let body = json!({
        "display_name": "Ada <b>", "note": "I like\ntides & <script>", "bot": true,
        "discoverable": true,
        "fields_attributes": { "0": { "name": "web", "value": "https://ada.test" } },
        "source": { "privacy": "unlisted", "sensitive": true, "language": "en" },
    });
    let own = world
        .call(Method::PATCH, update, Some(&ada.token), Some(&body))
        .await
        .ok();
    assert_eq!(own["display_name"], "Ada <b>");
    assert_eq!(own["note"], "<p>I like<br>tides &amp; &lt;script&gt;</p>");
    assert_eq!(own["source"]["note"], "I like\ntides & <script>");
    assert_eq!(own["source"]["privacy"], "unlisted");
    assert_eq!(own["source"]["fields"][0]["value"], "https://ada.test");
    let value = own["fields"][0]["value"].as_str().expect("HTML");
    assert!(value.starts_with("<a href=\"https://ada.test\""), "{value}");
    let post = world
        .post(&ada, "/api/v1/statuses", json!({ "status": "x" }))
        .await
        .ok();
    assert_eq!(post["visibility"], "unlisted");
    assert_eq!(post["sensitive"], true);
    let (kind, lane, activity) = world.activities().await.remove(0);
    assert_eq!((kind.as_str(), lane.as_str()), ("Update", "slow"));
    assert_eq!(activity["object"]["name"], "Ada <b>");
    assert_eq!(activity["object"]["type"], "Service");
    for bad in [
        json!({ "display_name": "x".repeat(31) }),
        json!({ "note": "x".repeat(501) }),
        json!({ "source": { "privacy": "secret" } }),
        json!({ "fields_attributes": [{ "name": "x".repeat(256), "value": "" }] }),
    ] {
        let refused = world
            .call(Method::PATCH, update, Some(&ada.token), Some(&bad))
            .await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
}

/// Pictures are not built yet. A client that sends one is told, and keeps what it had.
#[tokio::test]
async fn a_picture_of_an_account_is_refused_and_nothing_beside_it_is_taken() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for part in ["avatar", "header"] {
        let body = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"display_name\"\r\n\r\nNew\r\n\
             --xyz\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"a.png\"\r\n\
             Content-Type: image/png\r\n\r\n\u{89}PNG\r\n--xyz--\r\n"
        );
        let request = Request::builder()
            .method(Method::PATCH)
            .uri("/api/v1/accounts/update_credentials")
            .header(header::AUTHORIZATION, format!("Bearer {}", ada.token))
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=xyz")
            .body(Body::from(body))
            .expect("a request");
        let refused = world.send(request).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{part}");
        let text = refused.body["error"].as_str().expect("a reason");
        assert!(text.contains("not offered"), "{text}");
    }
    let own = "/api/v1/accounts/verify_credentials";
    assert_ne!(world.get(&ada, own).await.ok()["display_name"], "New");
    assert_eq!(world.count("select count(*) from activities").await, 0);
}

#[tokio::test]
async fn handles_are_looked_up_without_asking_anybody() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.stranger("bob").await;
    for (acct, id) in [
        ("ada", ada.id()),
        ("@ADA", ada.id()),
        ("ada@here.test", ada.id()),
        ("bob@FAR.test", bob.id),
    ] {
        let found = world
            .look(&format!("/api/v1/accounts/lookup?acct={acct}"))
            .await
            .ok();
        assert_eq!(id_of(&found), id, "{acct}");
    }
    for acct in ["nobody", "bob", "x@elsewhere.test", ""] {
        let answer = world
            .look(&format!("/api/v1/accounts/lookup?acct={acct}"))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{acct}");
    }
    let fetches = &world.others.fetches;
    assert_eq!(fetches.load(std::sync::atomic::Ordering::SeqCst), 0);
}
