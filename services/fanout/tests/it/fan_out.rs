//! Local fan-out: who gets what, ranges, outages and crashes.

use std::collections::BTreeSet;

use tidegate_model::{FANOUT_RANGE_FOLLOWERS, Message, Visibility};
use tidegate_store::accounts::Account;

use crate::support::{World, eventually};

fn fan_out(status_id: i64) -> Message {
    Message::FanoutStatus { status_id }
}

#[tokio::test]
async fn a_post_reaches_its_author_and_local_followers_only() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let follower = world.local(101, "follower").await;
    let asker = world.local(102, "asker").await;
    world.local(103, "stranger").await;
    let far = world.remote("far", "p.test").await;
    world.follow(&follower, &ada).await;
    world.follow(&far, &ada).await;
    world.ask(&asker, &ada, false).await;

    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    world.handle(vec![fan_out(post.id)]).await;
    assert_eq!(world.timelines.readers_of(post.id), [100, 101]);
}

#[tokio::test]
async fn a_direct_post_reaches_the_mentioned_who_follow() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let friend = world.local(101, "friend").await;
    let mentioned = world.local(102, "mentioned").await;
    let follower = world.local(103, "follower").await;
    world.follow(&friend, &ada).await;
    world.follow(&follower, &ada).await;

    let names = [friend.id, mentioned.id];
    let post = world.post(5_001, &ada, Visibility::Direct, &names).await;
    world.handle(vec![fan_out(post.id)]).await;
    assert_eq!(world.timelines.readers_of(post.id), [100, 101]);
    let told: Vec<(i64, String)> =
        sqlx::query_as("select account_id, kind from notifications order by account_id")
            .fetch_all(&world.deps.pool)
            .await
            .expect("reads");
    let mention = "mention".to_owned();
    assert_eq!(told, [(101, mention.clone()), (102, mention)]);
}

#[tokio::test]
async fn boosts_reach_only_who_wants_them_and_notify_the_author() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let bob = world.local(101, "bob").await;
    let quiet = world.local(102, "quiet").await;
    let loud = world.local(103, "loud").await;
    world.follow(&quiet, &bob).await;
    world.follow(&loud, &bob).await;
    sqlx::query("update follows set show_reblogs = false where account_id = 102")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let mut connection = world.deps.pool.acquire().await.expect("a connection");
    let boost = tidegate_store::statuses::insert_reblog(
        &mut connection,
        bob.id,
        true,
        &post,
        5_002,
        "https://us.test/users/bob/statuses/5002",
        Visibility::Public,
    )
    .await
    .expect("inserts")
    .expect("is new");
    drop(connection);
    world.handle(vec![fan_out(boost.id)]).await;
    assert_eq!(world.timelines.readers_of(boost.id), [101, 103]);
    let told: (i64, String, i64, i64) =
        sqlx::query_as("select account_id, kind, source_id, status_id from notifications")
            .fetch_one(&world.deps.pool)
            .await
            .expect("one");
    assert_eq!(told, (ada.id, "reblog".to_owned(), boost.id, post.id));
}

#[tokio::test]
async fn the_bell_rings_for_posts_and_not_for_replies_to_others() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let fan = world.local(101, "fan").await;
    world.follow(&fan, &ada).await;
    sqlx::query("update follows set notify = true")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let reply = world.post(5_002, &ada, Visibility::Public, &[]).await;
    sqlx::query("update statuses set in_reply_to_uri = 'https://p.test/1' where id = 5002")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    world
        .handle(vec![fan_out(post.id), fan_out(reply.id)])
        .await;
    let told: Vec<(i64, String, i64)> =
        sqlx::query_as("select account_id, kind, source_id from notifications")
            .fetch_all(&world.deps.pool)
            .await
            .expect("reads");
    assert_eq!(told, [(fan.id, "status".to_owned(), post.id)]);
}

