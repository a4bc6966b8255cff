//! Rows that were read: sent, parked, or done with.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_model::is_always_sent;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::Engine;
use super::event::Event;
use super::hosts::State;
use super::item::{Batch, Item, Origin};
use super::judge::{Fate, Outcome};
use super::post::{behind, held_back, no_activity};
use super::reading::{Reading, Row};

impl Engine {
    /// Takes in what was read.
    pub(super) fn rows_arrived(
        &mut self,
        batch: &Arc<Batch>,
        reading: &Arc<Reading>,
        origin: Origin,
        of_hosts: &[Arc<str>],
    ) {
        // Of each host whose backlog was looked at.
        let mut taken: HashMap<Arc<str>, usize> = HashMap::new();
        for pair in &batch.pairs {
            let Some(row) = reading.rows.get(pair) else {
                if origin == Origin::Queue {
                    self.without_activity(*pair, batch);
                }
                continue;
            };
            let is_stale = self
                .settled
                .get(pair)
                .is_some_and(|at| reading.read_at <= *at);
            let is_new = !is_stale && !self.in_hand.contains(pair);
            let is_wanted = match batch.shard {
                // The rows of a message that was published before the number of shards changed
                // have another one since.
                Some(shard) => row.state == "queued" && row.shard == shard.cast_signed(),
                None => row.state == "parked",
            };
            if !is_new || !is_wanted {
                self.pass_over(batch);
                continue;
            }
            let item = Item::new(row, origin, batch);
            if !self.shards.has(item.place.shard) || !self.context.leases.holds(item.place.shard) {
                // Not ours: the message goes back with its batch.
                continue;
            }
            let host = Arc::clone(&item.place.host);
            if origin == Origin::Probe && taken.contains_key(&host) {
                // One is enough; the others were candidates.
                continue;
            }
            let timed = (origin == Origin::Timed).then_some(item.place.shard);
            let entry = self.hosts.meet(&host, row);
            entry.in_hand += 1;
            self.in_hand.take(*pair, &host, entry.number, timed);
            let had_pace = std::mem::replace(&mut entry.has_pace, true);
            if let Some(at) = row.last_success_at.filter(|_| !had_pace) {
                self.outage
                    .succeeded_before(&host, at, self.context.clock.now());
            }
            if !had_pace || !self.scheduler.knows(&host) {
                self.restore_pace(row, &item);
            }
            let is_on_its_way = self.admit(item, row);
            if !of_hosts.is_empty() && (is_on_its_way || origin != Origin::Probe) {
                *taken.entry(host).or_default() += 1;
            }
        }
        if origin == Origin::Backlog {
            self.drains.ended();
        }
        for host in of_hosts {
            let taken = taken.get(host).copied().unwrap_or_default();
            self.fetched(host, origin, taken, batch.pairs.is_empty());
        }
    }

    /// Backlogs could not be read: they are looked at again.
    pub(super) fn fetch_failed(&mut self, hosts: &[Arc<str>], origin: Origin) {
        if origin == Origin::Backlog {
            self.drains.ended();
        }
        for host in hosts {
            if let Some(entry) = self.hosts.get_mut(host) {
                entry.is_fetching = false;
            }
        }
    }

    /// A row that needs nothing: its message is one nearer to its end.
    fn pass_over(&mut self, batch: &Arc<Batch>) {
        if let Some(message) = batch.one_done() {
            self.tasks.spawn(message.ack());
        }
    }

    /// Where a row in hand goes. False: it was not sent, and has its outcome.
    fn admit(&mut self, mut item: Item, row: &Row) -> bool {
        let now = Instant::now();
        let host = Arc::clone(&item.place.host);
        if let Some(reason) = &row.unwanted {
            let fate = Fate::Cancelled {
                reason: reason.clone(),
            };
            self.record(item, Outcome::untried(fate), false);
            return false;
        }
        if let Some(outcome) = self.waits_for_host(&mut item, row) {
            self.leave(item, outcome);
            return false;
        }
        if let Some(left) = self.shards.unsettled(item.place.shard, now)
            && item.place.seq > 1
        {
            // Whoever had the shard before may still be sending what goes first.
            self.record(item, later("takeover", left), false);
            return false;
        }
        if row.behind_seconds.is_some() && !self.scheduler.holds_key(&host, &item.place.order_key) {
            let outcome = held_back(row).unwrap_or_else(|| behind(Duration::from_secs(1)));
            self.record(item, outcome, false);
            return false;
        }
        let place = item.place.clone();
        self.scheduler.push(place, item, now);
        true
    }

    /// Whether the row waits for its host, and how. Makes it the probe when one is due.
    fn waits_for_host(&mut self, item: &mut Item, row: &Row) -> Option<Outcome> {
        let host = &item.place.host;
        let share = self.context.options.host_share();
        let now = self.context.clock.now();
        let entry = self.hosts.get_mut(host)?;
        if entry.is_paused {
            return Some(backlog("paused"));
        }
        if item.origin == Origin::Probe {
            return None;
        }
        match entry.state {
            State::Failing => {
                let is_due = entry.next_probe_at.is_none_or(|at| at <= now);
                let is_other = entry.last_probe_activity_id != Some(item.activity_id);
                // While its backlog is looked through, the probe comes from there.
                if is_due && is_other && !entry.is_probing && !entry.is_fetching && !entry.backlog {
                    entry.is_probing = true;
                    item.origin = Origin::Probe;
                    return None;
                }
                Some(backlog("host"))
            }
            State::Unavailable if row.is_direct || is_always_sent(&row.kind) => None,
            State::Unavailable => Some(Outcome::untried(Fate::Dead {
                reason: "unavailable".to_owned(),
            })),
            State::Ok if item.origin == Origin::Backlog => None,
            State::Ok if entry.backlog => Some(backlog("behind")),
            State::Ok if entry.in_hand > share => Some(backlog("slow")),
            State::Ok => None,
        }
    }

