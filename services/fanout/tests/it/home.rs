//! Home timelines by SQL: what a rebuild and a reader below the floor get.

use tidegate_model::Visibility;
use tidegate_store::home::{HomePage, home_ids};

use crate::support::World;

#[tokio::test]
async fn a_home_holds_own_and_followed_posts_and_direct_ones_for_the_reader() {
    let world = World::stopped().await;
    let me = world.local(100, "me").await;
    let friend = world.local(101, "friend").await;
    let other = world.local(102, "other").await;
    let asked = world.local(103, "asked").await;
    world.follow(&me, &friend).await;
    world.ask(&me, &asked, false).await;
    world.post(1, &me, Visibility::Direct, &[102]).await;
    world.post(2, &friend, Visibility::Private, &[]).await;
    world.post(3, &friend, Visibility::Direct, &[100]).await;
    world.post(4, &friend, Visibility::Direct, &[102]).await;
    world.post(5, &other, Visibility::Public, &[]).await;
    world.post(6, &other, Visibility::Direct, &[100]).await;
    world.post(7, &asked, Visibility::Public, &[]).await;
    world.post(8, &friend, Visibility::Public, &[]).await;
    let mut connection = world.deps.pool.acquire().await.expect("a connection");
    tidegate_store::statuses::delete(&mut connection, 8)
        .await
        .expect("deletes");
    drop(connection);
    let page = HomePage::newest(10, None);
    let ids = home_ids(&world.deps.pool, me.id, &page)
        .await
        .expect("reads");
    assert_eq!(ids, [3, 2, 1]);
}

#[tokio::test]
async fn pages_go_down_from_max_id_and_up_from_min_id() {
    let world = World::stopped().await;
    let me = world.local(100, "me").await;
    let friend = world.local(101, "friend").await;
    world.follow(&me, &friend).await;
    for id in 1..=9 {
        let author = if id % 2 == 0 { &me } else { &friend };
        world.post(id, author, Visibility::Public, &[]).await;
    }
    let page = async |max_id, since_id, min_id| {
        let page = HomePage {
            max_id,
            since_id,
            min_id,
            limit: 3,
        };
        home_ids(&world.deps.pool, me.id, &page)
            .await
            .expect("reads")
    };
    assert_eq!(page(None, None, None).await, [9, 8, 7]);
    assert_eq!(page(Some(7), None, None).await, [6, 5, 4]);
    assert_eq!(page(None, Some(8), None).await, [9]);
    assert_eq!(page(None, Some(2), None).await, [9, 8, 7]);
    assert_eq!(page(None, None, Some(2)).await, [5, 4, 3]);
    assert_eq!(page(Some(5), None, Some(2)).await, [4, 3]);
}

#[tokio::test]
async fn follows_that_leave_out_boosts_or_languages_leave_them_out_here_too() {
    let world = World::stopped().await;
    let me = world.local(100, "me").await;
    let friend = world.local(101, "friend").await;
    world.follow(&me, &friend).await;
    sqlx::query("update follows set show_reblogs = false, languages = '{de}'")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    let english = world.post(1, &friend, Visibility::Public, &[]).await;
    for id in [2, 3] {
        world.post(id, &friend, Visibility::Public, &[]).await;
    }
    sqlx::query("update statuses set language = case id when 2 then 'de' end where id in (2, 3)")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    let mut connection = world.deps.pool.acquire().await.expect("a connection");
    tidegate_store::statuses::insert_reblog(
        &mut connection,
        friend.id,
        true,
        &english,
        4,
        "https://us.test/b/4",
        Visibility::Public,
    )
    .await
    .expect("boosts");
    drop(connection);
    let page = HomePage::newest(10, None);
    let ids = home_ids(&world.deps.pool, me.id, &page)
        .await
        .expect("reads");
    assert_eq!(ids, [3, 2]);
}
