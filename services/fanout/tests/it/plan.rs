//! Planning: rows, counts, recipients, order, and what it leaves out.

use std::collections::BTreeSet;

use tidegate_model::{Message, Visibility, host_of, shard_of};
use tidegate_store::activities::Audience;
use tidegate_store::shards::{self, Shards};
use tidegate_store::statuses;

use crate::support::people::remote_actor;
use crate::support::{World, eventually};

async fn urls(world: &World, activity: i64) -> BTreeSet<String> {
    sqlx::query_scalar(
        "select i.url from deliveries d join inboxes i on i.id = d.inbox_id
         where d.activity_id = $1",
    )
    .bind(activity)
    .fetch_all(&world.deps.pool)
    .await
    .expect("reads")
    .into_iter()
    .collect()
}

async fn planned_count(world: &World, activity: i64) -> Option<i64> {
    sqlx::query_scalar("select planned_count from activities where id = $1")
        .bind(activity)
        .fetch_one(&world.deps.pool)
        .await
        .expect("reads")
}

/// The (shard, inboxes) of every message for the delivery role.
async fn messages(world: &World) -> Vec<(u32, Vec<i64>)> {
    let payloads: Vec<serde_json::Value> = sqlx::query_scalar(
        "select payload from queue_messages where queue like 't.deliver.%' order by id",
    )
    .fetch_all(&world.deps.pool)
    .await
    .expect("reads");
    payloads
        .iter()
        .map(
            |payload| match tidegate_queue::envelope::decode(payload.to_string().as_bytes()) {
                Ok(Message::Deliver {
                    shard, inbox_ids, ..
                }) => (shard, inbox_ids),
                other => panic!("not a delivery: {other:?}"),
            },
        )
        .collect()
}

fn followers_of(account: i64) -> Audience {
    Audience {
        followers_of: Some(account),
        ..Audience::default()
    }
}

#[tokio::test]
async fn every_distinct_inbox_gets_one_row_and_is_in_one_message_of_its_shard() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let local = world.local(101, "local").await;
    world.follow(&local, &ada).await;
    for host in 0..150 {
        for name in ["one", "two"] {
            let follower = world.remote(name, &format!("h{host}.test")).await;
            world.follow(&follower, &ada).await;
        }
    }
    let asker = world.remote("asker", "pending.test").await;
    world.ask(&asker, &ada, false).await;
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let activity = world.enqueue("Create", &post, followers_of(ada.id)).await;
    world.settled().await;

    let urls = urls(&world, activity).await;
    assert_eq!(urls.len(), 150);
    assert!(!urls.contains("https://pending.test/inbox"));
    assert_eq!(planned_count(&world, activity).await, Some(150));
    let published = "select count(*) from activities where published_at is not null";
    assert_eq!(world.count(published).await, 1);

    let messages = messages(&world).await;
    let mut sent = Vec::new();
    for (shard, ids) in messages {
        assert!(!ids.is_empty() && ids.len() <= 100);
        for id in ids {
            let url: String = sqlx::query_scalar("select url from inboxes where id = $1")
                .bind(id)
                .fetch_one(&world.deps.pool)
                .await
                .expect("reads");
            assert_eq!(shard, shard_of(&host_of(&url).expect("a host"), 4));
            sent.push(url);
        }
    }
    assert_eq!(sent.len(), 150);
    assert_eq!(sent.into_iter().collect::<BTreeSet<_>>(), urls);
}

/// Whoever is named waits for it; the crowd does not make them wait longer. And what goes about
/// one post to one host takes one lane, though an edit names somebody new there.
#[tokio::test]
async fn the_named_have_the_urgent_lane_and_an_order_key_keeps_its_lane_at_each_host() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let fan = world.remote("fan", "fan.test").await;
    let named = world.remote("named", "named.test").await;
    let later = world.remote("later", "later.test").await;
    for follower in [&fan, &named, &later] {
        world.follow(follower, &ada).await;
    }
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    for (kind, to) in [("Create", named.id), ("Update", later.id)] {
        let audience = Audience {
            accounts: vec![to],
            ..followers_of(ada.id)
        };
        let activity = world.enqueue(kind, &post, audience).await;
        world.settled().await;
        let lanes: Vec<(String, String)> = sqlx::query_as(
            "select host, lane from deliveries where activity_id = $1 order by host",
        )
        .bind(activity)
        .fetch_all(&world.deps.pool)
        .await
        .expect("rows");
        let lanes: Vec<(&str, &str)> = lanes.iter().map(|(h, l)| (&**h, &**l)).collect();
        assert_eq!(
            lanes,
            [
                ("fan.test", "bulk"),
                ("later.test", "bulk"),
                ("named.test", "now")
            ],
            "{kind}"
        );
    }
    let urgent: i64 = world
        .count("select count(*) from queue_messages where queue like 't.deliver.now.%'")
        .await;
    assert_eq!(urgent, 2);
}

