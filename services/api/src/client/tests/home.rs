//! Home timelines: the list and SQL give the same, by the same rules.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use tidegate_timeline::Timelines;

use super::world::{Person, World, id_of};

const HOME: &str = "/api/v1/timelines/home";

/// Gives somebody a complete list with these ids.
async fn give_list(world: &World, who: &Person, floor: i64, ids: &[i64]) {
    let timelines = &world.timelines;
    timelines.remove(&[who.id()]).await.expect("removed");
    let nonce = timelines
        .begin(who.id(), Duration::from_secs(5))
        .await
        .expect("begun")
        .expect("nobody else builds");
    assert!(
        timelines
            .finish(who.id(), &nonce, floor, ids)
            .await
            .expect("finished")
    );
}

#[tokio::test]
async fn the_list_and_sql_show_the_same_posts() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let carol = world.person("carol").await;
    let muted = world.person("muted").await;
    world.follow(&ada, bob.id()).await;
    world.follow(&ada, muted.id()).await;
    let own = world.write(&ada, "own", "direct").await;
    let plain = world.write(&bob, "plain", "private").await;
    let of_carol = world.write(&carol, "not followed", "public").await;
    let answer_to =
        |parent: &serde_json::Value| json!({ "status": "a", "in_reply_to_id": parent["id"] });
    let to_stranger = world
        .post(&bob, "/api/v1/statuses", answer_to(&of_carol))
        .await
        .ok();
    let to_self = world
        .post(&bob, "/api/v1/statuses", answer_to(&plain))
        .await
        .ok();
    let direct = world.write(&bob, "to @carol", "direct").await;
    let to_me = world.write(&bob, "to @ada", "direct").await;
    let quiet = world.write(&muted, "muted", "public").await;
    world
        .post(
            &ada,
            &format!("/api/v1/accounts/{}/mute", muted.id()),
            json!({}),
        )
        .await
        .ok();
    let boost = world
        .post(
            &bob,
            &format!("/api/v1/statuses/{}/reblog", id_of(&of_carol)),
            json!({}),
        )
        .await
        .ok();
    let expected: Vec<i64> = [&boost, &to_me, &to_self, &plain, &own]
        .into_iter()
        .map(id_of)
        .collect();
    let from_sql = world.get(&ada, HOME).await;
    assert_eq!(from_sql.status, StatusCode::OK, "SQL answers in full");
    assert_eq!(from_sql.ids(), expected);
    let everything: Vec<i64> = [
        &own,
        &plain,
        &to_stranger,
        &to_self,
        &direct,
        &to_me,
        &quiet,
        &boost,
        &boost,
    ]
    .into_iter()
    .map(id_of)
    .collect();
    give_list(&world, &ada, 0, &everything).await;
    assert_eq!(world.get(&ada, HOME).await.ids(), expected);
    // Nothing deleted stays.
    world
        .call(
            axum::http::Method::DELETE,
            &format!("/api/v1/statuses/{}", id_of(&plain)),
            Some(&bob.token),
            None,
        )
        .await
        .ok();
    assert!(!world.get(&ada, HOME).await.ids().contains(&id_of(&plain)));
}

#[tokio::test]
async fn an_absent_list_is_asked_for_and_not_waited_for() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let id = id_of(&world.write(&ada, "x", "public").await);
    assert_eq!(world.get(&ada, HOME).await.ids(), [id]);
    for _ in 0..100 {
        if world.others.rebuilds.load(Ordering::SeqCst) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no rebuild was asked for");
}

#[tokio::test]
async fn pages_meet_without_gap_or_repeat_across_the_floor() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(id_of(&world.write(&ada, &format!("{n}"), "public").await));
    }
    ids.reverse();
    for floor in [0, ids[7], ids[11], i64::MAX] {
        let above: Vec<i64> = ids.iter().copied().filter(|id| *id > floor).collect();
        if floor == i64::MAX {
            world.timelines.remove(&[ada.id()]).await.expect("removed");
        } else {
            give_list(&world, &ada, floor, &above).await;
        }
        let mut found = Vec::new();
        let mut next = Some(format!("{HOME}?limit=5"));
        while let Some(path) = next {
            let answer = world.get(&ada, &path).await;
            next = answer.link("next");
            found.extend(answer.ids());
        }
        assert_eq!(found, ids, "floor {floor}");
        // Upwards from the oldest.
        let mut found = Vec::new();
        let mut previous = Some(format!("{HOME}?limit=5&min_id={}", ids[11]));
        while let Some(path) = previous {
            let answer = world.get(&ada, &path).await;
            previous = answer.link("prev");
            let page = answer.ids();
            found.splice(0..0, page);
        }
        assert_eq!(found, ids[..11], "floor {floor}");
        let newest = world
            .get(&ada, &format!("{HOME}?limit=2&since_id={}", ids[9]))
            .await
            .ids();
        assert_eq!(newest, ids[..2], "floor {floor}");
        let between = format!("{HOME}?max_id={}&since_id={}", ids[2], ids[6]);
        assert_eq!(world.get(&ada, &between).await.ids(), ids[3..6]);
    }
}

#[tokio::test]
async fn changes_of_follows_delete_the_list() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    for action in ["follow", "unfollow", "mute", "unmute", "block"] {
        give_list(&world, &ada, 0, &[]).await;
        let path = format!("/api/v1/accounts/{}/{action}", bob.id());
        world.post(&ada, &path, json!({})).await.ok();
        let list = world.timelines.read(ada.id()).await.expect("reads");
        assert_eq!(list, tidegate_timeline::List::Absent, "{action}");
    }
}

#[tokio::test]
async fn a_boost_beside_its_original_is_shown_once() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let carol = world.person("carol").await;
    world.follow(&ada, bob.id()).await;
    world.follow(&ada, carol.id()).await;
    let far = world.person("far").await;
    let original = id_of(&world.write(&far, "x", "public").await);
    let path = format!("/api/v1/statuses/{original}/reblog");
    world.post(&bob, &path, json!({})).await.ok();
    let newer = id_of(&world.post(&carol, &path, json!({})).await.ok());
    assert_eq!(world.get(&ada, HOME).await.ids(), [newer]);
    let hide = json!({ "reblogs": false });
    for who in [&bob, &carol] {
        let path = format!("/api/v1/accounts/{}/follow", who.id());
        world.post(&ada, &path, hide.clone()).await.ok();
    }
    assert_eq!(world.get(&ada, HOME).await.ids(), Vec::<i64>::new());
}
