//! Backlogs of hosts that take deliveries again.
//!
//! After an outage of ours hundreds of hosts come back together, each with a few rows that may
//! be sent now. They are read, and looked at again later, for many hosts with one statement: one
//! for each would cost the database more than everything else about a delivery.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_store::StoreError;
use tokio::time::Instant;

use super::event::Event;
use super::item::{Batch, Origin};
use super::looks::MAX_WAIT;
use super::reading::read;
use super::recorder::BATCH;
use super::{Context, Engine, READS, backlog};

/// Reads at once, so that hosts gather meanwhile, and probes find their turn.
const AT_ONCE: usize = READS / 2;

/// One host whose backlog is to be read.
struct Wanted {
    host: Arc<str>,
    /// Whether pairs that undo each other are looked for first.
    with_pairs: bool,
    /// Rows at most.
    limit: usize,
}

/// Hosts whose backlog is to be read, first come, first served.
#[derive(Default)]
pub(super) struct Drains {
    wanted: VecDeque<Wanted>,
    under_way: usize,
}

impl Drains {
    /// A read came to its end.
    pub(super) fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Hosts for one statement.
    fn next_group(&mut self) -> Vec<Wanted> {
        let mut group = Vec::new();
        let mut rows = 0;
        while let Some(next) = self.wanted.front() {
            rows += next.limit;
            if rows > BATCH && !group.is_empty() {
                break;
            }
            group.extend(self.wanted.pop_front());
        }
        group
    }
}

impl Engine {
    /// Has more of a host's backlog read when little of it is in hand.
    pub(super) fn drain(&mut self, host: &Arc<str>) {
        let Some(entry) = self.hosts.get(host) else {
            return;
        };
        if !entry.may_drain() || entry.is_fetching || !self.shards.has(entry.shard) {
            return;
        }
        // What would only wait here for longer than it may waits where it is.
        if self
            .scheduler
            .held_for(host)
            .is_some_and(|left| left > MAX_WAIT)
        {
            return;
        }
        let shard = entry.shard;
        let now = Instant::now();
        let window = self.scheduler.host_mut(host, shard, now).window.size() as usize;
        let is_unsettled = self.shards.unsettled(shard, now).is_some();
        let Some(entry) = self.hosts.get_mut(host) else {
            return;
        };
        if entry.in_hand > window * 2 {
            return;
        }
        if entry.looks_empty {
            if entry.in_hand == 0 {
                entry.looks_empty = false;
                self.clear_backlog(host);
            }
            return;
        }
        entry.is_fetching = true;
        let with_pairs = entry.pairs_due && entry.in_hand == 0 && !is_unsettled;
        if with_pairs {
            entry.pairs_due = false;
        }
        self.drains.wanted.push_back(Wanted {
            host: Arc::clone(host),
            with_pairs,
            // What is in hand is read again: it stays parked until it has an outcome.
            limit: (entry.in_hand + window * 8).max(16),
        });
    }

    /// Starts what may be read now.
    pub(super) fn read_backlogs(&mut self) {
        while self.drains.under_way < AT_ONCE {
            let group = self.drains.next_group();
            if group.is_empty() {
                return;
            }
            self.drains.under_way += 1;
            self.tasks.spawn(read_group(self.context.clone(), group));
        }
    }
}

async fn read_group(context: Context, group: Vec<Wanted>) {
    let Ok(_permit) = context.reads.acquire().await else {
        return;
    };
    let found = async {
        for wanted in group.iter().filter(|wanted| wanted.with_pairs) {
            backlog::cancel_pairs(&context.pool, &wanted.host, context.clock.now()).await?;
        }
        let limits = group.iter().map(|wanted| (&*wanted.host, wanted.limit));
        backlog::of_hosts(&context.pool, limits).await
    };
    let pairs = found.await;
    let hosts = group.into_iter().map(|wanted| wanted.host).collect();
    tell(&context, hosts, pairs, Origin::Backlog).await;
}

/// Reads rows that wait for these hosts, and tells the engine.
pub(super) async fn tell(
    context: &Context,
    hosts: Vec<Arc<str>>,
    pairs: Result<backlog::Pairs, StoreError>,
    origin: Origin,
) {
    let found = async {
        let pairs = pairs?;
        let reading = read(&context.pool, &pairs, context.clock.now()).await?;
        Ok::<_, StoreError>((pairs, Arc::new(reading)))
    };
    let event = match found.await {
        Ok((pairs, reading)) => {
            let batch = Batch::new(pairs, Arc::clone(&reading));
            Engine::rows_event(Arc::new(batch), reading, origin, hosts)
        }
        Err(error) => {
            let some = hosts.first();
            tracing::warn!(%error, hosts = hosts.len(), host = ?some, "backlogs cannot be read yet");
            Event::FetchFailed { hosts, origin }
        }
    };
    context.tell(event).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(host: &str, limit: usize) -> Wanted {
        Wanted {
            host: host.into(),
            with_pairs: false,
            limit,
        }
    }

    #[test]
    fn hosts_are_read_together_as_far_as_one_statement_goes() {
        let mut drains = Drains::default();
        let limits = [BATCH - 16, 16, 1, 2 * BATCH, 16];
        for (host, limit) in ["a", "b", "c", "d", "e"].into_iter().zip(limits) {
            drains.wanted.push_back(wanted(host, limit));
        }
        let mut groups = Vec::new();
        loop {
            let group = drains.next_group();
            if group.is_empty() {
                break;
            }
            let hosts: Vec<String> = group.iter().map(|one| one.host.to_string()).collect();
            groups.push(hosts.concat());
        }
        assert_eq!(groups, ["ab", "c", "d", "e"]);
    }
}
