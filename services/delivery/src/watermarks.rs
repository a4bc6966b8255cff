//! How far each queue of deliveries was taken: tells a queue that is long from one that lost
//! messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_model::Lane;
use time::OffsetDateTime;

/// When the message last taken from each (lane, shard) was published; as many entries as there
/// are queues. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Watermarks(Arc<Mutex<HashMap<(Lane, u32), OffsetDateTime>>>);

impl Watermarks {
    /// A message of this queue was taken that was published then.
    pub(crate) fn taken(&self, lane: Lane, shard: u32, published_at: OffsetDateTime) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.insert((lane, shard), published_at);
    }

    /// What was published before this and has not been taken will not come any more; `None`
    /// while this process took nothing of the queue.
    pub(crate) fn of(&self, lane: Lane, shard: u32) -> Option<OffsetDateTime> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(&(lane, shard)).copied()
    }
}
