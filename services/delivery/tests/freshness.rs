//! What people take back while deliveries wait does not leave (design section 5.7).

mod common;

use std::time::Duration;

use common::people::own_inbox;
use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::HostBehaviour;
use tidegate_model::Lane;
use tokio::time::Instant;

/// Remote people, each on a host of its own with an inbox of its own.
const PEOPLE: usize = 100;

/// Whom something is for.
enum To<'a> {
    /// Everybody: all of them follow.
    Followers,
    /// Those whom it names.
    Named(&'a [i64]),
}

/// Everybody of the outside.
struct Crowd {
    ids: Vec<i64>,
    inboxes: Vec<String>,
}

impl Crowd {
    async fn gather(rig: &Rig) -> Self {
        let mut crowd = Self {
            ids: Vec::new(),
            inboxes: Vec::new(),
        };
        for n in 0..PEOPLE {
            let host = format!("h{n}.sim.test");
            rig.sim.add_host(&host, HostBehaviour::default());
            rig.sim.add_actor(&host, "bob", false);
            crowd.ids.push(rig.person("bob", &host, false).await);
            crowd.inboxes.push(own_inbox("bob", &host));
        }
        crowd
    }

    async fn follow(&self, rig: &Rig, author: i64) {
        for (id, inbox) in self.ids.iter().zip(&self.inboxes) {
            rig.follow(*id, author, inbox, "accepted").await;
        }
    }

    /// Posts of an author to everybody, queued; their numbers.
    async fn posts(&self, rig: &Rig, author: i64, count: usize, to: To<'_>) -> Vec<i64> {
        let urls: Vec<&str> = self.inboxes.iter().map(String::as_str).collect();
        let mut statuses = Vec::new();
        for n in 0..count {
            let (visibility, followed, named) = match to {
                To::Followers => ("public", Some(author), &[] as &[i64]),
                To::Named(people) => ("direct", None, people),
            };
            let status = rig.post_of(author, visibility).await;
            let key = format!("status:{status}");
            rig.send(&Plan {
                status_id: Some(status),
                lane: Lane::ALL[n % 3],
                author: Some(author),
                to_followers_of: followed,
                to_accounts: named.to_vec(),
                ..Plan::new("Create", &key, 1, &urls)
            })
            .await;
            statuses.push(status);
        }
        statuses
    }
}

/// A thousand deliveries of four authors, queued while nobody delivers; then each loses its
/// reason in another way.
#[tokio::test]
async fn a_thousand_deliveries_that_nobody_wants_any_more_never_leave() {
    let mut rig = Rig::new().await;
    let crowd = Crowd::gather(&rig).await;
    let authors = ["deleting", "suspended", "left", "blocking"];
    let mut ids = Vec::new();
    for name in authors {
        ids.push(rig.keyless(name).await);
    }
    let [deleting, suspended, left, blocking] = ids[..] else {
        unreachable!("four authors");
    };
    for author in [deleting, suspended, left] {
        crowd.follow(&rig, author).await;
    }
    let deleted = crowd.posts(&rig, deleting, 3, To::Followers).await;
    crowd.posts(&rig, suspended, 2, To::Followers).await;
    crowd.posts(&rig, left, 3, To::Followers).await;
    crowd.posts(&rig, blocking, 2, To::Named(&crowd.ids)).await;
    rig.until_number(
        "select count(*) from deliveries where state = 'queued'",
        1_000,
    )
    .await;

    sqlx::query("update statuses set deleted_at = now() where id = any($1)")
        .bind(&deleted)
        .execute(rig.pool())
        .await
        .expect("deleted");
    sqlx::query("update accounts set suspended_at = now() where id = $1")
        .bind(suspended)
        .execute(rig.pool())
        .await
        .expect("suspended");
    // Sixty stop following; twenty block the author, and the author blocks the other twenty.
    sqlx::query("delete from follows where target_id = $1 and account_id = any($2)")
        .bind(left)
        .bind(&crowd.ids[..60])
        .execute(rig.pool())
        .await
        .expect("unfollowed");
    for id in &crowd.ids[60..80] {
        rig.block(*id, left).await;
    }
    for id in &crowd.ids[80..] {
        rig.block(left, *id).await;
    }
    // Whom a direct message names is blocked, by the one side or the other.
    for (n, id) in crowd.ids.iter().enumerate() {
        if n % 2 == 0 {
            rig.block(blocking, *id).await;
        } else {
            rig.block(*id, blocking).await;
        }
    }
    rig.start();
    rig.until_number(
        "select count(*) from deliveries where state = 'cancelled'",
        1_000,
    )
    .await;
    let reasons: Vec<(String, String, i64)> = sqlx::query_as(
        "select c.username, d.reason, count(*)
         from deliveries d
         join activities a on a.id = d.activity_id
         join accounts c on c.id = a.account_id
         where d.attempts = 0
         group by c.username, d.reason order by c.username, d.reason",
    )
    .fetch_all(rig.pool())
    .await
    .expect("counts");
    let expected = [
        ("blocking", "blocked", 200),
        ("deleting", "deleted", 300),
        ("left", "audience", 180),
        ("left", "blocked", 120),
        ("suspended", "suspended", 200),
    ];
    let expected = expected.map(|(name, reason, rows)| (name.to_owned(), reason.to_owned(), rows));
    assert_eq!(reasons, expected);
    rig.until_queue_is_empty().await;
    assert!(rig.sim.ledger().is_empty(), "somebody received something");
}

