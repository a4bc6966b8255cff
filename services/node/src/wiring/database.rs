//! Opens the database: the private one or the one given by URL.

use anyhow::{Context, bail};
use sqlx::PgPool;
use tidegate_store::PoolOptions;

use crate::config::Config;
use crate::embedded_postgres::{EmbeddedPostgres, OLDEST};

/// A pool, and the private server behind it if there is one.
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    embedded: Option<EmbeddedPostgres>,
}

impl Database {
    /// For a node.
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Self> {
        let embedded = if config.database.is_embedded() {
            Some(EmbeddedPostgres::start(&config.data_dir).await?)
        } else {
            None
        };
        Self::connect(config, embedded).await
    }

    /// For a command, which may run beside a node.
    pub(crate) async fn visit(config: &Config) -> anyhow::Result<Self> {
        let embedded = if config.database.is_embedded() {
            Some(EmbeddedPostgres::visit(&config.data_dir).await?)
        } else {
            None
        };
        Self::connect(config, embedded).await
    }

    /// Runs `command` and closes everything, whatever came of it.
    pub(crate) async fn during<T>(
        self,
        command: impl AsyncFnOnce(&PgPool) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let result = command(&self.pool).await;
        self.close().await?;
        result
    }

    /// Returns, with a sentence, when the private server ended; never when there is none.
    pub(crate) async fn ended(&mut self) -> String {
        match &mut self.embedded {
            Some(embedded) => embedded.ended().await,
            None => std::future::pending().await,
        }
    }

    /// For an end without delay: tells the private server to stop, and does not wait.
    pub(crate) fn stop_at_once(&self) {
        if let Some(embedded) = &self.embedded {
            embedded.stop_at_once();
        }
    }

    /// Closes the connections, then stops the private server.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.pool.close().await;
        match self.embedded {
            Some(embedded) => embedded.stop().await,
            None => Ok(()),
        }
    }

    async fn connect(config: &Config, embedded: Option<EmbeddedPostgres>) -> anyhow::Result<Self> {
        match open(config, embedded.as_ref()).await {
            Ok(pool) => Ok(Self { pool, embedded }),
            Err(error) => {
                if let Some(embedded) = embedded {
                    embedded.stop().await?;
                }
                Err(error)
            }
        }
    }
}

async fn open(config: &Config, embedded: Option<&EmbeddedPostgres>) -> anyhow::Result<PgPool> {
    let url = embedded.map_or_else(|| config.database.url.clone(), EmbeddedPostgres::url);
    let pool = tidegate_store::connect(&PoolOptions {
        url,
        max_connections: config.database.max_connections,
        acquire_timeout: config.database.acquire_timeout.0,
    })
    .await
    .context(
        "the database cannot be reached; are database.url, its user and its password right, and \
         does the server run?",
    )?;
    let version = tidegate_store::server_version(&pool).await?;
    if version / 10_000 < i32::try_from(OLDEST)? {
        bail!(
            "the database is PostgreSQL {}, but at least {OLDEST} is needed; upgrade the server",
            version / 10_000
        );
    }
    Ok(pool)
}
