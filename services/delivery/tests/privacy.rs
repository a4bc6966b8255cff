//! Privacy at the moment of sending (P2): whatever was planned, a host gets what is not open only
//! while somebody there is addressed.

mod common;

use common::{Plan, Rig};
use tidegate_delivery::{Filter, MoveKind};
use tidegate_loadtest::HostBehaviour;

const FRIENDS: &str = "http://a.sim.test/inbox";
const ASKERS: &str = "http://b.sim.test/inbox";

/// An account on a host, and its number.
async fn person(rig: &Rig, host: &str) -> i64 {
    rig.sim.add_host(host, HostBehaviour::default());
    rig.person("bob", host, true).await
}

async fn follows(rig: &Rig, who: i64, url: &str, state: &str) {
    rig.follow(who, rig.author, url, state).await;
}

/// Sends a post of this visibility to both inboxes, whoever is addressed.
async fn send(rig: &Rig, visibility: &str, followers: bool, to: &[i64]) -> i64 {
    let status = rig.post(visibility).await;
    let plan = Plan {
        status_id: Some(status),
        to_accounts: to.to_vec(),
        to_followers_of: followers.then_some(rig.author),
        ..Plan::new("Create", "status:1", 1, &[FRIENDS, ASKERS])
    };
    rig.send(&plan).await
}

async fn only_friends_got_it(rig: &Rig, id: i64) {
    rig.until(id, FRIENDS, "delivered").await;
    let row = rig.until(id, ASKERS, "cancelled").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("audience"), 0));
    let elsewhere = rig
        .sim
        .ledger()
        .received(|entry| &*entry.host == "b.sim.test");
    assert!(elsewhere.is_empty());
}

#[tokio::test]
async fn a_host_with_a_follow_that_is_only_asked_for_gets_nothing() {
    let rig = Rig::running().await;
    let friend = person(&rig, "a.sim.test").await;
    let asker = person(&rig, "b.sim.test").await;
    follows(&rig, friend, FRIENDS, "accepted").await;
    follows(&rig, asker, ASKERS, "pending").await;
    let id = send(&rig, "private", true, &[]).await;
    only_friends_got_it(&rig, id).await;
}

#[tokio::test]
async fn a_direct_post_goes_to_the_mentioned_and_to_no_follower() {
    let rig = Rig::running().await;
    let mentioned = person(&rig, "a.sim.test").await;
    let follower = person(&rig, "b.sim.test").await;
    follows(&rig, follower, ASKERS, "accepted").await;
    let id = send(&rig, "direct", false, &[mentioned]).await;
    only_friends_got_it(&rig, id).await;
}

#[tokio::test]
async fn a_host_whose_last_follower_left_while_it_waited_gets_nothing() {
    let mut rig = Rig::new().await;
    let friend = person(&rig, "a.sim.test").await;
    let leaver = person(&rig, "b.sim.test").await;
    for (who, inbox) in [(friend, FRIENDS), (leaver, ASKERS)] {
        follows(&rig, who, inbox, "accepted").await;
    }
    let id = send(&rig, "private", true, &[]).await;
    let planned: i64 = sqlx::query_scalar("select count(*) from deliveries where activity_id = $1")
        .bind(id)
        .fetch_one(rig.pool())
        .await
        .expect("a count");
    assert_eq!(planned, 2, "both followed when it was planned");
    sqlx::query("delete from follows where account_id = $1")
        .bind(leaver)
        .execute(rig.pool())
        .await
        .expect("it leaves");
    rig.start();
    only_friends_got_it(&rig, id).await;
}

/// What died, or waited for its host, is asked about again when it is sent.
#[tokio::test]
async fn a_replayed_or_drained_post_is_not_sent_where_the_last_follower_left() {
    for (state, reason) in [("dead", "status_422"), ("parked", "host")] {
        let mut rig = Rig::new().await;
        let friend = person(&rig, "a.sim.test").await;
        let leaver = person(&rig, "b.sim.test").await;
        for (who, inbox) in [(friend, FRIENDS), (leaver, ASKERS)] {
            follows(&rig, who, inbox, "accepted").await;
        }
        let status = rig.post("private").await;
        let plan = Plan {
            status_id: Some(status),
            to_followers_of: Some(rig.author),
            ..Plan::new("Create", "status:1", 1, &[FRIENDS, ASKERS])
        };
        let id = rig.plan(&plan).await;
        sqlx::query("update deliveries set state = $1, reason = $2")
            .bind(state)
            .bind(reason)
            .execute(rig.pool())
            .await
            .expect("rows");
        sqlx::query("delete from follows where account_id = $1")
            .bind(leaver)
            .execute(rig.pool())
            .await
            .expect("it leaves");
        rig.run(
            "insert into hosts (host, shard, backlog) select host, shard, true from deliveries
             where state = 'parked'",
        )
        .await;
        rig.start();
        if state == "dead" {
            let everything = Filter {
                state: Some("dead".to_owned()),
                ..Filter::default()
            };
            let replayed = rig.shift(MoveKind::Replay, everything).await;
            assert_eq!(replayed.expect("replayed").moved, 2);
        }
        only_friends_got_it(&rig, id).await;
    }
}
