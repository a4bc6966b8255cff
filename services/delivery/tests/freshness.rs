//! What people take back while deliveries wait does not leave (design section 5.7).

mod common;

use std::time::Duration;

use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::HostBehaviour;
use tidegate_model::Lane;
use tokio::time::Instant;

/// One follower with a personal inbox on a host of its own.
async fn follower(rig: &Rig, n: i64) -> String {
    let host = format!("h{n}.sim.test");
    let inbox = format!("http://{host}/users/bob/inbox");
    let (inbox_id, _) = rig.inbox(&inbox).await;
    let id: i64 = sqlx::query_scalar(
        "insert into accounts (username, domain, uri, url, inbox_url, key_id, public_key_pem)
         values ('bob', $1, 'http://' || $1 || '/users/bob', '', $2, 'k' || $1, '') returning id",
    )
    .bind(&host)
    .bind(&inbox)
    .fetch_one(rig.pool())
    .await
    .expect("an account");
    sqlx::query(
        "insert into follows (account_id, target_id, uri, state, inbox_id)
         values ($1, $2, 'f' || $1, 'accepted', $3)",
    )
    .bind(id)
    .bind(rig.author)
    .bind(inbox_id)
    .execute(rig.pool())
    .await
    .expect("a follow");
    inbox
}

async fn run(rig: &Rig, statement: &'static str) {
    sqlx::query(statement)
        .execute(rig.pool())
        .await
        .expect("the statement runs");
}

/// A thousand deliveries queued while nobody delivers; then their reasons go away.
#[tokio::test]
async fn a_thousand_deliveries_that_nobody_wants_any_more_never_leave() {
    let mut rig = Rig::new().await;
    rig.sim.add_host("sim.test", HostBehaviour::default());
    let mut inboxes = Vec::new();
    for n in 0..100 {
        rig.sim
            .add_host(&format!("h{n}.sim.test"), HostBehaviour::default());
        inboxes.push(follower(&rig, n).await);
    }
    let urls: Vec<&str> = inboxes.iter().map(String::as_str).collect();
    let mut ids = Vec::new();
    for n in 0..10 {
        let status = rig.post("public").await;
        let key = format!("status:{n}");
        let plan = Plan {
            status_id: Some(status),
            lane: Lane::ALL[n % 3],
            ..Plan::new("Create", &key, 1, &urls)
        };
        let id = rig.plan(&plan).await;
        sqlx::query("update activities set to_followers_of = account_id where id = $1")
            .bind(id)
            .execute(rig.pool())
            .await
            .expect("an audience");
        rig.publish(id).await;
        ids.push((id, status));
    }
    // Three posts are deleted, their 300 deliveries with them.
    for (_, status) in &ids[..3] {
        sqlx::query("update statuses set deleted_at = now() where id = $1")
            .bind(status)
            .execute(rig.pool())
            .await
            .expect("deleted");
    }
    // Of the others: 40 hosts' followers unfollow, 30 are blocked; then the author is suspended.
    run(
        &rig,
        "delete from follows where id in (select id from follows order by id limit 40)",
    )
    .await;
    run(
        &rig,
        "insert into blocks (account_id, target_id, uri)
         select target_id, account_id, 'b' || account_id from follows order by id limit 30",
    )
    .await;
    run(
        &rig,
        "update accounts set suspended_at = now() where domain is null",
    )
    .await;
    rig.start();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left: i64 = sqlx::query_scalar(
            "select count(*) from deliveries where state <> 'cancelled' or reason is null",
        )
        .fetch_one(rig.pool())
        .await
        .expect("a count");
        if left == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{left} are not cancelled");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let reasons: Vec<(String, i64)> =
        sqlx::query_as("select reason, count(*) from deliveries group by reason order by reason")
            .fetch_all(rig.pool())
            .await
            .expect("counts");
    let expected = [("deleted".to_owned(), 300), ("suspended".to_owned(), 700)];
    assert_eq!(reasons, expected);
    rig.until_queue_is_empty().await;
    assert!(rig.sim.ledger().is_empty(), "somebody received something");
}

#[tokio::test]
async fn whom_nobody_follows_from_any_more_or_is_blocked_gets_nothing() {
    let mut rig = Rig::new().await;
    for n in 0..3 {
        rig.sim
            .add_host(&format!("h{n}.sim.test"), HostBehaviour::default());
        rig.sim.add_actor(&format!("h{n}.sim.test"), "bob", false);
    }
    let (gone, blocked, stays) = (
        follower(&rig, 0).await,
        follower(&rig, 1).await,
        follower(&rig, 2).await,
    );
    let status = rig.post("public").await;
    let plan = Plan {
        status_id: Some(status),
        ..Plan::new("Create", "status:1", 1, &[&gone, &blocked, &stays])
    };
    let id = rig.plan(&plan).await;
    run(&rig, "update activities set to_followers_of = account_id").await;
    rig.publish(id).await;
    run(
        &rig,
        "delete from follows where id = (select min(id) from follows)",
    )
    .await;
    run(
        &rig,
        "insert into blocks (account_id, target_id, uri)
         select target_id, account_id, 'b' from follows order by id limit 1",
    )
    .await;
    rig.start();
    rig.until(id, &stays, "delivered").await;
    let row = rig.until(id, &gone, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("audience"));
    let row = rig.until(id, &blocked, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("blocked"));
    assert_eq!(rig.sim.ledger().effect_count(), 1);
}
