//! Rows in hand, from their admission to the note of their outcome.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What identifies a row: activity and inbox.
pub(super) type Pair = (i64, i64);

/// One row in hand.
#[derive(Debug)]
struct Held {
    host: Arc<str>,
    /// Which entry of the host counts it: a host that is forgotten meanwhile, because its shard
    /// went and came back, is another one.
    entry: u64,
    /// Its shard, when it was read because its time had come.
    timed: Option<u32>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct InHand {
    rows: HashMap<Pair, Held>,
    timed: HashMap<u32, HashSet<Pair>>,
}

impl InHand {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn contains(&self, pair: &Pair) -> bool {
        self.rows.contains_key(pair)
    }

    /// Takes a row in hand. `entry` is what counts it among its host's; `timed` is its shard when
    /// it was read because its time had come.
    pub(super) fn take(&mut self, pair: Pair, host: &Arc<str>, entry: u64, timed: Option<u32>) {
        let held = Held {
            host: Arc::clone(host),
            entry,
            timed,
        };
        self.rows.insert(pair, held);
        if let Some(shard) = timed {
            self.timed.entry(shard).or_default().insert(pair);
        }
    }

    /// Lets go of a row; returns whose it is and which entry counted it.
    pub(super) fn let_go(&mut self, pair: &Pair) -> Option<(Arc<str>, u64)> {
        let held = self.rows.remove(pair)?;
        if let Some(shard) = held.timed
            && let Some(timed) = self.timed.get_mut(&shard)
        {
            timed.remove(pair);
            if timed.is_empty() {
                self.timed.remove(&shard);
            }
        }
        Some((held.host, held.entry))
    }

    /// Rows of a shard in hand because their time had come.
    pub(super) fn timed_of(&self, shard: u32) -> usize {
        self.timed.get(&shard).map_or(0, HashSet::len)
    }

    /// The same of all shards, row by row.
    pub(super) fn timed(&self) -> HashSet<Pair> {
        self.timed.values().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timed_rows_are_counted_by_shard_until_they_are_let_go() {
        let mut hand = InHand::default();
        let host: Arc<str> = "a.test".into();
        hand.take((1, 1), &host, 7, Some(3));
        hand.take((2, 1), &host, 7, Some(3));
        hand.take((3, 1), &host, 7, None);
        assert_eq!((hand.len(), hand.timed_of(3), hand.timed_of(4)), (3, 2, 0));
        assert_eq!(hand.timed(), HashSet::from([(1, 1), (2, 1)]));
        assert_eq!(hand.let_go(&(1, 1)), Some((host, 7)));
        assert_eq!(hand.let_go(&(1, 1)), None);
        assert_eq!((hand.len(), hand.timed_of(3)), (2, 1));
    }
}
