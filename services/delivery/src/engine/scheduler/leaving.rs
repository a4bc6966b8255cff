//! What leaves the scheduler without being sent: work that its host cannot take in time, or whose
//! shard goes; and hosts that are forgotten.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Scheduler;

impl<T> Scheduler<T> {
    /// Everything that waits for a host, in order; what is on its way stays.
    pub(crate) fn take_waiting(&mut self, host: &Arc<str>) -> Vec<T> {
        self.leave_rings(host);
        let Some(flow) = self.hosts.get_mut(host) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        for queue in &mut flow.queues {
            for waiting in queue.drain(..) {
                if let Some(key) = flow.keys.get_mut(&waiting.place.order_key) {
                    key.open -= 1;
                }
                taken.push(waiting);
            }
        }
        // What is on its way keeps its key; what waits behind it is taken too.
        for key in flow.keys.values_mut() {
            taken.extend(key.take_held());
        }
        flow.keys.retain(|_, key| key.open > 0);
        flow.held = 0;
        taken.sort_by_key(|waiting| waiting.since);
        taken.into_iter().map(|waiting| waiting.what).collect()
    }

    /// Everything that waits for the hosts of a shard.
    pub(crate) fn take_shard(&mut self, shard: u32) -> Vec<T> {
        let hosts: Vec<Arc<str>> = self
            .hosts
            .iter()
            .filter(|(_, flow)| flow.shard == shard)
            .map(|(host, _)| Arc::clone(host))
            .collect();
        let mut taken = Vec::new();
        for host in hosts {
            taken.extend(self.take_waiting(&host));
        }
        taken
    }

    /// Requests under way to hosts of a shard.
    pub(crate) fn in_flight_of(&self, shard: u32) -> u32 {
        self.hosts
            .values()
            .filter(|flow| flow.shard == shard)
            .map(|flow| flow.in_flight)
            .sum()
    }

    /// Hosts that have had something waiting since before `before`, oldest piece first.
    pub(crate) fn overdue(&self, before: Instant) -> Vec<Arc<str>> {
        self.hosts
            .iter()
            .filter(|(_, flow)| {
                let heads = flow.queues.iter().filter_map(VecDeque::front);
                heads.into_iter().any(|waiting| waiting.since < before)
            })
            .map(|(host, _)| Arc::clone(host))
            .collect()
    }

    /// How long a host still asked to be left alone.
    pub(crate) fn held_for(&self, host: &str) -> Option<Duration> {
        let until = self.hosts.get(host)?.hold_until?;
        until.checked_duration_since(Instant::now())
    }

    /// What a host asked for does not hold any longer.
    pub(crate) fn end_hold(&mut self, host: &Arc<str>) {
        if let Some(flow) = self.hosts.get_mut(host) {
            flow.hold_until = None;
        }
        self.enlist_all(host);
    }

    /// Whether anything is known of a host's flow.
    pub(crate) fn knows(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// Forgets hosts without work that were not used since `before`, and returns them. One that
    /// asked to be left alone is remembered for as long as it asked.
    pub(crate) fn forget_idle(&mut self, before: Instant) -> Vec<Arc<str>> {
        let now = Instant::now();
        let idle: Vec<Arc<str>> = self
            .hosts
            .iter()
            .filter(|(_, flow)| {
                let is_held = flow.hold_until.is_some_and(|until| until > now);
                flow.is_idle() && !is_held && flow.last_used < before
            })
            .map(|(host, _)| Arc::clone(host))
            .collect();
        for host in &idle {
            self.hosts.remove(host);
        }
        idle
    }
}
