//! How often one host is asked by us, whoever wants it (attack C13).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use super::EgressError;

/// The window of the budget.
const WINDOW: Duration = Duration::from_mins(1);

/// Hosts that are counted at once; of more, those least used are forgotten first, so that a
/// flood of names costs memory for this many only (CVE-2026-69132).
const COUNTED_HOSTS: u64 = 10_000;

/// Counts fetches per host and minute.
#[derive(Clone)]
pub(super) struct Budget {
    limit: u32,
    spent: Cache<String, Arc<AtomicU32>>,
}

impl Budget {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            spent: Cache::builder()
                .max_capacity(COUNTED_HOSTS)
                .time_to_live(WINDOW)
                .build(),
        }
    }

    /// Takes one fetch from the budget of `host`.
    pub(super) fn spend(&self, host: &str) -> Result<(), EgressError> {
        let spent = self.spent.get_with_by_ref(host, Arc::default);
        if spent.fetch_add(1, Ordering::Relaxed) < self.limit {
            Ok(())
        } else {
            Err(EgressError::Budget)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_asked_no_oftener_than_its_budget() {
        let budget = Budget::new(2);
        assert_eq!(budget.spend("a.test"), Ok(()));
        assert_eq!(budget.spend("a.test"), Ok(()));
        assert_eq!(budget.spend("a.test"), Err(EgressError::Budget));
        assert_eq!(budget.spend("b.test"), Ok(()));
    }
}
