//! What must not be sent any more, and what must not wait for it.

mod common;

use std::time::Duration;

use common::{Plan, Rig};
use tidegate_delivery::{Filter, MoveKind};
use tidegate_loadtest::{Fault, HostBehaviour, Script};

const INBOX: &str = "http://a.sim.test/inbox";

fn host(rig: &Rig, habits: HostBehaviour) {
    rig.sim.add_host("a.sim.test", habits);
    rig.sim.add_actor("a.sim.test", "bob", true);
}

async fn run(rig: &Rig, statement: &'static str, id: i64) {
    sqlx::query(statement)
        .bind(id)
        .execute(rig.pool())
        .await
        .expect("the statement runs");
}

/// A remote account behind `INBOX` that follows the author.
async fn follower(rig: &Rig, name: &str) -> i64 {
    let (inbox, _) = rig.inbox(INBOX).await;
    run(rig, "update inboxes set shared = true where id = $1", inbox).await;
    let id = rig.person(name, "a.sim.test", true).await;
    rig.follow(id, rig.author, INBOX, "accepted").await;
    id
}

/// Plans as the api does for a followers-only post: to followers, and for what comes after the
/// Create to earlier recipients too.
async fn about(rig: &Rig, kind: &str, seq: i64, status: i64) -> i64 {
    let plan = Plan {
        status_id: Some(status),
        to_followers_of: Some(rig.author),
        to_earlier_recipients: kind != "Create",
        ..Plan::new(kind, "status:1", seq, &[INBOX])
    };
    rig.plan(&plan).await
}

#[tokio::test]
async fn what_the_host_has_in_a_later_version_is_not_sent_again() {
    let rig = Rig::running().await;
    // The Create and the first edit die; the second edit arrives.
    let refusing = Script::first(2, Fault::Status { code: 422 });
    host(&rig, HostBehaviour::inbox(refusing));
    let mut ids = Vec::new();
    for (seq, kind, end) in [
        (1, "Create", "dead"),
        (2, "Update", "dead"),
        (3, "Update", "delivered"),
    ] {
        let id = rig.send(&Plan::new(kind, "status:1", seq, &[INBOX])).await;
        rig.until(id, INBOX, end).await;
        ids.push(id);
    }
    let all = Filter {
        host: Some("a.sim.test".to_owned()),
        ..Filter::default()
    };
    let replayed = rig.shift(MoveKind::Replay, all).await.expect("replayed");
    assert_eq!(replayed.moved, 2);
    for id in &ids[..2] {
        let row = rig.until(*id, INBOX, "cancelled").await;
        assert_eq!(row.reason.as_deref(), Some("superseded"));
    }
    let taken = rig.sim.ledger().received(|entry| entry.effect);
    assert_eq!(taken.len(), 1);
}

#[tokio::test]
async fn an_edit_is_not_shown_to_a_host_that_is_no_longer_in_the_audience() {
    let rig = Rig::running().await;
    host(&rig, HostBehaviour::default());
    let bob = follower(&rig, "bob").await;
    let status = rig.post("private").await;
    let create = about(&rig, "Create", 1, status).await;
    // Blocked before anything was sent; the follow goes with the block.
    run(&rig, "delete from follows where account_id = $1", bob).await;
    rig.publish(create).await;
    let row = rig.until(create, INBOX, "cancelled").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("audience"), 0));

    let update = about(&rig, "Update", 2, status).await;
    rig.publish(update).await;
    let row = rig.until(update, INBOX, "cancelled").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("audience"), 0));
    assert!(rig.sim.ledger().is_empty(), "the host never saw the text");

    let delete = about(&rig, "Delete", 3, status).await;
    run(
        &rig,
        "update statuses set deleted_at = now() where id = $1",
        status,
    )
    .await;
    rig.publish(delete).await;
    rig.until(delete, INBOX, "delivered").await;
    assert_eq!(rig.sim.ledger().activities("Delete").len(), 1);
}

#[tokio::test]
async fn an_edit_reaches_followers_until_the_last_one_is_blocked() {
    let rig = Rig::running().await;
    host(&rig, HostBehaviour::default());
    let bob = follower(&rig, "bob").await;
    let status = rig.post("private").await;
    let create = about(&rig, "Create", 1, status).await;
    rig.publish(create).await;
    rig.until(create, INBOX, "delivered").await;
    let update = about(&rig, "Update", 2, status).await;
    rig.publish(update).await;
    rig.until(update, INBOX, "delivered").await;
    // A block beside a follow that is still there.
    rig.block(rig.author, bob).await;
    let update = about(&rig, "Update", 3, status).await;
    rig.publish(update).await;
    let row = rig.until(update, INBOX, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("audience"));
    assert_eq!(rig.sim.ledger().activities("Update").len(), 1);
}

