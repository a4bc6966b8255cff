//! How many remote fetches the activities of one origin may cause (attack C13): a bound per
//! activity alone would make a thousand activities a lever of twenty thousand requests against
//! other servers.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use std::time::Duration;

use moka::sync::Cache;

/// Fetches per origin and period. A busy instance brings a few strangers a minute, most of them in
/// threads that were never seen here; fifteen posts full of strangers still pass.
const MAX_FETCHES: u32 = 300;

/// After it an origin starts anew.
const PERIOD: Duration = Duration::from_mins(1);

/// Origins that are counted. Of more, those seen least are forgotten, so that names made up by
/// the thousand cost bounded memory.
const KEPT: u64 = 20_000;

/// What the activities of each origin have had fetched lately, in this process. Clones share it.
#[derive(Debug, Clone)]
pub struct Spending(Cache<String, Arc<AtomicU32>>);

impl Default for Spending {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(KEPT);
        Self(cache.time_to_live(PERIOD).build())
    }
}

impl Spending {
    /// Whether one more fetch for an activity of `host` is within bounds; it is counted then.
    pub(super) fn spend(&self, host: &str) -> bool {
        let spent = self.0.get_with_by_ref(host, Arc::default);
        spent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spent| {
                (spent < MAX_FETCHES).then(|| spent + 1)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_spent_all_costs_the_others_nothing() {
        let spending = Spending::default();
        let granted = (0..2 * MAX_FETCHES).filter(|_| spending.spend("loud.test"));
        assert_eq!(granted.count(), MAX_FETCHES as usize);
        assert!(spending.clone().spend("quiet.test"));
        assert!(!spending.clone().spend("loud.test"));
    }
}
