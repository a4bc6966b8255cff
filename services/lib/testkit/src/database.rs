//! A database per test, copied from a migrated template.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, PgPool};
use tidegate_model::Secret;
use tidegate_store::PoolOptions;

use crate::{Postgres, home};

/// Only for its checksums: which template fits this build.
static MIGRATIONS: Migrator = sqlx::migrate!("../store/migrations");

/// Connections of a test's pool. A server of 400 serves dozens of tests at once with it.
const CONNECTIONS: u32 = 8;

/// A migrated database of one test; dropped with it.
pub struct TestDatabase {
    /// Where it is.
    pub url: String,
    /// A pool as the product makes it.
    pub pool: PgPool,
    name: String,
    admin_url: String,
}

impl Postgres {
    /// A database with the current schema and no rows.
    pub async fn fresh_database(&self) -> TestDatabase {
        let name = format!("test_{}", home::unique());
        self.copy_template(&name)
            .await
            .expect("a test database is made");
        let url = with_database(&self.url, &name);
        TestDatabase {
            pool: connect(&url, CONNECTIONS).await,
            url,
            name,
            admin_url: self.url.clone(),
        }
    }

    async fn copy_template(&self, name: &str) -> Result<()> {
        // One at a time: copying needs the template to itself.
        let lock = tokio::task::spawn_blocking(|| home::lock("template")).await??;
        let mut admin = PgConnection::connect(&self.url).await?;
        let template = template_name();
        let exists: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(&template)
                .fetch_one(&mut admin)
                .await?;
        if !exists {
            drop_orphans(&mut admin).await?;
            self.make_template(&mut admin, &template).await?;
        }
        run(
            &mut admin,
            format!("create database {name} template {template}"),
        )
        .await?;
        admin.close().await?;
        drop(lock);
        Ok(())
    }

    /// Under another name until it is complete, so that a killed test leaves no half template.
    async fn make_template(&self, admin: &mut PgConnection, template: &str) -> Result<()> {
        let draft = format!("test_{}", home::unique());
        run(admin, format!("create database {draft}")).await?;
        let pool = connect(&with_database(&self.url, &draft), 2).await;
        tidegate_store::migrate(&pool)
            .await
            .context("the migrations run")?;
        pool.close().await;
        run(
            admin,
            format!("alter database {draft} rename to {template}"),
        )
        .await
    }
}

impl TestDatabase {
    /// Another pool of the same database, for example of two.
    pub async fn pool_of(&self, connections: u32) -> PgPool {
        connect(&self.url, connections).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (url, name) = (self.admin_url.clone(), self.name.clone());
        // Drop cannot wait, and the test's runtime may be ending.
        let dropper = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&url).await?;
                run(
                    &mut admin,
                    format!("drop database if exists {name} with (force)"),
                )
                .await
            })
        });
        if let Ok(Err(error)) = dropper.join() {
            // Swept with the next template.
            tracing::warn!(%error, "a test database stays");
        }
    }
}

async fn connect(url: &str, max_connections: u32) -> PgPool {
    tidegate_store::connect(&PoolOptions {
        url: Secret::new(url.to_owned()),
        max_connections,
        acquire_timeout: Duration::from_secs(20),
    })
    .await
    .expect("the test database takes connections")
}

/// Names cannot be bound; ours are made of letters, digits and underscores.
async fn run(connection: &mut PgConnection, statement: String) -> Result<()> {
    sqlx::query(AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await
        .with_context(|| statement)?;
    Ok(())
}

/// Databases of tests that were killed.
async fn drop_orphans(admin: &mut PgConnection) -> Result<()> {
    let names: Vec<String> = sqlx::query_scalar(
        "select datname from pg_database where datname ~ '^test_[0-9]+_[0-9]+$'",
    )
    .fetch_all(&mut *admin)
    .await?;
    for name in names {
        if home::owner(&name).is_some_and(|owner| !home::is_alive(owner)) {
            run(
                admin,
                format!("drop database if exists {name} with (force)"),
            )
            .await?;
        }
    }
    Ok(())
}

/// Another template for every change of the migrations, also of one edited in place.
fn template_name() -> String {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    for migration in MIGRATIONS.iter() {
        for byte in migration.checksum.iter() {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("template_{sum:016x}")
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> String {
    let (before_query, query) = match url.split_once('?') {
        Some((before, query)) => (before, format!("?{query}")),
        None => (url, String::new()),
    };
    let authority = before_query.find("://").map_or(0, |at| at + 3);
    let server = match before_query[authority..].find('/') {
        Some(slash) => &before_query[..authority + slash],
        None => before_query,
    };
    format!("{server}/{name}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_in_a_url_is_replaced() {
        let same = "postgres://u:p@h:1/x?sslmode=disable";
        assert_eq!(
            with_database(same, "y"),
            "postgres://u:p@h:1/y?sslmode=disable"
        );
        assert_eq!(with_database("postgres://h", "y"), "postgres://h/y");
    }

    #[tokio::test]
    async fn two_databases_share_a_schema_and_no_rows() {
        let server = Postgres::shared().await;
        let (one, other) = (server.fresh_database().await, server.fresh_database().await);
        sqlx::query("insert into queue_messages (queue, payload) values ('q', '{}')")
            .execute(&one.pool)
            .await
            .expect("the schema is there");
        let rows: i64 = sqlx::query_scalar("select count(*) from queue_messages")
            .fetch_one(&other.pool)
            .await
            .expect("the schema is there too");
        assert_eq!(rows, 0);
    }

    #[tokio::test]
    async fn a_database_goes_with_its_test() {
        let server = Postgres::shared().await;
        let database = server.fresh_database().await;
        let name = database.name.clone();
        drop(database);
        let mut admin = PgConnection::connect(&server.url).await.expect("connects");
        let exists: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(&name)
                .fetch_one(&mut admin)
                .await
                .expect("answers");
        assert!(!exists);
    }

    /// Dropped at any point, a beginning leaves nothing behind in which the next one's writes
    /// would be lost.
    #[tokio::test]
    async fn a_beginning_that_nobody_waits_for_takes_nothing_with_it() {
        let database = Postgres::shared().await.fresh_database().await;
        let one = connect(&database.url, 1).await;
        for step in 0..100 {
            // Some of these end between the question and its answer.
            let patience = Duration::from_micros(step * 20);
            drop(tokio::time::timeout(patience, tidegate_store::begin(&one)).await);
            sqlx::query("insert into settings (name, value) values ($1, '1')")
                .bind(format!("written after {step}"))
                .execute(&one)
                .await
                .expect("writes");
        }
        one.close().await;
        let kept: i64 =
            sqlx::query_scalar("select count(*) from settings where name like 'written%'")
                .fetch_one(&database.pool)
                .await
                .expect("counts");
        assert_eq!(kept, 100);
    }
}