#[tokio::test]
async fn a_replayed_like_is_cancelled_when_its_undo_was_delivered() {
    let rig = Rig::running().await;
    host(
        &rig,
        HostBehaviour::inbox(Script::first(1, Fault::Status { code: 410 })),
    );
    let like = rig.send(&Plan::new("Like", "like:1:2", 1, &[INBOX])).await;
    rig.until(like, INBOX, "dead").await;
    let undo = rig.plan(&Plan::new("Undo", "like:1:2", 2, &[INBOX])).await;
    sqlx::query(
        "update activities u set body = convert_to(
             json_build_object('type', 'Undo', 'object', json_build_object('id', l.uri))::text,
             'UTF8')
         from activities l where u.id = $1 and l.id = $2",
    )
    .bind(undo)
    .bind(like)
    .execute(rig.pool())
    .await
    .expect("a body");
    // The books alone matter here, not the wire.
    run(
        &rig,
        "update deliveries set state = 'delivered' where activity_id = $1",
        undo,
    )
    .await;
    // Liked once more, and dead for the same reason: nothing took this one back.
    let again = rig.plan(&Plan::new("Like", "like:1:2", 3, &[INBOX])).await;
    run(
        &rig,
        "update deliveries set state = 'dead' where activity_id = $1",
        again,
    )
    .await;
    let replayed = rig.shift(MoveKind::Replay, Filter::default()).await;
    assert_eq!(replayed.expect("replayed").moved, 2);
    let row = rig.until(like, INBOX, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("withdrawn"));
    rig.until(again, INBOX, "delivered").await;
}

#[tokio::test]
async fn a_delete_does_not_wait_for_the_ladder_of_its_create() {
    let mut rig = Rig::new().await;
    rig.options.retry_ladder = vec![Duration::from_hours(24)];
    rig.start();
    host(
        &rig,
        HostBehaviour::inbox(Script::first(1, Fault::Status { code: 503 })),
    );
    follower(&rig, "bob").await;
    let status = rig.post("public").await;
    let create = about(&rig, "Create", 1, status).await;
    rig.publish(create).await;
    rig.until(create, INBOX, "parked").await;
    run(
        &rig,
        "update statuses set deleted_at = now() where id = $1",
        status,
    )
    .await;
    let delete = about(&rig, "Delete", 2, status).await;
    rig.publish(delete).await;
    rig.until(delete, INBOX, "delivered").await;
    let row = rig.row(create, INBOX).await;
    assert_eq!(
        (row.state.as_str(), row.reason.as_deref()),
        ("cancelled", Some("deleted"))
    );
}

#[tokio::test]
async fn what_was_asked_for_anew_is_not_taken_back_by_what_died_before() {
    let rig = Rig::new().await;
    host(&rig, HostBehaviour::default());
    let end = async |id: i64, state: &'static str| {
        sqlx::query("update deliveries set state = $2, touched = true where activity_id = $1")
            .bind(id)
            .bind(state)
            .execute(rig.pool())
            .await
            .expect("an end");
    };
    let relation = "relation:1:2";
    let plan = async |kind, key, seq| rig.plan(&Plan::new(kind, key, seq, &[INBOX])).await;
    end(plan("Block", relation, 1).await, "delivered").await;
    let undo = plan("Undo", relation, 2).await;
    run(
        &rig,
        "update activities u set body = convert_to(jsonb_build_object('object', b.uri)::text, 'UTF8')
         from activities b where b.order_key = u.order_key and b.seq = 1 and u.id = $1",
        undo,
    )
    .await;
    end(undo, "dead").await;
    end(plan("Block", relation, 3).await, "delivered").await;
    let reject = plan("Reject", "relation:3:4", 1).await;
    end(reject, "dead").await;
    end(plan("Accept", "relation:3:4", 2).await, "delivered").await;
    // Nothing speaks against this one.
    let alone = plan("Reject", "relation:5:6", 1).await;
    end(alone, "dead").await;
    end(plan("Follow", "relation:5:6", 2).await, "delivered").await;

    let mut rig = rig;
    rig.start();
    let all = Filter::default();
    rig.shift(MoveKind::Replay, all).await.expect("replayed");
    for id in [undo, reject] {
        let row = rig.until(id, INBOX, "cancelled").await;
        assert_eq!(row.reason.as_deref(), Some("superseded"));
    }
    rig.until(alone, INBOX, "delivered").await;
}
