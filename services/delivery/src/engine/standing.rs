//! Hosts that fail, are probed, come back, or are given up; and faults that are our own.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::Engine;
use super::admit::backlog;
use super::host_rows::HostRow;
use super::hosts::State;
use super::recorder::HostNote;
use crate::attempt::Class;
use crate::host::{OwnOutage, fail_day, next_probe};
use crate::metrics::{CLOCK_SKEW, OWN_OUTAGE, OWN_UNAUTHORIZED, PROBES};

impl Engine {
    /// A host is failing from now on: everything that waits for it waits in the database.
    pub(super) fn fail(&mut self, host: &Arc<str>, now: OffsetDateTime) {
        let wait = self.next_wait(None);
        let probe_at = self.not_before_its_hold(host, now + wait);
        let Some(entry) = self.hosts.get_mut(host) else {
            return;
        };
        entry.state = State::Failing;
        entry.failing_since = Some(now);
        entry.probe_interval = Some(wait.as_secs_f64());
        entry.next_probe_at = Some(probe_at);
        entry.last_probe_activity_id = None;
        entry.pairs_due = true;
        tracing::info!(%host, "a host is failing; its deliveries wait in the database");
        self.note_standing(host);
        for item in self.scheduler.take_waiting(host) {
            self.leave(item, backlog("host"));
        }
    }

    /// A host takes deliveries again: what waits for it is sent in order, slowly at first.
    pub(super) fn recover(&mut self, host: &Arc<str>) {
        let Some(entry) = self.hosts.get_mut(host) else {
            return;
        };
        entry.state = State::Ok;
        entry.failing_since = None;
        entry.next_probe_at = None;
        entry.probe_interval = None;
        entry.failed_days.clear();
        entry.last_probe_activity_id = None;
        entry.unavailable_since = None;
        entry.health.clear();
        entry.backlog = true;
        entry.looks_empty = false;
        entry.pairs_due = true;
        let shard = entry.shard;
        tracing::info!(%host, "a host is back");
        PROBES.with_label_values(&["back"]).inc();
        let now = tokio::time::Instant::now();
        self.scheduler
            .host_mut(host, shard, now)
            .window
            .slow_start();
        self.note_standing(host);
        self.drain(host);
    }

    /// A probe was answered like the attempts before it.
    pub(super) fn probe_failed(&mut self, host: &Arc<str>, activity_id: i64, now: OffsetDateTime) {
        PROBES.with_label_values(&["failed"]).inc();
        let before = self
            .hosts
            .get(host)
            .and_then(|entry| entry.probe_interval)
            .map(Duration::from_secs_f64);
        let wait = self.next_wait(before);
        let probe_at = self.not_before_its_hold(host, now + wait);
        let is_ours = self.outage.is_on();
        let Some(entry) = self.hosts.get_mut(host) else {
            return;
        };
        entry.last_probe_activity_id = Some(activity_id);
        entry.probe_interval = Some(wait.as_secs_f64());
        entry.next_probe_at = Some(probe_at);
        // While the fault may be ours no day counts against the host.
        if !is_ours && fail_day(&mut entry.failed_days, now.date()) {
            entry.state = State::Unavailable;
            entry.unavailable_since = Some(now);
            entry.next_probe_at = Some(now + self.context.options.greet_interval);
            tracing::warn!(%host, "a host failed on seven days; its deliveries are dead letters");
        }
        self.note_standing(host);
    }

    /// A time for a probe, or the later one until which the host asked to be left alone.
    fn not_before_its_hold(&self, host: &str, at: OffsetDateTime) -> OffsetDateTime {
        match self.scheduler.held_for(host) {
            Some(left) => at.max(self.context.clock.now() + left),
            None => at,
        }
    }

    fn next_wait(&self, before: Option<Duration>) -> Duration {
        let schedule = self.context.options.probes();
        next_probe(before, self.outage.is_on(), rand::random(), &schedule)
    }

    /// Has the host's standing written down.
    pub(super) fn note_standing(&mut self, host: &Arc<str>) {
        let Some(entry) = self.hosts.get(host) else {
            return;
        };
        self.round.hosts.push(HostNote {
            host: Arc::clone(host),
            shard: entry.shard,
            state: Some(entry.standing()),
            ..HostNote::default()
        });
    }

    /// An unavailable host was asked with a GET.
    pub(super) fn greeted(&mut self, host: &Arc<str>, answered: bool) {
        let now = self.context.clock.now();
        let Some(entry) = self.hosts.get_mut(host) else {
            return;
        };
        entry.is_fetching = false;
        if entry.state != State::Unavailable {
            return;
        }
        if answered {
            self.recover(host);
        } else {
            entry.next_probe_at = Some(now + self.context.options.greet_interval);
            self.note_standing(host);
        }
    }

