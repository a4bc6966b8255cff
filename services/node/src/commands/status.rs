//! `tidegate admin status`: the state of the instance in one screen, read from the database.

use sqlx::PgPool;

use crate::config::Config;
use crate::wiring::Database;

/// Each line's name and the query that counts it.
const COUNTS: [(&str, &str); 10] = [
    ("local accounts", "select count(*) from users"),
    (
        "  not confirmed",
        "select count(*) from users where confirmed_at is null",
    ),
    (
        "  wait for approval",
        "select count(*) from users where not approved",
    ),
    (
        "remote accounts",
        "select count(*) from accounts where domain is not null",
    ),
    (
        "local posts",
        "select count(*) from statuses where local and deleted_at is null",
    ),
    (
        "remote posts",
        "select count(*) from statuses where not local and deleted_at is null",
    ),
    ("outbox", "select count(*) from outbox"),
    (
        "messages in the table queue",
        "select count(*) from queue_messages",
    ),
    (
        "messages waiting for a retry",
        "select count(*) from deferred_messages",
    ),
    ("dead messages", "select count(*) from dead_messages"),
];

/// Prints the counts, the age of the outbox and the deliveries by state.
pub(super) async fn print(config: &Config) -> anyhow::Result<()> {
    let database = Database::visit(config).await?;
    database.during(async |pool| print_from(pool).await).await
}

async fn print_from(pool: &PgPool) -> anyhow::Result<()> {
    for (name, query) in COUNTS {
        let count: i64 = sqlx::query_scalar(query).fetch_one(pool).await?;
        println!("{name:<28} {count:>10}");
    }
    let age: f64 = sqlx::query_scalar(
        "select coalesce(extract(epoch from now() - min(created_at)), 0)::float8 from outbox",
    )
    .fetch_one(pool)
    .await?;
    println!("{:<28} {age:>9.1}s", "oldest row of the outbox");
    let states: Vec<(String, i64)> =
        sqlx::query_as("select state, count(*) from deliveries group by state order by state")
            .fetch_all(pool)
            .await?;
    println!("deliveries");
    for (state, count) in states {
        println!("  {state:<26} {count:>10}");
    }
    Ok(())
}
