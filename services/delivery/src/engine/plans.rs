//! That a row costs the same however many days are kept: which partitions the statements of every
//! delivery look into.

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tidegate_model::id_at;
use tidegate_store::{ReadOnly, begin_steady};
use tidegate_testkit::Postgres;
use time::{Duration, OffsetDateTime};

use super::backlog::OF_HOSTS;
use super::reading::READ;
use super::recorder::WRITE;

/// As many as three weeks of keeping make.
const DAYS: i64 = 24;

/// Rows of one statement.
const ROWS: i64 = 50;

/// Some time after which nothing happens.
fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

async fn run(pool: &PgPool, statement: String) {
    sqlx::query(AssertSqlSafe(statement))
        .execute(pool)
        .await
        .expect("done");
}

/// Finished rows of each day, so that a plan that reads them shows.
const FINISHED: i64 = 5_000;

/// A partition for each day that lies behind, and one host. Posts were made eight days ago and
/// edited seven days ago; the ids of both.
async fn fill(pool: &PgPool) -> (Vec<i64>, Vec<i64>) {
    let day = |ago: i64| id_at(now() - Duration::days(ago));
    for ago in 0..DAYS {
        let (from, to) = (day(ago + 1), day(ago));
        let bounds = format!("for values from ({from}) to ({to})");
        run(
            pool,
            format!("create table day_{ago} partition of deliveries {bounds}"),
        )
        .await;
        run(
            pool,
            format!(
                "insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq,
                                         state)
                 select {from} + 1000 + n, 0, 'other.test', 0, 'bulk', 'old' || n, 1, 'delivered'
                 from generate_series(1, {FINISHED}) n"
            ),
        )
        .await;
    }
    run(
        pool,
        "insert into inboxes (url, host, shared) values ('http://h.test/inbox', 'h.test', true)"
            .to_owned(),
    )
    .await;
    for (seq, ago) in [(1, 8), (2, 7)] {
        let base = day(ago);
        run(
            pool,
            format!(
                "insert into activities (id, uri, kind, account_id, order_key, seq, lane, body,
                                         digest, planned_at, planned_count)
                 select {base} + n, '{base}/' || n, 'Like', 1, 'k' || n, {seq}, 'bulk', '', '',
                        now(), 1
                 from generate_series(1, {ROWS}) n"
            ),
        )
        .await;
    }
    run(
        pool,
        "insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq)
         select a.id, i.id, i.host, 0, 'bulk', a.order_key, a.seq
         from activities a cross join inboxes i"
            .to_owned(),
    )
    .await;
    run(pool, "analyze".to_owned()).await;
    let ids = async |seq: i64| {
        sqlx::query_scalar("select id from activities where seq = $1 order by id")
            .bind(seq)
            .fetch_all(pool)
            .await
            .expect("ids")
    };
    (ids(1).await, ids(2).await)
}

/// How often a plan that ran looked into a partition.
fn looks(node: &Value) -> i64 {
    let is_partition = node["Relation Name"]
        .as_str()
        .is_some_and(|name| name.starts_with("day_") || name.starts_with("deliveries"));
    let own = if is_partition {
        node["Actual Loops"].as_i64().unwrap_or_default()
    } else {
        0
    };
    let below = node["Plans"].as_array().into_iter().flatten();
    own + below.map(looks).sum::<i64>()
}

async fn looks_of_reading(pool: &PgPool, activities: &[i64], inbox: i64) -> i64 {
    let mut snapshot = begin_steady(pool, ReadOnly::Yes).await.expect("begun");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(format!(
        "explain (analyze, format json) {READ}"
    )))
    .bind(activities)
    .bind(vec![inbox; activities.len()])
    .bind(now())
    .fetch_one(&mut *snapshot)
    .await
    .expect("a plan");
    looks(&plan[0]["Plan"])
}

