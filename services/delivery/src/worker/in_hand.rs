//! Which rows this process is working on, so that a message that comes twice is sent once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The rows in hand: (activity, inbox). Bounded by the messages in hand.
#[derive(Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<HashSet<(i64, i64)>>>);

/// One row in hand; dropped, it is free.
pub(crate) struct Held {
    all: InHand,
    row: (i64, i64),
}

impl InHand {
    /// Takes a row, unless it is in hand already.
    pub(crate) fn take(&self, activity_id: i64, inbox_id: i64) -> Option<Held> {
        let row = (activity_id, inbox_id);
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.insert(row).then(|| Held {
            all: self.clone(),
            row,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut rows = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.remove(&self.row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_in_one_hand_at_a_time() {
        let rows = InHand::default();
        let held = rows.take(1, 2);
        assert!(held.is_some());
        assert!(rows.take(1, 2).is_none());
        assert!(rows.take(1, 3).is_some());
        drop(held);
        assert!(rows.take(1, 2).is_some());
    }
}
