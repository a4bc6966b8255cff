//! The connection pool and the migrations.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tidegate_model::Secret;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Key of the advisory lock that keeps two starting processes from migrating at once. It is
/// taken inside a transaction, so that it works behind a transaction pooler. Any fixed number.
const MIGRATION_LOCK: i64 = 0x7469_6465;

/// How to reach PostgreSQL.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// `postgres://...`; may hold a password.
    pub url: Secret<String>,
    /// Connections of this process at most. Two are enough to work.
    pub max_connections: u32,
    /// How long a caller waits for a connection before it gets `Unavailable`.
    pub acquire_timeout: Duration,
}

/// Statements kept prepared per connection: all that a role repeats, some kilobytes each on the
/// server.
const PREPARED: usize = 200;

/// Opens a pool. Statements are prepared by name, always: the server plans what is repeated once,
/// which for the delivery role's reads is most of their cost. A pooler in between must know them, or
/// give every connection a server connection of its own: the library prepares by name even without
/// a cache, and then never closes what it prepared.
pub async fn connect(options: &PoolOptions) -> Result<PgPool, sqlx::Error> {
    let connect = PgConnectOptions::from_str(options.url.expose())?
        .application_name("tidegate")
        .statement_cache_capacity(PREPARED)
        // A statement that takes longer than this is stuck behind a lock; the caller gets an
        // error instead of hanging (fault row 16).
        .options([("statement_timeout", "15s"), ("lock_timeout", "5s")]);
    PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        .connect_with(connect)
        .await
}

/// Brings the schema up to date; safe when several processes start at once.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    let mut guard = crate::begin(pool).await?;
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *guard)
        .await?;
    let mut migrator = Migrator::DEFAULT;
    migrator.migrations.clone_from(&MIGRATOR.migrations);
    // The library's own lock lasts for a session, which a transaction pooler does not keep.
    migrator.set_locking(false);
    migrator.run_direct(None, &mut *guard, false).await?;
    guard.commit().await?;
    Ok(())
}

/// How many migrations this binary knows and the database has not run.
pub async fn pending_migrations(pool: &PgPool) -> Result<usize, MigrateError> {
    let mut connection = pool.acquire().await?;
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    let applied = if exists {
        connection
            .list_applied_migrations("_sqlx_migrations")
            .await?
            .len()
    } else {
        0
    };
    Ok(MIGRATOR.migrations.len().saturating_sub(applied))
}

/// The server's version as a number, for example 150018.
pub async fn server_version(pool: &PgPool) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(pool)
        .await
}