#[tokio::test]
async fn whom_nobody_follows_from_any_more_or_is_blocked_gets_nothing() {
    let mut rig = Rig::new().await;
    let mut people = Vec::new();
    for n in 0..3 {
        let host = format!("h{n}.sim.test");
        rig.sim.add_host(&host, HostBehaviour::default());
        rig.sim.add_actor(&host, "bob", false);
        people.push(rig.follower(&host).await);
    }
    let [(leaver, gone), (foe, blocked), (_, stays)] = &people[..] else {
        unreachable!("three people");
    };
    let plan = Plan {
        status_id: Some(rig.post("public").await),
        to_followers_of: Some(rig.author),
        ..Plan::new("Create", "status:1", 1, &[gone, blocked, stays])
    };
    let id = rig.send(&plan).await;
    sqlx::query("delete from follows where account_id = $1")
        .bind(leaver)
        .execute(rig.pool())
        .await
        .expect("unfollowed");
    rig.block(rig.author, *foe).await;
    rig.start();
    rig.until(id, stays, "delivered").await;
    let row = rig.until(id, gone, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("audience"));
    let row = rig.until(id, blocked, "cancelled").await;
    assert_eq!(row.reason.as_deref(), Some("blocked"));
    assert_eq!(rig.sim.ledger().effect_count(), 1);
}

/// Rows are read together when they are taken in. What happens while they wait in memory is felt
/// by those that leave later.
#[tokio::test]
async fn what_is_taken_back_while_its_rows_wait_in_memory_does_not_leave() {
    let mut rig = Rig::new().await.patient(Duration::from_secs(30));
    let slow = HostBehaviour::slow(Duration::from_secs(4));
    rig.sim.add_host("a.sim.test", slow);
    rig.sim.add_actor("a.sim.test", "bob", true);
    let inbox = "http://a.sim.test/inbox";
    for n in 0..10 {
        rig.plan(&Plan::new("Create", &format!("k{n}"), 1, &[inbox]))
            .await;
    }
    rig.start();
    let ids: Vec<i64> = sqlx::query_scalar("select id from activities")
        .fetch_all(rig.pool())
        .await
        .expect("activities");
    for id in ids {
        rig.publish(id).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while !rig.sim.crowds().contains_key("a.sim.test") {
        assert!(Instant::now() < deadline, "nothing is sent");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Those behind the window were read, and wait for an answer to the first.
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.run("update accounts set suspended_at = now() where domain is null")
        .await;
    let waiting = "select count(*) from deliveries where state in ('queued', 'parked')";
    rig.until_number(waiting, 0).await;
    let cancelled = rig
        .number("select count(*) from deliveries where reason = 'suspended' and attempts = 0")
        .await;
    let arrived = rig.sim.ledger().effect_count() as i64;
    assert_eq!(cancelled + arrived, 10);
    assert!(arrived <= 2, "{arrived} left, more than the window");
}