#[tokio::test]
async fn ourselves_the_suspended_and_both_sides_of_a_block_are_left_out() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let friend = world.remote("friend", "p.test").await;
    let neighbour = world.local(101, "neighbour").await;
    let blocked = world.remote("blocked", "q.test").await;
    let blocker = world.remote("blocker", "r.test").await;
    let suspended = world.remote("suspended", "s.test").await;
    world.block(&ada, &blocked).await;
    world.block(&blocker, &ada).await;
    // Follows only, with an inbox of its own, and blocked.
    let mut loner = remote_actor("loner", "t.test");
    loner.shared_inbox = None;
    let loner = world.store(&loner).await;
    world.block(&ada, &loner).await;
    world.follow(&loner, &ada).await;
    sqlx::query("update accounts set suspended_at = now() where id = $1")
        .bind(suspended.id)
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    let named = [&friend, &neighbour, &blocked, &blocker, &suspended];
    let audience = || Audience {
        followers_of: Some(ada.id),
        accounts: named.iter().map(|account| account.id).collect(),
        earlier_recipients: false,
    };
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let create = world.enqueue("Create", &post, audience()).await;
    world.settled().await;
    let expected = BTreeSet::from(["https://p.test/inbox".to_owned()]);
    assert_eq!(urls(&world, create).await, expected);

    // What withdraws goes behind a block too: they may have the post from before.
    let undo = world.enqueue("Undo", &post, audience()).await;
    world.settled().await;
    assert_eq!(planned_count(&world, undo).await, Some(4));
}

#[tokio::test]
async fn a_deleted_post_is_planned_to_nobody_and_its_delete_to_who_had_it() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let before = world.remote("before", "p.test").await;
    world.follow(&before, &ada).await;
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let create = world.enqueue("Create", &post, followers_of(ada.id)).await;
    world.settled().await;
    assert_eq!(planned_count(&world, create).await, Some(1));

    let after = world.remote("after", "q.test").await;
    let mut connection = world.deps.pool.acquire().await.expect("a connection");
    tidegate_store::follows::remove(&mut connection, before.id, ada.id)
        .await
        .expect("unfollows");
    statuses::delete(&mut connection, post.id)
        .await
        .expect("deletes");
    drop(connection);
    world.follow(&after, &ada).await;
    let late = world.enqueue("Update", &post, followers_of(ada.id)).await;
    let audience = Audience {
        earlier_recipients: true,
        ..Audience::default()
    };
    let delete = world.enqueue("Delete", &post, audience).await;
    world.settled().await;
    assert_eq!(planned_count(&world, late).await, Some(0));
    let had_it = BTreeSet::from(["https://p.test/inbox".to_owned()]);
    assert_eq!(urls(&world, delete).await, had_it);
}

#[tokio::test]
async fn a_delete_that_comes_first_plans_its_create_before_itself() {
    let mut world = World::stopped().await;
    let ada = world.local(100, "ada").await;
    let friend = world.remote("friend", "p.test").await;
    world.follow(&friend, &ada).await;
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let create = world.enqueue("Create", &post, followers_of(ada.id)).await;
    let audience = Audience {
        earlier_recipients: true,
        ..Audience::default()
    };
    let delete = world.enqueue("Delete", &post, audience).await;
    eventually("the relay publishes", async || {
        world.count("select count(*) from outbox").await == 0
    })
    .await;
    // Only the second message is left; the first one is late.
    sqlx::query(
        "delete from queue_messages where (payload -> 'message' ->> 'activity_id')::bigint = $1",
    )
    .bind(create)
    .execute(&world.deps.pool)
    .await
    .expect("deletes");
    world.run();
    world.settled().await;
    // The post is still there, so its Create goes out, and the Delete behind it.
    assert_eq!(planned_count(&world, create).await, Some(1));
    assert_eq!(planned_count(&world, delete).await, Some(1));
    let seqs: Vec<i64> = sqlx::query_scalar("select seq from deliveries order by activity_id")
        .fetch_all(&world.deps.pool)
        .await
        .expect("reads");
    assert_eq!(seqs, [1, 2]);
}

#[tokio::test]
async fn a_crash_between_closing_and_publishing_is_made_up_for() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let friend = world.remote("friend", "p.test").await;
    world.follow(&friend, &ada).await;
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let create = world.enqueue("Create", &post, followers_of(ada.id)).await;
    world.settled().await;
    // As if the process had died before it published.
    sqlx::query("delete from queue_messages")
        .execute(&world.deps.pool)
        .await
        .expect("deletes");
    sqlx::query("update activities set published_at = null")
        .execute(&world.deps.pool)
        .await
        .expect("updates");
    // A follower who came since is not in the frozen set.
    let late = world.remote("late", "q.test").await;
    world.follow(&late, &ada).await;
    let again = Message::Plan {
        activity_id: create,
    };
    world.handle(vec![again]).await;
    assert_eq!(messages(&world).await.len(), 1);
    assert_eq!(planned_count(&world, create).await, Some(1));
    assert_eq!(world.count("select count(*) from deliveries").await, 1);
}

