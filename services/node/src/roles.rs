//! Which jobs a process has, and what follows from it. The only place that asks "all or not?".

use anyhow::bail;

use crate::cli::Role;
use crate::config::Config;

/// The jobs of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) api: bool,
    pub(crate) fanout: bool,
    pub(crate) delivery: bool,
}

impl Roles {
    /// What the command line lists.
    pub(crate) fn of(list: &[Role]) -> Self {
        let has = |role| list.contains(&Role::All) || list.contains(&role);
        Self {
            api: has(Role::Api),
            fanout: has(Role::Fanout),
            delivery: has(Role::Delivery),
        }
    }

    /// Whether nothing needs another process.
    pub(crate) const fn is_all(self) -> bool {
        self.api && self.fanout && self.delivery
    }

    /// Refuses parts that live inside one process when the jobs are in several.
    pub(crate) fn check(self, config: &Config) -> anyhow::Result<()> {
        if self.is_all() {
            return Ok(());
        }
        if config.database.is_embedded() {
            bail!(
                "database.url is \"embedded\", but this process has only some of the roles: the \
                 private PostgreSQL serves one process; give the URL of one that all can reach"
            );
        }
        if config.timelines.is_memory() {
            bail!(
                "timelines.url is \"memory\", but this process has only some of the roles: the \
                 others would not see its timelines; give the URL of a Redis"
            );
        }
        if config.rpc.token.expose().is_empty() {
            bail!("rpc.token is not set: the roles recognise each other by it");
        }
        if (self.api || self.fanout) && !self.delivery && config.rpc.delivery.is_empty() {
            bail!("rpc.delivery is not set: say where the delivery role is, http://host:port");
        }
        if self.api && !self.fanout && config.rpc.fanout.is_empty() {
            bail!("rpc.fanout is not set: say where the fanout role is, http://host:port");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_every_role() {
        assert!(Roles::of(&[Role::All]).is_all());
        assert!(Roles::of(&[Role::Api, Role::Fanout, Role::Delivery]).is_all());
        let some = Roles::of(&[Role::Api]);
        assert!(some.api && !some.fanout && !some.delivery);
    }
}
