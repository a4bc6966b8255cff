//! The days of `deliveries`.

mod common;

use std::time::Duration;

use common::{Plan, Rig};
use sqlx::PgPool;
use tidegate_delivery::{maintain_partitions, verify};
use time::OffsetDateTime;

const A: &str = "http://a.sim.test/users/bob/inbox";
const KEEP: Duration = Duration::from_hours(9 * 24);

async fn partitions(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'deliveries'::regclass and c.relname <> 'deliveries_default'
         order by 1",
    )
    .fetch_all(pool)
    .await
    .expect("partitions")
}

async fn holding(pool: &PgPool, activity_id: i64) -> String {
    sqlx::query_scalar("select tableoid::regclass::text from deliveries where activity_id = $1")
        .bind(activity_id)
        .fetch_one(pool)
        .await
        .expect("a row")
}

#[tokio::test]
async fn days_are_made_in_advance_and_rows_go_there() {
    let rig = Rig::new().await;
    let now = OffsetDateTime::now_utc();
    for _ in 0..2 {
        maintain_partitions(rig.pool(), now, KEEP)
            .await
            .expect("made");
        assert_eq!(partitions(rig.pool()).await.len(), 4);
    }
    let id = rig.plan(&Plan::new("Create", "k", 1, &[A])).await;
    assert_ne!(holding(rig.pool(), id).await, "deliveries_default");
}

#[tokio::test]
async fn a_day_whose_rows_are_in_the_default_already_stays_there() {
    let rig = Rig::new().await;
    let id = rig.plan(&Plan::new("Create", "k", 1, &[A])).await;
    maintain_partitions(rig.pool(), OffsetDateTime::now_utc(), KEEP)
        .await
        .expect("made");
    assert_eq!(
        partitions(rig.pool()).await.len(),
        3,
        "today stays with the default"
    );
    assert_eq!(holding(rig.pool(), id).await, "deliveries_default");
}

#[tokio::test]
async fn a_day_is_dropped_when_it_is_old_and_nothing_in_it_moves() {
    let rig = Rig::new().await;
    let now = OffsetDateTime::now_utc();
    maintain_partitions(rig.pool(), now, KEEP)
        .await
        .expect("made");
    let id = rig.plan(&Plan::new("Create", "k", 1, &[A])).await;
    let later = now + KEEP + Duration::from_hours(2 * 24);
    maintain_partitions(rig.pool(), later, KEEP)
        .await
        .expect("looked after");
    assert_ne!(
        holding(rig.pool(), id).await,
        "",
        "a queued row keeps its day"
    );
    sqlx::query("update deliveries set state = 'delivered' where activity_id = $1")
        .bind(id)
        .execute(rig.pool())
        .await
        .expect("delivered");
    maintain_partitions(rig.pool(), later, KEEP)
        .await
        .expect("dropped");
    let left: i64 = sqlx::query_scalar("select count(*) from deliveries")
        .fetch_one(rig.pool())
        .await
        .expect("a count");
    assert_eq!(left, 0);
    let books = verify(rig.pool()).await.expect("books");
    assert!(
        books.is_clean(),
        "what was dropped is not missed: {books:?}"
    );
}

#[tokio::test]
async fn what_is_old_and_finished_in_the_default_is_deleted() {
    let rig = Rig::new().await;
    let id = rig.plan(&Plan::new("Create", "k", 1, &[A])).await;
    sqlx::query("update deliveries set state = 'dead' where activity_id = $1")
        .bind(id)
        .execute(rig.pool())
        .await
        .expect("dead");
    let later = OffsetDateTime::now_utc() + KEEP + Duration::from_mins(1);
    maintain_partitions(rig.pool(), later, KEEP)
        .await
        .expect("deleted");
    let left: i64 = sqlx::query_scalar("select count(*) from deliveries")
        .fetch_one(rig.pool())
        .await
        .expect("a count");
    assert_eq!(left, 0);
    assert!(verify(rig.pool()).await.expect("books").is_clean());
}

/// Moves an activity and its rows to so many days ago.
async fn make_older(pool: &PgPool, id: i64, days: i64) -> i64 {
    let older = id - ((days * 24 * 3_600_000) << 16);
    for statement in [
        "update activities set id = $2 where id = $1",
        "update deliveries set activity_id = $2 where activity_id = $1",
    ] {
        sqlx::query(statement)
            .bind(id)
            .bind(older)
            .execute(pool)
            .await
            .expect("moved");
    }
    older
}

#[tokio::test]
async fn a_row_that_waits_for_months_keeps_its_own_day_only() {
    let rig = Rig::new().await;
    let now = OffsetDateTime::now_utc();
    for days in [30, 20] {
        maintain_partitions(rig.pool(), now - time::Duration::days(days), KEEP)
            .await
            .expect("made");
    }
    let mut ids = Vec::new();
    for (key, days) in [("oldest", 30), ("waits", 29), ("after", 28), ("later", 20)] {
        let id = rig.plan(&Plan::new("Create", key, 1, &[A])).await;
        ids.push(make_older(rig.pool(), id, days).await);
    }
    sqlx::query("update deliveries set state = 'delivered' where order_key <> 'waits'")
        .execute(rig.pool())
        .await
        .expect("delivered");
    sqlx::query(
        "update deliveries set state = 'parked', reason = 'paused' where order_key = 'waits'",
    )
    .execute(rig.pool())
    .await
    .expect("parked");
    maintain_partitions(rig.pool(), now, KEEP)
        .await
        .expect("looked after");
    let left: Vec<i64> = sqlx::query_scalar("select activity_id from deliveries")
        .fetch_all(rig.pool())
        .await
        .expect("rows");
    assert_eq!(left, [ids[1]], "what waits stays, and nothing else");
    let books = verify(rig.pool()).await.expect("books");
    assert!(books.is_clean(), "{books:?}");
    assert_eq!((books.counts.planned, books.counts.parked), (1, 1));

    // What is kept is still verified: a row that is lost there shows.
    sqlx::query("delete from deliveries")
        .execute(rig.pool())
        .await
        .expect("lost");
    assert!(!verify(rig.pool()).await.expect("books").is_clean());
}
