//! What requests came to: the row's fate, and what it teaches about the host.

use std::sync::Arc;
use std::time::Duration;

use tidegate_model::time_of;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::Engine;
use super::admit::backlog;
use super::event::Sent;
use super::hosts::State;
use super::item::{Item, Origin};
use super::judge::{Circumstances, Fate, Outcome, judge, weigh};
use super::reading::Row;
use super::recorder::{HostNote, Written};
use crate::attempt::{Attempted, Class, classify};
use crate::host::Weight;
use crate::metrics::{LAG, OUTCOMES, REPLAYED};

/// A host that takes longer than this is slow: a healthy one answers in a fraction of it.
pub(super) const SLOW_AFTER: Duration = Duration::from_secs(2);

/// How often the same thing is written down about one host at most: a busy host's row would
/// otherwise be written with every delivery.
const NOTE_INTERVAL: Duration = Duration::from_mins(1);

impl Engine {
    /// A request ended.
    pub(super) fn finished(&mut self, id: u64, item: Item, sent: Sent) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        let now = Instant::now();
        let stood_still = self.pulse.stood_still_since(flight.started);
        let is_slow = match &sent {
            Sent::Attempted { attempted, .. } if !stood_still => {
                attempted.took > SLOW_AFTER || attempted.is_without_answer()
            }
            _ => false,
        };
        self.scheduler.finished(&flight.ticket, is_slow, now);
        match sent {
            Sent::Attempted { attempted, reading } => {
                // It was found there before it was sent.
                if let Some(row) = reading.rows.get(&item.pair()) {
                    self.answered(item, &attempted, row, stood_still);
                }
            }
            Sent::HeldBack(outcome) => self.record(item, outcome, true),
            Sent::NotOpen => {
                self.probe_came_to_nothing(&item);
                self.release_key(&item, true);
                self.let_go(&item);
                if let Some(message) = item.batch.one_done() {
                    self.tasks.spawn(message.ack());
                }
            }
            Sent::Left(pause) => {
                self.probe_came_to_nothing(&item);
                if let Some(pause) = pause {
                    let place = &item.place;
                    let flow = self.scheduler.host_mut(&place.host, place.shard, now);
                    flow.hold_until = flow.hold_until.max(Some(now + pause));
                }
                // The row is as it was: its message goes back, or it is read again.
                self.release_key(&item, false);
                self.let_go(&item);
            }
            Sent::Panicked => {
                let fate = Fate::Dead {
                    reason: "poison".to_owned(),
                };
                self.record(item, Outcome::untried(fate), true);
            }
        }
        self.shards_step();
    }

    /// A probe that is not sent after all makes place for the next one.
    pub(super) fn probe_came_to_nothing(&mut self, item: &Item) {
        if item.origin == Origin::Probe
            && let Some(entry) = self.hosts.get_mut(&item.place.host)
        {
            entry.is_probing = false;
        }
    }

    /// What waits behind an item in its order key goes on, or is parked.
    fn release_key(&mut self, item: &Item, ended: bool) {
        let behind = self.scheduler.settled(&item.place, ended);
        self.park_behind(behind);
    }

    /// There was an answer, or none where one was due. `stood_still`: this process did not look
    /// for one all the time.
    fn answered(&mut self, item: Item, attempted: &Attempted, row: &Row, stood_still: bool) {
        let now = self.context.clock.now();
        let mut class = classify(attempted, now);
        if stood_still && attempted.is_without_answer() {
            class = class.unheard();
        }
        let host = Arc::clone(&item.place.host);
        match item.origin {
            Origin::Timed => REPLAYED.with_label_values(&["timed"]).inc(),
            Origin::Backlog => REPLAYED.with_label_values(&["backlog"]).inc(),
            Origin::Queue | Origin::Probe => {}
        }
        self.learn_pace(&item, &class);
        // A process that stood still read the answer later than it was written.
        if let Some(theirs) = attempted.server_date.filter(|_| !stood_still) {
            self.clock_read(&host, theirs - now);
        }
        let ours = self.is_our_fault(&host, &class, now);
        let gone_since = self.gone_since(&host, &class, row, now);
        let options = Arc::clone(&self.context.options);
        let state = self.hosts.get(&host).map_or(State::Ok, |entry| entry.state);
        let about = Circumstances {
            own_failures: u32::try_from(row.own_failures).unwrap_or(0),
            paced_for: row.paced_since.map(|at| since(at, now)).unwrap_or_default(),
            gone_for: gone_since.map(|at| since(at, now)).unwrap_or_default(),
            host_worked: row.last_success_at.map(|at| since(at, now)),
            shared: row.shared,
            ours,
            unavailable: state == State::Unavailable,
            ladder: &options.retry_ladder,
            jitter: rand::random(),
        };
        let weight = weigh(&class, &about);
        self.weigh_in(&item, weight, &class, now);
        let state = self.hosts.get(&host).map_or(State::Ok, |entry| entry.state);
        let (fate, own_failure) = judge(&class, state == State::Failing, &about);
        if class.is_delivered() {
            let lag = now - row.activity_at.min(time_of(item.activity_id));
            LAG.with_label_values(&[item.place.lane.as_str()])
                .observe(lag.as_seconds_f64().max(0.0));
        }
        self.note(&item, attempted, &class, row, now);
        let outcome = Outcome {
            fate,
            attempted: true,
            own_failure,
            touched: attempted.touched,
            status: attempted.status(),
            error: class.error().map(str::to_owned),
        };
        self.record(item, outcome, true);
    }

    /// Window, rate and hold of the host.
    fn learn_pace(&mut self, item: &Item, class: &Class) {
        let place = &item.place;
        let now = Instant::now();
        let flow = self.scheduler.host_mut(&place.host, place.shard, now);
        let mut note = HostNote {
            host: Arc::clone(&place.host),
            shard: place.shard,
            ..HostNote::default()
        };
        if let Some(asked) = class.retry_after() {
            let wait = crate::host::clamp_retry_after(asked);
            flow.hold_until = flow.hold_until.max(Some(now + wait));
            note.held_until = Some(self.context.clock.now() + wait);
        }
        match class {
            Class::Delivered | Class::Final(_) | Class::Gone(_) => {
                flow.window.success();
                flow.taken.count(now);
                if flow
                    .rate
                    .as_ref()
                    .is_some_and(|rate| rate.is_forgotten(now))
                {
                    flow.rate = None;
                }
            }
            Class::TooMany { .. } => {
                let recent = flow.taken.per_second(now);
                let rate = crate::host::Rate::after_429(flow.rate.take(), recent, now);
                let per_second = rate.per_second();
                flow.rate = Some(rate);
                let until = self.context.clock.now() + crate::host::REMEMBERED;
                note.rate = Some((per_second, until));
            }
            Class::Busy { .. } | Class::HostDown(_) | Class::HostTrouble(_) => {
                flow.window.trouble();
            }
            Class::Unauthorized { .. } | Class::Unheard(_) | Class::OwnKey | Class::OwnFault(_) => {
            }
        }
        if note.rate.is_some() || note.held_until.is_some() {
            self.round.hosts.push(note);
        }
    }

    /// What the attempt says about the host as a whole.
    fn weigh_in(&mut self, item: &Item, weight: Weight, class: &Class, now: OffsetDateTime) {
        let host = Arc::clone(&item.place.host);
        if weight == Weight::Success {
            self.outage_changed(|outage| outage.success(&host, now));
        } else if class.may_be_ours() {
            self.outage_changed(|outage| outage.network_failure(&host, now));
        }
        let Some(entry) = self.hosts.get_mut(&host) else {
            return;
        };
        if item.origin == Origin::Probe {
            entry.is_probing = false;
        }
        match entry.state {
            State::Ok => {
                if entry.health.record(item.activity_id, weight) {
                    self.fail(&host, now);
                }
            }
            // It says nothing about the host: nothing was sent, or nobody listened.
            _ if matches!(
                class,
                Class::OwnFault(_) | Class::Unheard(_) | Class::OwnKey
            ) => {}
            // Whoever refuses a pace or a signature is there.
            State::Failing | State::Unavailable
                if matches!(weight, Weight::Success | Weight::Neutral) =>
            {
                self.recover(&host);
            }
            State::Failing if item.origin == Origin::Probe => {
                self.probe_failed(&host, item.activity_id, now);
            }
            State::Failing | State::Unavailable => {}
        }
    }

    /// Since when the host's shared inbox is gone: from the first such answer to its next success.
    fn gone_since(
        &mut self,
        host: &Arc<str>,
        class: &Class,
        row: &Row,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let entry = self.hosts.get_mut(host)?;
        if row.shared {
            match class {
                Class::Delivered => entry.gone_since = None,
                Class::Gone(_) => entry.gone_since = entry.gone_since.or(Some(now)),
                _ => {}
            }
        }
        entry.gone_since
    }

    /// Notes for the host's row: what is news, or was not said for a while.
    fn note(
        &mut self,
        item: &Item,
        attempted: &Attempted,
        class: &Class,
        row: &Row,
        now: OffsetDateTime,
    ) {
        let host = &item.place.host;
        let Some(entry) = self.hosts.get_mut(host) else {
            return;
        };
        let is_due = |noted: Option<Instant>| noted.is_none_or(|at| at.elapsed() >= NOTE_INTERVAL);
        let gone_is_news = entry.noted_gone != entry.gone_since;
        let scheme = attempted.accepted.map(crate::signer::Scheme::as_str);
        let mut note = HostNote {
            host: Arc::clone(host),
            shard: item.place.shard,
            gone_since: entry.gone_since,
            ..HostNote::default()
        };
        if class.is_delivered() {
            entry.last_success_at = Some(now);
            let is_news = scheme.is_some_and(|scheme| scheme != row.signature);
            if !is_news && !gone_is_news && !is_due(entry.noted_success) {
                return;
            }
            entry.noted_success = Some(Instant::now());
            note.signature = scheme;
            note.succeeded_at = Some(now);
        } else {
            let Some(error) = class.error() else { return };
            let is_news = gone_is_news || is_due(entry.noted_failure);
            if matches!(class, Class::Unheard(_) | Class::OwnKey) || !is_news {
                return;
            }
            entry.noted_failure = Some(Instant::now());
            note.failed = Some((now, error.to_owned()));
        }
        entry.noted_gone = entry.gone_since;
        self.round.hosts.push(note);
    }

    /// A round was written down.
    pub(super) fn written(&mut self, written: Written) {
        self.is_writing = false;
        self.standings.extend(written.standings);
        let mut touched: Vec<Arc<str>> = Vec::new();
        let now = Instant::now();
        for record in written.records {
            let (item, outcome) = (record.item, record.outcome);
            self.settled.insert(item.pair(), now);
            self.let_go(&item);
            if record.scheduled {
                self.release_key(&item, written.durable && outcome.fate.is_end());
            }
            if let Some(entry) = self.hosts.get_mut(&item.place.host) {
                entry.looks_empty &= outcome.fate.is_end();
                if entry.backlog && !touched.contains(&item.place.host) {
                    touched.push(Arc::clone(&item.place.host));
                }
            }
            if !written.durable {
                continue;
            }
            OUTCOMES
                .with_label_values(&[outcome.fate.state(), item.place.lane.as_str()])
                .inc();
            if let Some(message) = item.batch.one_done() {
                self.tasks.spawn(message.ack());
            }
        }
        for (host, parked) in written.cleared {
            if let Some(entry) = self.hosts.get_mut(&host)
                && entry.parked == parked
            {
                entry.backlog = false;
                if entry.state == State::Failing {
                    // The next activity for the host will be the probe.
                    entry.next_probe_at = None;
                    self.note_standing(&host);
                }
            }
        }
        if written.released > 0 {
            self.look_at_timed();
        }
        for host in touched {
            self.drain(&host);
        }
        self.shards_step();
    }

    /// Something waits for too long in memory: the database keeps it, and messages are not held.
    pub(super) fn park_overdue(&mut self, host: &Arc<str>) {
        for item in self.scheduler.take_waiting(host) {
            self.leave(item, backlog("slow"));
        }
    }
}

fn since(then: OffsetDateTime, now: OffsetDateTime) -> Duration {
    (now - then).try_into().unwrap_or_default()
}
