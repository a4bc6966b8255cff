//! Who may see what, and that nobody reaches other people's things by their ids (F4).

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::world::{World, id_of};

const PATH: &str = "/api/v1/statuses";

#[tokio::test]
async fn the_matrix_of_visibility_and_viewer_holds_on_every_route() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let follower = world.person("follower").await;
    let mentioned = world.person("mentioned").await;
    let stranger = world.person("stranger").await;
    world.follow(&follower, ada.id()).await;
    for (visibility, open, to_followers) in [
        ("public", true, true),
        ("unlisted", true, true),
        ("private", false, true),
        ("direct", false, false),
    ] {
        let status = world.write(&ada, "canary @mentioned", visibility).await;
        let path = format!("{PATH}/{}", id_of(&status));
        for (who, sees) in [
            (Some(&ada), true),
            (Some(&mentioned), true),
            (Some(&follower), to_followers),
            (Some(&stranger), open),
            (None, open),
        ] {
            let name = who.map_or("nobody", |who| who.account.username.as_str());
            let token = who.map(|who| who.token.as_str());
            for suffix in [
                "",
                "/context",
                "/history",
                "/favourited_by",
                "/reblogged_by",
            ] {
                let answer = world
                    .call(Method::GET, &format!("{path}{suffix}"), token, None)
                    .await;
                let expected = if sees { 200 } else { 404 };
                assert_eq!(answer.status, expected, "{name} {visibility} {suffix}");
                assert!(sees || !answer.body.to_string().contains("canary"));
            }
            let listed = world
                .call(
                    Method::GET,
                    &format!("{PATH}?id[]={}", id_of(&status)),
                    token,
                    None,
                )
                .await
                .ids();
            assert_eq!(listed.len(), usize::from(sees), "{name} {visibility}");
            let page = world
                .call(
                    Method::GET,
                    &format!("/api/v1/accounts/{}/statuses", ada.id()),
                    token,
                    None,
                )
                .await
                .ids();
            assert_eq!(page.contains(&id_of(&status)), sees, "{name} {visibility}");
        }
        for action in ["favourite", "bookmark", "reblog"] {
            let answer = world
                .post(&stranger, &format!("{path}/{action}"), json!({}))
                .await;
            let expected = if open { 200 } else { 404 };
            assert_eq!(answer.status, expected, "{visibility} {action}");
        }
        let answer = world
            .post(
                &stranger,
                PATH,
                json!({ "status": "answer", "in_reply_to_id": status["id"] }),
            )
            .await;
        assert_eq!(answer.status, if open { 200 } else { 404 }, "{visibility}");
    }
}

#[tokio::test]
async fn private_posts_are_boosted_by_their_author_alone() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    world.follow(&bob, ada.id()).await;
    let private = world.write(&ada, "x", "private").await;
    let path = format!("{PATH}/{}/reblog", id_of(&private));
    assert_eq!(
        world.post(&bob, &path, json!({})).await.status,
        StatusCode::NOT_FOUND
    );
    let own = world.post(&ada, &path, json!({})).await.ok();
    assert_eq!(own["visibility"], "private");
}

#[tokio::test]
async fn only_public_posts_are_on_public_timelines() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let public = id_of(&world.write(&ada, "a #tide", "public").await);
    for visibility in ["unlisted", "private", "direct"] {
        world.write(&ada, "b #tide", visibility).await;
    }
    for path in [
        "/api/v1/timelines/public",
        "/api/v1/timelines/public?local=true",
        "/api/v1/timelines/tag/Tide",
    ] {
        assert_eq!(world.look(path).await.ids(), [public], "{path}");
        assert_eq!(world.get(&ada, path).await.ids(), [public], "{path}");
    }
    let remote = world.look("/api/v1/timelines/public?remote=true").await;
    assert_eq!(remote.ids(), Vec::<i64>::new());
    let media = world.look("/api/v1/timelines/public?only_media=1").await;
    assert_eq!(media.ids(), Vec::<i64>::new());
    let none = world.look("/api/v1/timelines/tag/x?none[]=tide").await;
    assert_eq!(none.ids(), Vec::<i64>::new());
}

#[tokio::test]
async fn a_block_hides_each_from_the_other() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let of_ada = id_of(&world.write(&ada, "x", "public").await);
    let of_bob = id_of(&world.write(&bob, "y", "public").await);
    let path = format!("/api/v1/accounts/{}/block", bob.id());
    world.post(&ada, &path, json!({})).await.ok();
    for (who, id) in [(&ada, of_bob), (&bob, of_ada)] {
        let answer = world.get(who, &format!("{PATH}/{id}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let public = world.get(who, "/api/v1/timelines/public").await.ids();
        assert!(!public.contains(&id));
    }
}

#[tokio::test]
async fn nobody_changes_or_reads_what_is_anothers() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let status = world.write(&ada, "mine", "public").await;
    world.follow(&bob, ada.id()).await;
    let notification = world.get(&ada, "/api/v1/notifications").await.ids()[0];
    let path = format!("{PATH}/{}", id_of(&status));
    let edit = json!({ "status": "yours" });
    let attempts = [
        (Method::PUT, path.clone(), Some(&edit)),
        (Method::DELETE, path.clone(), None),
        (
            Method::GET,
            format!("/api/v1/notifications/{notification}"),
            None,
        ),
        (
            Method::POST,
            format!("/api/v1/notifications/{notification}/dismiss"),
            None,
        ),
        (
            Method::POST,
            format!("/api/v1/follow_requests/{}/authorize", ada.id()),
            None,
        ),
    ];
    for (method, path, body) in attempts {
        let answer = world.call(method, &path, Some(&bob.token), body).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            answer.body,
            json!({ "error": "Record not found" }),
            "{path}"
        );
    }
    assert_eq!(world.look(&path).await.ok()["content"], "<p>mine</p>");
    assert_eq!(
        world.get(&ada, "/api/v1/notifications").await.ids(),
        [notification]
    );
    // Bookmarks, favourites and markers are each one's own.
    world
        .post(&ada, &format!("{path}/bookmark"), json!({}))
        .await
        .ok();
    assert_eq!(
        world.get(&bob, "/api/v1/bookmarks").await.ids(),
        Vec::<i64>::new()
    );
    let seen = world.get(&bob, &path).await.ok();
    assert_eq!(seen["bookmarked"], false);
}
