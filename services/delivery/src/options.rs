//! What the delivery role can be told.

use std::time::Duration;

use tidegate_model::RETRY_LADDER;

use crate::EgressOptions;

/// Options of the delivery role. The defaults are those of production.
#[derive(Debug, Clone)]
pub struct DeliveryOptions {
    /// The HTTP client.
    pub egress: EgressOptions,
    /// POSTs to one host at once: enough to hide the round trip, few enough for a small server.
    pub window: usize,
    /// Rows that wait in memory for one host's window; the rest waits in PostgreSQL, so that no
    /// host holds more than this of what a process has in hand.
    pub window_waiting: usize,
    /// How long a row waits for its host's window before it goes back to PostgreSQL.
    pub window_wait: Duration,
    /// How long a row waits there. Spread over up to three times this.
    pub slow_delay: Duration,
    /// Messages in hand per lane, each with up to 100 rows: lanes never wait for each other.
    pub messages_per_lane: u16,
    /// POSTs in flight per lane. A signature takes 0.3 ms of a core, so two cores are busy with
    /// far fewer; the rest covers distance. Hosts that are slow have half as many of their own.
    pub posts_per_lane: usize,
    /// Waits after an activity's own first, second, ... failure; spread by a fifth.
    pub retry_ladder: Vec<Duration>,
    /// How often parked rows are looked at.
    pub replay_interval: Duration,
    /// Rows that one look takes.
    pub replay_batch: i64,
    /// A row that was published this long ago, before what its queue gives out now, and is still
    /// queued was lost on the way: it is published again, each time after twice the time.
    pub republish_after: Duration,
    /// The same for a row that was never published, because its planner died in between.
    pub republish_unpublished_after: Duration,
    /// An activity that is unplanned for this long, or a local status whose fan-out left no
    /// trace, lost its message: it is published again, each time after twice the time.
    pub republish_event_after: Duration,
    /// How often the reconciler looks; for lost events a quarter as often.
    pub reconcile_interval: Duration,
    /// How long the row of a finished delivery is kept beyond the end of the retry ladder.
    pub keep: Duration,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            egress: EgressOptions::default(),
            window: 4,
            window_waiting: 16,
            window_wait: Duration::from_secs(3),
            slow_delay: Duration::from_secs(5),
            messages_per_lane: 64,
            posts_per_lane: 128,
            retry_ladder: RETRY_LADDER.to_vec(),
            replay_interval: Duration::from_secs(1),
            replay_batch: 2_000,
            republish_after: Duration::from_mins(10),
            republish_unpublished_after: Duration::from_mins(1),
            republish_event_after: Duration::from_mins(10),
            reconcile_interval: Duration::from_secs(15),
            keep: Duration::from_hours(7 * 24),
        }
    }
}