#[tokio::test]
async fn a_deleted_post_reaches_nobody() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let friend = world.local(101, "friend").await;
    world.follow(&friend, &ada).await;
    let post = world.post(5_001, &ada, Visibility::Public, &[101]).await;
    let mut connection = world.deps.pool.acquire().await.expect("a connection");
    tidegate_store::statuses::delete(&mut connection, post.id)
        .await
        .expect("deletes");
    drop(connection);
    world.handle(vec![fan_out(post.id)]).await;
    assert_eq!(world.timelines.readers_of(post.id), [0_i64; 0]);
    assert_eq!(world.count("select count(*) from notifications").await, 0);
}

#[tokio::test]
async fn an_absent_timeline_store_delays_appends_and_not_notifications() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let friend = world.local(101, "friend").await;
    world.follow(&friend, &ada).await;
    let post = world.post(5_001, &ada, Visibility::Public, &[101]).await;
    world.timelines.away_after(0);
    world.publish(vec![fan_out(post.id)]).await;
    eventually("the notification", async || {
        world.count("select count(*) from notifications").await == 1
    })
    .await;
    assert_eq!(world.count("select count(*) from fanout_done").await, 0);
    world.timelines.away_after(usize::MAX);
    world.settled().await;
    assert_eq!(world.timelines.readers_of(post.id), [100, 101]);
    assert_eq!(world.count("select count(*) from notifications").await, 1);
}

/// Local followers of `target` with ids from 100,000 on.
async fn crowd(world: &World, target: &Account, size: i64) {
    for statement in [
        "insert into accounts (id, username, uri, url, inbox_url, key_id, public_key_pem)
         select 100000 + n, 'u' || n, 'https://us.test/users/u' || n, '', '', '', ''
         from generate_series(1, $2) n where $1 > 0",
        "insert into follows (account_id, target_id, uri, state)
         select 100000 + n, $1, 'https://us.test/f/' || n, 'accepted'
         from generate_series(1, $2) n",
    ] {
        sqlx::query(statement)
            .bind(target.id)
            .bind(size)
            .execute(&world.deps.pool)
            .await
            .expect("inserts");
    }
}

/// Ranges whose message is under way and that are not done; one message may be in the outbox and
/// in the queue at the same time.
async fn outstanding(world: &World) -> i64 {
    world
        .count(
            "select count(distinct start) from (
                 select (payload -> 'message' ->> 'start')::bigint as start
                 from queue_messages where queue like '%ranges'
                 union all
                 select (payload ->> 'start')::bigint from outbox where queue like '%ranges'
             ) ranges
             where start not in (select range_start from fanout_done)",
        )
        .await
}

#[tokio::test]
async fn a_large_post_is_cut_resumes_after_a_crash_and_never_has_more_than_four_ranges_out() {
    let mut world = World::stopped().await;
    let ada = world.local(100, "ada").await;
    let size = FANOUT_RANGE_FOLLOWERS * 5 + 3;
    crowd(&world, &ada, size).await;
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;

    // One call for the own home; then every stripe's first range and something of the second.
    world.timelines.away_after(1 + 4 * 5 + 2);
    world.publish(vec![fan_out(post.id)]).await;
    world.run();
    eventually("the first ranges are done", async || {
        assert!(outstanding(&world).await <= 4);
        world.count("select count(*) from fanout_done").await >= 4
    })
    .await;
    world.crash().await;
    let done_before = world.count("select count(*) from fanout_done").await;
    assert!(
        outstanding(&world).await > 0,
        "the crash came in the middle"
    );

    world.timelines.away_after(usize::MAX);
    world.run();
    eventually("the rest", async || {
        let left = outstanding(&world).await;
        assert!(left <= 4, "{left} ranges are outstanding");
        left == 0
    })
    .await;
    world.settled().await;
    let readers: BTreeSet<i64> = world.timelines.readers_of(post.id).into_iter().collect();
    assert_eq!(readers.len() as i64, size + 1);
    assert!(world.count("select count(*) from fanout_done").await > done_before);

    // A done range is not done again, and starts nothing.
    let appends = world.timelines.readers_of(post.id).len();
    let (start, end) = (1, i64::MAX);
    let range = Message::FanoutRange {
        status_id: post.id,
        start,
        end,
    };
    world
        .handle(vec![range.clone(), fan_out(post.id), range])
        .await;
    assert_eq!(world.timelines.readers_of(post.id).len(), appends);
}
