//! `tidegate migrate`.

use anyhow::Context;

use crate::config::Config;
use crate::wiring::Database;

/// Brings the schema up to date.
pub(super) async fn migrate(config: &Config) -> anyhow::Result<()> {
    let database = Database::visit(config).await?;
    database
        .during(async |pool| {
            let pending = tidegate_store::pending_migrations(pool).await?;
            tidegate_store::migrate(pool)
                .await
                .context("the migration failed and changed nothing")?;
            println!("{pending} migrations run; the schema is up to date.");
            Ok(())
        })
        .await
}
