//! Pairs that undo each other while they wait for a host: cancelled whole when the host cannot
//! know of the first, else the second is sent (design section 6, "Cancelling pairs").

mod common;

use std::time::Duration;

use common::hosts::FLAKY as INBOX;
use common::{Plan, Rig};
use serde_json::Value;
use tidegate_federation::signature::body_digest;

const FAILING: &str = "select count(*) from hosts where state = 'failing'";

/// Plans and publishes an Undo that names this activity.
async fn undo(rig: &Rig, order_key: &str, seq: i64, undone: i64) -> i64 {
    let id = rig.plan(&Plan::new("Undo", order_key, seq, &[INBOX])).await;
    let body = async |id: i64| -> Value {
        let body: Vec<u8> = sqlx::query_scalar("select body from activities where id = $1")
            .bind(id)
            .fetch_one(rig.pool())
            .await
            .expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    };
    let mut whole = body(id).await;
    whole["object"] = body(undone).await;
    let whole = whole.to_string().into_bytes();
    sqlx::query("update activities set body = $2, digest = $3 where id = $1")
        .bind(id)
        .bind(&whole)
        .bind(body_digest(&whole))
        .execute(rig.pool())
        .await
        .expect("a body");
    rig.publish(id).await;
    id
}

/// A host that nobody is at, failing with the activity that is returned, and not probed for an hour.
async fn out_of_reach() -> (Rig, i64) {
    let mut rig = Rig::new().await;
    rig.options.probe_first = Duration::from_hours(1);
    rig.nobody().await;
    rig.start();
    let other = rig.send(&Plan::new("Create", "other", 1, &[INBOX])).await;
    rig.until(other, INBOX, "parked").await;
    (rig, other)
}

#[tokio::test]
async fn a_pair_that_was_never_sent_is_cancelled_whole() {
    let (rig, other) = out_of_reach().await;
    let create = rig
        .send(&Plan::new("Create", "status:1", 1, &[INBOX]))
        .await;
    let delete = rig
        .send(&Plan::new("Delete", "status:1", 2, &[INBOX]))
        .await;
    rig.until(create, INBOX, "parked").await;
    rig.until(delete, INBOX, "parked").await;
    rig.steer("next_probe_at = now()").await;
    let row = rig.until(delete, INBOX, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("pair"));
    let row = rig.until(create, INBOX, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("withdrawn"));
    assert_eq!(rig.row(other, INBOX).await.state, "parked");
}

#[tokio::test]
async fn of_a_pair_that_may_have_arrived_the_second_is_sent() {
    let mut rig = Rig::new().await;
    rig.options.probe_first = Duration::from_hours(1);
    let proxy = rig.flaky().await;
    // The host takes the request, and nobody learns of it.
    proxy.cut();
    rig.start();
    let create = rig
        .send(&Plan::new("Create", "status:1", 1, &[INBOX]))
        .await;
    rig.until(create, INBOX, "parked").await;
    for n in 0..6 {
        rig.send(&Plan::new("Create", &format!("k{n}"), 1, &[INBOX]))
            .await;
    }
    rig.until_number(FAILING, 1).await;
    let touched = "select count(*) from deliveries where touched and order_key = 'status:1'";
    assert_eq!(rig.number(touched).await, 1, "the connection was open");
    let delete = rig
        .send(&Plan::new("Delete", "status:1", 2, &[INBOX]))
        .await;
    rig.until(delete, INBOX, "parked").await;
    proxy.heal();
    rig.steer("next_probe_at = now()").await;
    rig.until(delete, INBOX, "delivered").await;
    let row = rig.row(create, INBOX).await;
    assert_eq!(
        (row.state.as_str(), row.reason.as_deref()),
        ("cancelled", Some("withdrawn"))
    );
    let of_the_pair = |kind: &str| {
        let all = rig.sim.ledger().activities(kind);
        let ids = all.iter().filter_map(|entry| entry.activity.as_ref());
        ids.filter(|activity| activity.id.contains("status:1"))
            .count()
    };
    assert_eq!((of_the_pair("Create"), of_the_pair("Delete")), (0, 1));
}

