//! The shards of this process: ours while we hold the lease, then handed over.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_model::Lane;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::event::Event;
use super::{Context, Engine, taking};
use crate::lease::LeaseEvent;

/// How long a shard may take to be handed over: what is under way then may still arrive, and the
/// next owner is told so.
const HAND_OVER: Duration = Duration::from_secs(5);

/// One shard that is ours.
struct Shard {
    /// Ends taking messages.
    quiet: CancellationToken,
    /// Ends the channel as well; messages in hand are the queue's again.
    closed: CancellationToken,
    /// The tasks that take its messages, and close their channels when they end.
    lanes: TaskTracker,
    unsettled_until: Option<Instant>,
    /// Being handed over; given up waiting then.
    leaving: Option<Instant>,
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.quiet.cancel();
        self.closed.cancel();
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Shards(HashMap<u32, Shard>);

impl Shards {
    /// Whether rows of the shard may be taken in.
    pub(super) fn has(&self, shard: u32) -> bool {
        self.0
            .get(&shard)
            .is_some_and(|shard| shard.leaving.is_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For how long what has a predecessor is not sent.
    pub(super) fn unsettled(&self, shard: u32, now: Instant) -> Option<Duration> {
        let until = self.0.get(&shard)?.unsettled_until?;
        until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// Those that are looked after, as the database spells them.
    pub(super) fn numbers(&self) -> Vec<i32> {
        let mut numbers: Vec<i32> = self
            .0
            .iter()
            .filter(|(_, shard)| shard.leaving.is_none())
            .filter_map(|(shard, _)| i32::try_from(*shard).ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Keeps the leases, and tells the engine.
pub(super) async fn lease(context: Context) -> anyhow::Result<()> {
    let told = |event: LeaseEvent| context.tell(Event::Lease(event));
    context.leases.run(told, &context.stop).await;
    Ok(())
}

impl Engine {
    pub(super) fn lease_changed(&mut self, event: LeaseEvent) {
        match event {
            LeaseEvent::Gained {
                shard,
                unsettled,
                own_outage,
            } => {
                self.outage_goes_on(own_outage);
                let (quiet, closed) = (CancellationToken::new(), CancellationToken::new());
                let lanes = TaskTracker::new();
                for lane in Lane::ALL {
                    let taking = taking::lane(
                        self.context.clone(),
                        shard,
                        lane,
                        quiet.clone(),
                        closed.clone(),
                    );
                    self.tasks.spawn(lanes.track_future(taking));
                }
                lanes.close();
                let ours = Shard {
                    quiet,
                    closed,
                    lanes,
                    unsettled_until: unsettled.map(|left| Instant::now() + left),
                    leaving: None,
                };
                self.shards.0.insert(shard, ours);
                self.looks.shard_gained();
            }
            LeaseEvent::GiveUp { shard } => {
                let Some(ours) = self.shards.0.get_mut(&shard) else {
                    let leases = self.context.leases.clone();
                    self.tasks
                        .spawn(async move { leases.release(shard, true).await });
                    return;
                };
                ours.quiet.cancel();
                ours.leaving = Some(Instant::now() + HAND_OVER);
                self.drop_waiting(shard);
                self.shards_step();
            }
            LeaseEvent::Lost { shard } => {
                if self.shards.0.remove(&shard).is_some() {
                    tracing::warn!(shard, "the lease of a shard ran out; another may have it");
                    self.drop_waiting(shard);
                    self.hosts.forget_shard(shard);
                }
            }
        }
    }

    /// What waits in memory for a shard that is no longer ours goes back to its queue.
    fn drop_waiting(&mut self, shard: u32) {
        for item in self.scheduler.take_shard(shard) {
            self.let_go(&item);
        }
    }

    /// Shards that are being handed over and have nothing under way any more are free.
    pub(super) fn shards_step(&mut self) {
        let now = Instant::now();
        let mut free = Vec::new();
        for (shard, ours) in &self.shards.0 {
            let Some(deadline) = ours.leaving else {
                continue;
            };
            let is_settled =
                self.scheduler.in_flight_of(*shard) == 0 && !self.has_record_of(*shard);
            if is_settled || now >= deadline {
                free.push((*shard, is_settled));
            }
        }
        for (shard, is_settled) in free {
            let lanes = self.shards.0.remove(&shard).map(|ours| ours.lanes.clone());
            self.hosts.forget_shard(shard);
            let leases = self.context.leases.clone();
            self.tasks.spawn(async move {
                // The channels first: the next owner finds what was not worked on in the queue.
                if let Some(lanes) = lanes {
                    let _still_open = tokio::time::timeout(HAND_OVER, lanes.wait()).await;
                }
                leases.release(shard, is_settled).await;
            });
        }
    }

    fn has_record_of(&self, shard: u32) -> bool {
        let pending = self.pending.iter();
        self.is_writing
            || pending
                .map(|record| &record.item.place)
                .any(|place| place.shard == shard)
    }
}