/// Rolled back.
async fn looks_of_writing(pool: &PgPool, activities: &[i64], inbox: i64) -> i64 {
    let many = activities.len();
    let mut transaction = begin_steady(pool, ReadOnly::No).await.expect("begun");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(format!(
        "explain (analyze, format json) {WRITE}"
    )))
    .bind(activities)
    .bind(vec![inbox; many])
    .bind(vec!["delivered"; many])
    .bind(vec![None::<&str>; many])
    .bind(vec![true; many])
    .bind(vec![false; many])
    .bind(vec![true; many])
    .bind(vec![None::<OffsetDateTime>; many])
    .bind(vec![Some(202); many])
    .bind(vec![None::<&str>; many])
    .bind(now())
    .fetch_one(&mut *transaction)
    .await
    .expect("a plan");
    looks(&plan[0]["Plan"])
}

#[tokio::test]
async fn the_days_that_are_kept_cost_a_delivery_nothing() {
    let database = Postgres::shared().await.fresh_database().await;
    let pool = &database.pool;
    let (posts, edits) = fill(pool).await;
    assert_eq!((posts.len(), edits.len()), (ROWS as usize, ROWS as usize));
    let inbox: i64 = sqlx::query_scalar("select id from inboxes")
        .fetch_one(pool)
        .await
        .expect("one inbox");

    let read = looks_of_reading(pool, &posts, inbox).await;
    assert_eq!(read, ROWS, "a post: its own row and nothing else");
    // What goes before it may lie in its own day or in that of the first, with an hour's margin.
    let read = looks_of_reading(pool, &edits, inbox).await;
    assert!((2 * ROWS..=5 * ROWS).contains(&read), "{read}");

    // One for each partition that the statement could write to, whether it does or not.
    let targets = 2 * (DAYS + 1);
    let written = looks_of_writing(pool, &edits, inbox).await;
    assert!((ROWS..=ROWS + targets).contains(&written), "{written}");
    let written = looks_of_writing(pool, &posts, inbox).await;
    assert!(
        (2 * ROWS..=5 * ROWS + targets).contains(&written),
        "{written}"
    );
}

/// The indexes by which a plan gets at the rows of partitions; nothing where it reads all of one.
fn ways(node: &Value, found: &mut Vec<Option<String>>) {
    if node["Relation Name"].is_string() {
        found.push(node["Index Name"].as_str().map(str::to_owned));
    }
    for below in node["Plans"].as_array().into_iter().flatten() {
        ways(below, found);
    }
}

#[tokio::test]
async fn backlogs_of_many_hosts_are_read_by_their_index() {
    let database = Postgres::shared().await.fresh_database().await;
    let pool = &database.pool;
    fill(pool).await;
    run(
        pool,
        "update deliveries set state = 'parked', not_before = null,
             host = (array['a.test', 'b.test'])[1 + activity_id % 2]
         where state = 'queued'"
            .to_owned(),
    )
    .await;
    let mut snapshot = begin_steady(pool, ReadOnly::Yes).await.expect("begun");
    let hosts = vec!["a.test", "b.test", "nobody.test"];
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(format!(
        "explain (analyze, format json) {OF_HOSTS}"
    )))
    .bind(&hosts)
    .bind(vec![10_i64, 1_000, 10])
    .fetch_one(&mut *snapshot)
    .await
    .expect("a plan");
    let mut found = Vec::new();
    ways(&plan[0]["Plan"], &mut found);
    assert!(!found.is_empty());
    for way in found {
        let way = way.expect("no partition is read through");
        assert!(way.contains("host_lane_activity_id"), "{way}");
    }
    // Ten of the one, all of the other.
    assert_eq!(plan[0]["Plan"]["Actual Rows"], 10 + ROWS);
    drop(snapshot);

    let limits = [("b.test", 3), ("a.test", 2)];
    let pairs = super::backlog::of_hosts(pool, limits.into_iter()).await;
    let pairs = pairs.expect("pairs");
    let hosts: Vec<i64> = pairs.iter().map(|(activity, _)| activity % 2).collect();
    assert_eq!(
        hosts,
        [1, 1, 1, 0, 0],
        "host by host, as they were asked for"
    );
    assert!(pairs[..3].is_sorted() && pairs[3..].is_sorted());
}
