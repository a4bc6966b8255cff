//! The pure half of a home timeline: what a list of ids amounts to.

use std::collections::HashMap;

/// A boost is not shown beside its original or another boost of it within so many posts.
/// Mastodon's number.
pub(crate) const REBLOG_FALLOFF: usize = 80;

/// A post of a timeline, as far as order and repetition go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    /// What it boosts.
    pub(crate) reblog_of_id: Option<i64>,
}

impl Entry {
    /// The post that is read.
    fn original(&self) -> i64 {
        self.reblog_of_id.unwrap_or(self.id)
    }
}

/// Ids as appended, in no order and perhaps repeated, as a timeline: newest first, each once,
/// none at or below `floor`.
pub(crate) fn ordered(mut ids: Vec<i64>, floor: i64) -> Vec<i64> {
    ids.retain(|id| *id > floor);
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    ids
}

/// Leaves out repetitions, given entries newest first: a boost whose original or another boost
/// of it is among the [`REBLOG_FALLOFF`] newer ones, or whose original is among as many older
/// ones. Posts themselves are always kept.
pub(crate) fn without_repetitions(entries: &[Entry]) -> Vec<Entry> {
    let places: HashMap<i64, usize> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.reblog_of_id.is_none())
        .map(|(place, entry)| (entry.id, place))
        .collect();
    let mut shown_at: HashMap<i64, usize> = HashMap::new();
    let mut shown = Vec::with_capacity(entries.len());
    for (place, entry) in entries.iter().enumerate() {
        let original = entry.original();
        if entry.reblog_of_id.is_some() {
            let near = |other: &usize| place.abs_diff(*other) <= REBLOG_FALLOFF;
            let repeats = shown_at.get(&original).is_some_and(near)
                || places.get(&original).is_some_and(near);
            if repeats {
                continue;
            }
        }
        shown_at.insert(original, place);
        shown.push(*entry);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(id: i64) -> Entry {
        Entry {
            id,
            reblog_of_id: None,
        }
    }

    fn boost(id: i64, of: i64) -> Entry {
        Entry {
            id,
            reblog_of_id: Some(of),
        }
    }

    fn ids(entries: &[Entry]) -> Vec<i64> {
        without_repetitions(entries)
            .iter()
            .map(|entry| entry.id)
            .collect()
    }

    #[test]
    fn a_list_is_ordered_without_repeats_and_above_its_floor() {
        assert_eq!(ordered(vec![3, 9, 3, 5, 2], 2), [9, 5, 3]);
        assert_eq!(ordered(Vec::new(), 0), Vec::<i64>::new());
    }

    #[test]
    fn of_two_boosts_the_newer_is_shown() {
        assert_eq!(ids(&[boost(9, 1), post(8), boost(7, 1)]), [9, 8]);
    }

    #[test]
    fn a_boost_beside_its_original_is_not_shown() {
        assert_eq!(ids(&[boost(9, 5), post(8), post(5)]), [8, 5]);
    }

    #[test]
    fn far_enough_away_a_boost_is_shown_again() {
        let far = |between: usize| {
            let mut entries = vec![boost(1_000, 1)];
            entries.extend((0..between).map(|n| post(999 - n as i64)));
            entries.push(boost(2, 1));
            ids(&entries).contains(&2)
        };
        assert!(!far(REBLOG_FALLOFF - 1));
        assert!(far(REBLOG_FALLOFF));
    }
}