/// A request of which no byte was written cannot have arrived.
#[tokio::test]
async fn a_pair_whose_first_failed_before_it_was_written_is_cancelled_whole() {
    let (rig, create) = out_of_reach().await;
    let row = rig.row(create, INBOX).await;
    assert_eq!(row.attempts, 1, "it was tried");
    let delete = rig.send(&Plan::new("Delete", "other", 2, &[INBOX])).await;
    rig.until(delete, INBOX, "parked").await;
    rig.steer("next_probe_at = now()").await;
    let row = rig.until(delete, INBOX, "cancelled").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("pair"), 0));
    let row = rig.until(create, INBOX, "cancelled").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("withdrawn"), 1)
    );
}

#[tokio::test]
async fn a_follow_and_its_undo_that_were_never_sent_are_cancelled_whole() {
    let (rig, other) = out_of_reach().await;
    let first = rig
        .send(&Plan::new("Follow", "relation:1:2", 1, &[INBOX]))
        .await;
    rig.until(first, INBOX, "parked").await;
    let undone = undo(&rig, "relation:1:2", 2, first).await;
    rig.until(undone, INBOX, "parked").await;
    // A second request of the same two people is another Follow, which nothing takes back.
    let second = rig
        .send(&Plan::new("Follow", "relation:1:2", 3, &[INBOX]))
        .await;
    rig.until(second, INBOX, "parked").await;
    rig.steer("next_probe_at = now()").await;
    let row = rig.until(undone, INBOX, "cancelled").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("pair"), 0));
    let row = rig.until(first, INBOX, "cancelled").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("withdrawn"), 0)
    );
    for id in [other, second] {
        assert_eq!(rig.row(id, INBOX).await.state, "parked");
    }
}

#[tokio::test]
async fn of_a_follow_that_may_have_arrived_the_undo_is_sent() {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    rig.options.probe_first = Duration::from_hours(1);
    let proxy = rig.flaky().await;
    // The host takes the request, and nobody learns of it.
    proxy.cut();
    rig.start();
    let follow = rig
        .send(&Plan::new("Follow", "relation:1:2", 1, &[INBOX]))
        .await;
    rig.until(follow, INBOX, "parked").await;
    for n in 0..6 {
        let key = format!("k{n}");
        rig.send(&Plan::new("Create", &key, 1, &[INBOX])).await;
    }
    rig.until_number(FAILING, 1).await;
    let touched = "select count(*) from deliveries d join activities a on a.id = d.activity_id
                   where a.kind = 'Follow' and d.touched";
    assert_eq!(rig.number(touched).await, 1, "the connection was open");
    let undone = undo(&rig, "relation:1:2", 2, follow).await;
    rig.until(undone, INBOX, "parked").await;
    proxy.heal();
    rig.steer("next_probe_at = now()").await;
    rig.until(undone, INBOX, "delivered").await;
    let row = rig.row(follow, INBOX).await;
    assert_eq!(
        (row.state.as_str(), row.reason.as_deref()),
        ("cancelled", Some("withdrawn"))
    );
    assert_eq!(rig.sim.ledger().activities("Follow").len(), 0);
    assert_eq!(rig.sim.ledger().activities("Undo").len(), 1);
}

#[tokio::test]
async fn of_a_pair_whose_sender_died_the_second_is_sent_because_nobody_knows() {
    let (rig, _) = out_of_reach().await;
    let create = rig
        .send(&Plan::new("Create", "status:1", 1, &[INBOX]))
        .await;
    rig.until(create, INBOX, "parked").await;
    // A worker that was killed may have sent it: its outcome is written down nowhere.
    rig.run("update shard_leases set unclean_at = now()").await;
    let delete = rig
        .send(&Plan::new("Delete", "status:1", 2, &[INBOX]))
        .await;
    rig.until(delete, INBOX, "parked").await;
    rig.steer("next_probe_at = now()").await;
    let row = rig.until(create, INBOX, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("withdrawn"));
    assert_eq!(rig.row(delete, INBOX).await.state, "parked");
}
