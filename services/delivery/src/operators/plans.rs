//! That no list reads the whole table: the plans of the statements, on rows enough to matter.

use sqlx::{AssertSqlSafe, PgPool};
use tidegate_model::DeliveryState;
use tidegate_testkit::Postgres;

use super::deliveries::{Cursor, count, pairs, views};
use super::filter::Narrowed;

/// Delivered rows; some hundreds of the others lie between them.
const ROWS: i64 = 60_000;

async fn fill(pool: &PgPool) {
    for statement in [
        "insert into activities (id, uri, kind, account_id, order_key, seq, lane, body, digest,
                                 status_id, planned_at, planned_count)
         select n, 'u' || n, 'Create', n % 100, 'k' || n, 1, 'bulk', '', '', n, now(), 20
         from generate_series(1, 3000) n",
        "insert into inboxes (url, host, shared)
         select 'http://h' || n || '.test/inbox', 'h' || n || '.test', true
         from generate_series(1, 20) n",
        "insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq, state,
                                 reason)
         select a.id, i.id, i.host, 0, 'bulk', a.order_key, 1,
                case (a.id * 20 + i.id) % 200 when 1 then 'dead' when 2 then 'parked'
                     when 3 then 'queued' when 4 then 'cancelled' else 'delivered' end, 'r'
         from activities a cross join inboxes i",
        "analyze deliveries",
        "analyze activities",
        "analyze inboxes",
    ] {
        sqlx::query(statement).execute(pool).await.expect("filled");
    }
}

async fn plan(pool: &PgPool, statement: &str, state: DeliveryState, narrowed: &Narrowed) -> String {
    let explain = AssertSqlSafe(format!("explain {statement}"));
    let lines: Vec<String> = sqlx::query_scalar(explain)
        .bind(state.as_str())
        .bind(narrowed.from_id)
        .bind(narrowed.to_id)
        .bind(Cursor::default().activity_id)
        .bind(Cursor::default().inbox_id)
        .bind(&narrowed.host)
        .bind(&narrowed.reason)
        .bind(narrowed.account_id)
        .bind(narrowed.status_id)
        .bind(100_i64)
        .fetch_all(pool)
        .await
        .expect("a plan");
    lines.join("\n")
}

#[tokio::test]
async fn no_list_reads_the_whole_table() {
    let database = Postgres::shared().await.fresh_database().await;
    let pool = &database.pool;
    fill(pool).await;
    let rows: i64 = sqlx::query_scalar("select count(*) from deliveries")
        .fetch_one(pool)
        .await
        .expect("a count");
    assert_eq!(rows, ROWS);
    let all = Narrowed {
        states: Vec::new(),
        host: None,
        account_id: None,
        reason: None,
        status_id: None,
        from_id: 0,
        to_id: i64::MAX,
    };
    let host = Narrowed {
        host: Some("h3.test".to_owned()),
        ..all.clone()
    };
    let account = Narrowed {
        account_id: Some(7),
        ..all.clone()
    };
    let reason = Narrowed {
        reason: Some("r".to_owned()),
        ..all.clone()
    };
    let status = Narrowed {
        status_id: Some(5),
        ..all.clone()
    };
    let activity = Narrowed {
        from_id: 5,
        to_id: 5,
        ..all.clone()
    };
    let mut tried = 0;
    for state in DeliveryState::ALL {
        for narrowed in [&all, &host, &account, &reason, &status, &activity] {
            let is_refused = state == DeliveryState::Delivered
                && narrowed.status_id.is_none()
                && narrowed.to_id > 5;
            if is_refused {
                continue;
            }
            for statement in [pairs(state), count(state), views(state)] {
                let plan = plan(pool, statement, state, narrowed).await;
                let scans = plan.contains("Seq Scan on deliveries");
                assert!(!scans, "{state:?} {narrowed:?}\n{plan}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 78);
}