#[tokio::test]
async fn unavailable_hosts_get_no_new_public_work_but_what_somebody_waits_for() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    for host in ["gone.test", "here.test"] {
        let follower = world.remote("bob", host).await;
        world.follow(&follower, &ada).await;
    }
    sqlx::query("insert into hosts (host, state) values ('gone.test', 'unavailable')")
        .execute(&world.deps.pool)
        .await
        .expect("a host");
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let public = world.enqueue("Create", &post, followers_of(ada.id)).await;
    let direct = world.post(5_002, &ada, Visibility::Direct, &[]).await;
    let direct = world.enqueue("Create", &direct, followers_of(ada.id)).await;
    world.settled().await;
    let of = |urls: BTreeSet<String>| urls.iter().any(|url| url.contains("gone.test"));
    assert!(!of(urls(&world, public).await));
    assert!(of(urls(&world, direct).await));
    assert_eq!(planned_count(&world, public).await, Some(1));
    let post = world.post(5_003, &ada, Visibility::Public, &[]).await;
    for kind in ["Follow", "Accept", "Reject", "Undo", "Block"] {
        let probing = world.enqueue(kind, &post, followers_of(ada.id)).await;
        world.settled().await;
        assert!(of(urls(&world, probing).await), "{kind} is no probe");
    }
}

#[tokio::test]
async fn no_row_is_written_with_a_number_of_shards_that_is_not_in_use() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let follower = world.remote("f", "h.test").await;
    world.follow(&follower, &ada).await;
    let mine = world.deps.queues.shards();
    let use_shards = async |count: u32, changing: bool| {
        let mut connection = world.deps.pool.acquire().await.expect("a connection");
        shards::set(&mut connection, Shards { count, changing })
            .await
            .expect("sets");
    };
    use_shards(mine, true).await;
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let plan = world.enqueue("Create", &post, followers_of(ada.id)).await;
    // It was tried, and waits for another try.
    eventually("a try that failed", async || {
        let tried = "select count(*) from queue_messages
                     where queue = 't.plan' and holder is null and deliveries > 0";
        world.count(tried).await > 0
    })
    .await;
    assert!(urls(&world, plan).await.is_empty());
    use_shards(mine, false).await;
    eventually("the row", async || urls(&world, plan).await.len() == 1).await;
}

/// P2: what is not open goes where somebody follows or is named, and nowhere else.
#[tokio::test]
async fn pending_and_removed_followers_get_nothing_and_direct_posts_go_to_the_mentioned() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    let [friend, asker, former, mentioned] = [
        world.remote("friend", "friend.test").await,
        world.remote("asker", "pending.test").await,
        world.remote("former", "removed.test").await,
        world.remote("mentioned", "mentioned.test").await,
    ];
    world.follow(&friend, &ada).await;
    world.ask(&asker, &ada, false).await;
    world.follow(&former, &ada).await;
    sqlx::query("delete from follows where account_id = $1")
        .bind(former.id)
        .execute(&world.deps.pool)
        .await
        .expect("removed");
    let private = world.post(5_001, &ada, Visibility::Private, &[]).await;
    let private = world
        .enqueue("Create", &private, followers_of(ada.id))
        .await;
    let direct = world
        .post(5_002, &ada, Visibility::Direct, &[mentioned.id])
        .await;
    let named = Audience {
        accounts: vec![mentioned.id],
        ..Audience::default()
    };
    let direct = world.enqueue("Create", &direct, named).await;
    world.settled().await;
    let hosts = async |activity| -> BTreeSet<String> {
        let urls = urls(&world, activity).await;
        urls.iter()
            .map(|url| host_of(url).expect("a host"))
            .collect()
    };
    assert_eq!(hosts(private).await, ["friend.test".to_owned()].into());
    assert_eq!(hosts(direct).await, ["mentioned.test".to_owned()].into());
}

#[tokio::test]
async fn hosts_beyond_the_bound_of_their_domain_are_planned_under_one_state() {
    let world = World::start().await;
    let ada = world.local(100, "ada").await;
    for n in 0..60 {
        let follower = world.remote("bob", &format!("h{n}.flood.org")).await;
        world.follow(&follower, &ada).await;
    }
    let post = world.post(5_001, &ada, Visibility::Public, &[]).await;
    let activity = world.enqueue("Create", &post, followers_of(ada.id)).await;
    world.settled().await;
    assert_eq!(urls(&world, activity).await.len(), 60, "everybody gets it");
    let rows: Vec<(String, i32, i64)> = sqlx::query_as(
        "select host, shard, count(*) from deliveries where activity_id = $1 group by 1, 2",
    )
    .bind(activity)
    .fetch_all(&world.deps.pool)
    .await
    .expect("rows");
    assert_eq!(rows.len(), 50);
    for (host, shard, rows) in rows {
        let shards = world.deps.queues.shards();
        assert_eq!(shard.cast_unsigned(), shard_of(&host, shards));
        assert_eq!(rows, if host == "flood.org" { 11 } else { 1 }, "{host}");
    }
}
