//! `tidegate doctor`: tries everything that the configuration names, and for what does not work
//! says what to do.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use sqlx::PgPool;
use tidegate_model::{Clock, Queues};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::roles::Roles;
use crate::wiring::{self, Database};

/// Prints one line for each part; an error when one of them does not work.
pub(super) async fn examine(config: &Config, roles: Roles) -> anyhow::Result<()> {
    let mut report = Report { sick: 0 };
    report.line("configuration", roles.check(config));
    match Database::visit(config).await {
        Err(error) => report.line("database", Err(error)),
        Ok(database) => {
            report.line("database", Ok(()));
            database
                .during(async |pool| {
                    report.line("database rights", rights(pool).await);
                    report.line("schema", schema(pool, roles).await);
                    report.line("delivery shards", shards(config, pool).await);
                    report.line("queue", queue(config, pool).await);
                    Ok(())
                })
                .await?;
        }
    }
    report.line("timelines", timelines(config).await);
    for (key, address, needed) in [
        ("http.listen", config.http.listen, roles.api),
        ("metrics.listen", config.metrics.listen, true),
        ("rpc.listen", config.rpc.listen, !roles.is_all()),
    ] {
        if needed {
            report.line(key, port(address).await);
        }
    }
    if report.sick > 0 {
        bail!("{} of the parts need attention", report.sick);
    }
    println!("Everything is in order.");
    Ok(())
}

struct Report {
    sick: usize,
}

impl Report {
    fn line(&mut self, part: &str, result: anyhow::Result<()>) {
        match result {
            Ok(()) => println!("ok    {part}"),
            Err(error) => {
                self.sick += 1;
                println!("SICK  {part}: {error:#}");
            }
        }
    }
}

async fn rights(pool: &PgPool) -> anyhow::Result<()> {
    let may_create: bool =
        sqlx::query_scalar("select has_schema_privilege(current_schema(), 'create')")
            .fetch_one(pool)
            .await?;
    if !may_create {
        bail!(
            "the user of database.url may not create tables, so `tidegate migrate` would fail: \
             make it the owner of the database"
        );
    }
    Ok(())
}

async fn schema(pool: &PgPool, roles: Roles) -> anyhow::Result<()> {
    let pending = tidegate_store::pending_migrations(pool).await?;
    if pending > 0 && !roles.is_all() {
        bail!("{pending} migrations are pending: run `tidegate migrate`");
    }
    Ok(())
}

async fn shards(config: &Config, pool: &PgPool) -> anyhow::Result<()> {
    let (mine, mut connection) = (config.queue.shards, pool.acquire().await?);
    // Before the schema is there nobody has decided.
    let decided = tidegate_store::shards::current(&mut connection).await;
    if let Ok(Some(decided)) = decided
        && (decided.count != mine || decided.changing)
    {
        bail!(
            "queue.shards is {mine}, but this instance has {} delivery shards: see \
             docs/operating-shards.md",
            decided.count
        );
    }
    Ok(())
}

async fn queue(config: &Config, pool: &PgPool) -> anyhow::Result<()> {
    let queue = wiring::open_queue(config, pool)?.queue;
    let queues = Queues::new(config.queue.prefix.clone(), config.queue.shards);
    queue.declare(&queues.all()).await.context(
        "does the broker of queue.url run, and may its user configure, write and read queues \
         that start with queue.prefix (rabbitmqctl set_permissions)?",
    )
}

async fn timelines(config: &Config) -> anyhow::Result<()> {
    wiring::open_timelines(config, &Clock::system())?
        .read(0)
        .await
        .map(|_| ())
        .context("does the Redis of timelines.url run, and is its password right?")
}

async fn port(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address)
        .await
        .map(|_| ())
        .with_context(|| {
            format!("cannot listen on {address}: stop what uses it, or choose another")
        })
}
