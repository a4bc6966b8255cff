//! `tidegate admin registrations`.

use tidegate_store::settings;

use crate::config::{Config, RegistrationMode};
use crate::wiring::Database;

/// Switches who may sign up.
pub(super) async fn set(config: &Config, mode: RegistrationMode) -> anyhow::Result<()> {
    let database = Database::visit(config).await?;
    database
        .during(async |pool| {
            let mut connection = pool.acquire().await?;
            settings::set(&mut connection, settings::REGISTRATION_MODE, &mode.as_str()).await?;
            println!("Registrations are now: {mode}. Running nodes notice within five seconds.");
            Ok(())
        })
        .await
}
