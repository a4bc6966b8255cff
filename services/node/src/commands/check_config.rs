//! `tidegate check-config`: loading has already checked nearly everything.

use crate::config::Config;
use crate::roles::Roles;

/// Checks what depends on the roles, and says what the node would be.
pub(super) fn check(config: &Config, roles: Roles) -> anyhow::Result<()> {
    roles.check(config)?;
    println!(
        "The configuration is sound: {} as {}, database {}, queue {}, timelines {}, mail {}.",
        config.instance.domain,
        config.instance.base_url,
        kind(
            config.database.is_embedded(),
            "embedded",
            "PostgreSQL by URL"
        ),
        kind(
            config.queue.is_table(),
            "in the database",
            "RabbitMQ by URL"
        ),
        kind(
            config.timelines.is_memory(),
            "in the process",
            "Redis by URL"
        ),
        kind(config.mail.is_folder(), "into a folder", "by SMTP"),
    );
    Ok(())
}

const fn kind(own: bool, here: &'static str, elsewhere: &'static str) -> &'static str {
    if own { here } else { elsewhere }
}