    /// A row that is not sent now. One that waits for its host in the database already is only
    /// let go of.
    pub(super) fn leave(&mut self, item: Item, outcome: Outcome) {
        let waits_already = matches!(item.origin, Origin::Backlog | Origin::Probe)
            && matches!(outcome.fate, Fate::Backlog { .. });
        if waits_already {
            self.probe_came_to_nothing(&item);
            self.let_go(&item);
        } else {
            self.record(item, outcome, false);
        }
    }

    /// Takes a row out of hand without an outcome.
    pub(super) fn let_go(&mut self, item: &Item) {
        if let Some((host, number)) = self.in_hand.let_go(&item.pair())
            && let Some(entry) = self.hosts.get_mut(&host)
            && entry.number == number
        {
            entry.in_hand -= 1;
        }
    }

    /// A message names a pair that has no row, or an activity that is gone.
    fn without_activity(&mut self, pair: (i64, i64), batch: &Arc<Batch>) {
        let (activity_id, inbox_id) = pair;
        if self.in_hand.contains(&pair) {
            return self.pass_over(batch);
        }
        tracing::error!(activity_id, inbox_id, "a message names what does not exist");
        let item = Item::nameless(pair, batch);
        self.in_hand.take(pair, &item.place.host, 0, None);
        self.record(item, no_activity(), false);
    }

    /// A host's pace, and how long it asked to be left alone, as they were learnt before it was
    /// forgotten here.
    fn restore_pace(&mut self, row: &Row, item: &Item) {
        let now = self.context.clock.now();
        let left = |until: Option<OffsetDateTime>| {
            let until = until.filter(|until| *until > now)?;
            Some((until - now).unsigned_abs())
        };
        let (rate_left, hold_left) = (left(row.rate_until), left(row.held_until));
        if rate_left.is_none() && hold_left.is_none() {
            return;
        }
        let (place, here) = (&item.place, Instant::now());
        let flow = self.scheduler.host_mut(&place.host, place.shard, here);
        if let (None, Some(rate), Some(left)) = (&flow.rate, row.rate, rate_left) {
            flow.rate = Some(crate::host::Rate::restore(rate, left, here));
        }
        flow.hold_until = flow.hold_until.max(hold_left.map(|left| here + left));
    }

    /// Reads of the backlog of one host ended: `taken` rows of it are in hand now; it had none to
    /// give when it `is_empty`.
    fn fetched(&mut self, host: &Arc<str>, origin: Origin, taken: usize, is_empty: bool) {
        let Some(entry) = self.hosts.get_mut(host) else {
            return;
        };
        entry.is_fetching = false;
        if origin == Origin::Probe {
            entry.is_probing = taken > 0;
            if taken == 0 && entry.state == State::Failing {
                // All candidates fell away: there may be others. Or none waits, and when the
                // database agrees the next activity for the host will be the probe.
                let wait = if is_empty {
                    self.clear_backlog(host);
                    self.context.options.probes().first
                } else {
                    self.context.options.look_interval
                };
                if let Some(entry) = self.hosts.get_mut(host) {
                    entry.next_probe_at = Some(self.context.clock.now() + wait);
                }
                self.note_standing(host);
            }
            return;
        }
        entry.looks_empty = taken == 0;
        self.drain(host);
    }

    /// Asks for the mark of a host's backlog to be taken off, if nothing waits any more.
    pub(super) fn clear_backlog(&mut self, host: &Arc<str>) {
        if let Some(entry) = self.hosts.get(host) {
            let asked = (Arc::clone(host), entry.parked);
            if !self.round.clear.contains(&asked) {
                self.round.clear.push(asked);
            }
        }
    }

    /// Items that were held behind something that did not end.
    pub(super) fn park_behind(&mut self, items: Vec<Item>) {
        for item in items {
            let waits = self.hosts.get(&item.place.host);
            let for_host = waits.is_some_and(|entry| entry.backlog || entry.state != State::Ok);
            let outcome = if for_host {
                backlog("behind")
            } else {
                // What goes first may end before this is written down: looked at again soon,
                // and from then on when the database says so.
                behind(Duration::from_secs(5))
            };
            self.leave(item, outcome);
        }
    }

    /// Rows that were read, for the tasks that read.
    pub(super) fn rows_event(
        batch: Arc<Batch>,
        reading: Arc<Reading>,
        origin: Origin,
        of_hosts: Vec<Arc<str>>,
    ) -> Event {
        Event::Rows {
            batch,
            reading,
            origin,
            of_hosts,
        }
    }
}

pub(super) const fn backlog(reason: &'static str) -> Outcome {
    Outcome::untried(Fate::Backlog { reason })
}

fn later(reason: &'static str, after: Duration) -> Outcome {
    Outcome::untried(Fate::Later { reason, after })
}