    /// Somebody else changed hosts.
    pub(super) fn steered(&mut self, rows: Vec<HostRow>, read_at: OffsetDateTime) {
        self.looks.steered_until(read_at);
        let now = self.context.clock.now();
        for row in rows {
            let host = super::host_rows::name(&row);
            let Some(entry) = self.hosts.get_mut(&host) else {
                continue;
            };
            if !entry.steer(&row) {
                continue;
            }
            entry.looks_empty = false;
            let is_to_be_tried =
                entry.state == State::Failing && entry.next_probe_at.is_some_and(|at| at <= now);
            if is_to_be_tried {
                // Whoever wants that knows more than the host's last answer.
                self.scheduler.end_hold(&host);
                self.round.hosts.push(HostNote {
                    host: Arc::clone(&host),
                    shard: entry.shard,
                    held_until: Some(now),
                    ..HostNote::default()
                });
            }
            if entry.is_paused {
                for item in self.scheduler.take_waiting(&host) {
                    self.leave(item, backlog("paused"));
                }
            } else {
                self.drain(&host);
            }
        }
    }

    /// Whether a 401 is our own fault: hosts that never had anything to complain about do.
    pub(super) fn is_our_fault(
        &mut self,
        host: &Arc<str>,
        class: &Class,
        now: OffsetDateTime,
    ) -> bool {
        let was_ours = self.unauthorized.is_ours(now);
        match class {
            Class::Unauthorized { .. } => self.unauthorized.refused(host, now),
            Class::Delivered => self.unauthorized.accepted(host, now),
            _ => {}
        }
        let is_ours = self.unauthorized.is_ours(now);
        if is_ours && !was_ours {
            let skew = match class {
                Class::Unauthorized { skew: Some(skew) } => skew.whole_seconds(),
                _ => 0,
            };
            tracing::error!(
                skew_seconds = skew,
                "several hosts refuse our signatures: check this machine's clock and the keys; \
                 nothing is given up meanwhile"
            );
        }
        self.unauthorized_shown();
        // One refusal is enough when the other hosts show why.
        let by_clock = matches!(class, Class::Unauthorized { .. }) && self.clocks.ours_is_wrong();
        is_ours || by_clock
    }

    /// The alarm ends by itself when nobody refuses us any more.
    pub(super) fn unauthorized_shown(&self) {
        let is_ours = self.unauthorized.is_ours(self.context.clock.now());
        OWN_UNAUTHORIZED.set(i64::from(is_ours));
    }

    /// A host's clock is ahead of ours by so much; the operator is told when most say so.
    pub(super) fn clock_read(&mut self, host: &Arc<str>, ahead: time::Duration) {
        let was_wrong = self.clocks.ours_is_wrong();
        self.clocks.told(host, ahead);
        let skew = self.clocks.ahead().whole_seconds();
        CLOCK_SKEW.set(skew);
        if self.clocks.ours_is_wrong() && !was_wrong {
            tracing::error!(
                skew_seconds = skew,
                "this machine's clock is wrong: most hosts say so; what they refuse with 401 is \
                 not given up meanwhile"
            );
        }
    }

    /// A shard is ours from now on. `own_outage`: whoever had it before had no way out.
    pub(super) fn outage_goes_on(&mut self, own_outage: bool) {
        if own_outage {
            self.outage_changed(OwnOutage::goes_on);
        }
        if own_outage != self.outage.is_on() {
            // The new shard is to say what the others say.
            self.note_outage();
        }
    }

    fn note_outage(&mut self) {
        let leases = self.context.leases.clone();
        leases.set_own_outage(self.outage.is_on());
        self.tasks.spawn(async move { leases.note_outage().await });
    }

    /// Tells the watch over our own connection something, and the operator when it turns.
    pub(super) fn outage_changed(&mut self, change: impl FnOnce(&mut OwnOutage)) {
        let was_on = self.outage.is_on();
        change(&mut self.outage);
        let is_on = self.outage.is_on();
        if is_on != was_on {
            OWN_OUTAGE.set(i64::from(is_on));
            self.note_outage();
            if is_on {
                tracing::error!(
                    "most hosts that worked within the hour fail at network level: our own \
                     connection or name service is probably down; no host is held responsible"
                );
            } else {
                tracing::info!("our own connection works again");
            }
        }
    }
}
