//! What the engine knows of a host beside its flow: whether it is failing, and what waits for it.

use std::collections::HashMap;
use std::sync::Arc;

use time::{Date, OffsetDateTime};
use tokio::time::Instant;

use super::host_rows::HostRow;
use super::reading::Row;
use super::recorder::HostStanding;
use crate::host::Health;

/// A host's standing (design section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ok,
    /// Backed off as a whole, tried with probes.
    Failing,
    /// Failed for seven days; asked daily with a GET.
    Unavailable,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Unavailable => "unavailable",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "failing" => Self::Failing,
            "unavailable" => Self::Unavailable,
            _ => Self::Ok,
        }
    }
}

/// One host.
#[derive(Debug)]
pub(super) struct HostEntry {
    /// Tells it apart from what was known of the host before it was forgotten.
    pub(super) number: u64,
    pub(super) shard: u32,
    pub(super) state: State,
    pub(super) is_paused: bool,
    pub(super) failing_since: Option<OffsetDateTime>,
    pub(super) next_probe_at: Option<OffsetDateTime>,
    /// Seconds.
    pub(super) probe_interval: Option<f64>,
    pub(super) failed_days: Vec<Date>,
    pub(super) last_probe_activity_id: Option<i64>,
    pub(super) unavailable_since: Option<OffsetDateTime>,
    pub(super) last_success_at: Option<OffsetDateTime>,
    /// When somebody else last changed what is known here of it.
    pub(super) steered_at: Option<OffsetDateTime>,
    /// When it was last met.
    met_at: Instant,
    pub(super) health: Health,
    /// Whether rows wait for it as a whole.
    pub(super) backlog: bool,
    /// How often a row was parked for it: a backlog that grew meanwhile is not empty.
    pub(super) parked: u64,
    /// Whether its backlog is being read, or a probe looked for, or asked with a GET.
    pub(super) is_fetching: bool,
    /// Whether a probe is on its way.
    pub(super) is_probing: bool,
    /// Whether pairs that undo each other are looked for with the next read.
    pub(super) pairs_due: bool,
    /// Rows in hand, from admission to the note of their outcome.
    pub(super) in_hand: usize,
    /// Whether the last read of the backlog found nothing that was not in hand.
    pub(super) looks_empty: bool,
    /// Whether the pace that its row remembers was taken over.
    pub(super) has_pace: bool,
    pub(super) noted_success: Option<Instant>,
    pub(super) noted_failure: Option<Instant>,
    /// Since when its shared inbox is gone, and what its row says of it.
    pub(super) gone_since: Option<OffsetDateTime>,
    pub(super) noted_gone: Option<OffsetDateTime>,
}

impl HostEntry {
    /// A host as its row says.
    fn of_row(row: &HostRow) -> Self {
        let state = State::parse(&row.state);
        Self {
            number: 0,
            shard: u32::try_from(row.shard).unwrap_or(0),
            state,
            is_paused: row.paused,
            failing_since: row.failing_since,
            next_probe_at: row.next_probe_at,
            probe_interval: row.probe_interval,
            failed_days: row.failed_days.clone(),
            last_probe_activity_id: row.last_probe_activity_id,
            unavailable_since: row.unavailable_since,
            last_success_at: row.last_success_at,
            steered_at: row.steered_at,
            met_at: Instant::now(),
            health: Health::default(),
            backlog: row.backlog,
            parked: 0,
            is_fetching: false,
            is_probing: false,
            pairs_due: row.backlog,
            in_hand: 0,
            looks_empty: false,
            has_pace: false,
            noted_success: None,
            noted_failure: None,
            gone_since: row.gone_since,
            noted_gone: row.gone_since,
        }
    }

    /// A host as it came with one of its rows.
    fn of_delivery(row: &Row) -> Self {
        Self::of_row(&HostRow {
            host: row.host.clone(),
            shard: row.shard,
            state: row.host_state.clone(),
            backlog: row.host_backlog,
            paused: row.host_paused,
            failing_since: row.failing_since,
            next_probe_at: row.next_probe_at,
            probe_interval: row.probe_interval,
            failed_days: row.failed_days.clone(),
            last_probe_activity_id: row.last_probe_activity_id,
            unavailable_since: None,
            last_success_at: row.last_success_at,
            steered_at: None,
            gone_since: row.gone_since,
        })
    }

    /// What an operator or the inbox changed, once: the row is read several times, and what this
    /// process learnt since is newer. Its standing is ours alone to change, and the row may have
    /// been read before the latest was written there: of that only the wish to try it earlier is
    /// taken over. Whether it is news.
    pub(super) fn steer(&mut self, row: &HostRow) -> bool {
        if row.steered_at <= self.steered_at {
            return false;
        }
        self.steered_at = row.steered_at;
        self.is_paused = row.paused;
        self.backlog |= row.backlog;
        if self.state != State::Ok && self.state == State::parse(&row.state) {
            self.next_probe_at = match (self.next_probe_at, row.next_probe_at) {
                (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
                (ours, theirs) => ours.or(theirs),
            };
        }
        true
    }

    /// The columns to write when the state changed.
    pub(super) fn standing(&self) -> HostStanding {
        HostStanding {
            state: self.state.as_str(),
            failing_since: self.failing_since,
            next_probe_at: self.next_probe_at,
            probe_interval: self.probe_interval,
            failed_days: self.failed_days.clone(),
            last_probe_activity_id: self.last_probe_activity_id,
            unavailable_since: self.unavailable_since,
        }
    }

    /// Whether its backlog may be sent.
    pub(super) const fn may_drain(&self) -> bool {
        self.backlog && !self.is_paused && matches!(self.state, State::Ok)
    }

    const fn is_busy(&self) -> bool {
        self.in_hand > 0 || self.is_fetching || self.is_probing
    }
}

/// All hosts that are in somebody's hands or were lately.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    known: HashMap<Arc<str>, HostEntry>,
    /// Entries that were ever made.
    made: u64,
}

impl Hosts {
    pub(super) fn get(&self, host: &str) -> Option<&HostEntry> {
        self.known.get(host)
    }

    pub(super) fn get_mut(&mut self, host: &str) -> Option<&mut HostEntry> {
        self.known.get_mut(host)
    }

    /// The host of a row; what is in memory is newer than the row.
    pub(super) fn meet(&mut self, host: &Arc<str>, row: &Row) -> &mut HostEntry {
        self.meet_as(host, || HostEntry::of_delivery(row))
    }

    /// The same of a row of `hosts`.
    pub(super) fn meet_row(&mut self, host: &Arc<str>, row: &HostRow) -> &mut HostEntry {
        self.meet_as(host, || HostEntry::of_row(row))
    }

    fn meet_as(&mut self, host: &Arc<str>, make: impl FnOnce() -> HostEntry) -> &mut HostEntry {
        let made = &mut self.made;
        let entry = self.known.entry(Arc::clone(host)).or_insert_with(|| {
            *made += 1;
            HostEntry {
                number: *made,
                ..make()
            }
        });
        entry.met_at = Instant::now();
        entry
    }

    /// Forgets a host, unless it is in use; the database has what must last.
    pub(super) fn forget(&mut self, host: &str) {
        if self.known.get(host).is_some_and(|entry| !entry.is_busy()) {
            self.known.remove(host);
        }
    }

    /// Forgets hosts that are not in use, were not met since `before` and have no flow.
    pub(super) fn forget_idle(&mut self, before: Instant, has_flow: impl Fn(&str) -> bool) {
        self.known
            .retain(|host, entry| entry.is_busy() || entry.met_at >= before || has_flow(host));
    }

    /// Forgets everything of a shard.
    pub(super) fn forget_shard(&mut self, shard: u32) {
        self.known.retain(|_, entry| entry.shard != shard);
    }

    /// Hosts whose backlog may be sent.
    pub(super) fn draining(&self) -> Vec<Arc<str>> {
        let draining = self.known.iter().filter(|(_, entry)| entry.may_drain());
        draining.map(|(host, _)| Arc::clone(host)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> HostRow {
        HostRow {
            host: "a.test".to_owned(),
            shard: 3,
            state: "ok".to_owned(),
            backlog: false,
            paused: false,
            failing_since: None,
            next_probe_at: None,
            probe_interval: None,
            failed_days: Vec::new(),
            last_probe_activity_id: None,
            unavailable_since: None,
            last_success_at: None,
            steered_at: None,
            gone_since: None,
        }
    }

    #[test]
    fn a_host_that_was_forgotten_is_another_when_it_is_met_again() {
        let (mut hosts, host) = (Hosts::default(), Arc::<str>::from("a.test"));
        let first = hosts.meet_row(&host, &row()).number;
        assert_eq!(hosts.meet_row(&host, &row()).number, first);
        hosts.forget_shard(3);
        assert_ne!(hosts.meet_row(&host, &row()).number, first);
    }

    #[test]
    fn a_row_that_was_read_before_a_host_came_back_does_not_make_it_fail_again() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let failing = HostRow {
            state: "failing".to_owned(),
            backlog: true,
            failing_since: Some(now),
            next_probe_at: Some(now),
            steered_at: Some(now),
            ..row()
        };
        let mut entry = HostEntry::of_row(&row());
        assert!(entry.steer(&failing), "somebody brought its probe forward");
        assert_eq!(entry.state, State::Ok);
        assert_eq!((entry.next_probe_at, entry.failing_since), (None, None));
        assert!(entry.may_drain(), "what waits for it is sent");
        assert!(!entry.steer(&failing), "the same again is no news");
    }

    #[test]
    fn a_probe_is_brought_forward_and_never_put_off() {
        let at = |minutes| OffsetDateTime::UNIX_EPOCH + time::Duration::minutes(minutes);
        for (ours, theirs, expected) in [
            (Some(60), Some(5), Some(5)),
            (Some(5), Some(60), Some(5)),
            (None, Some(5), Some(5)),
            (Some(5), None, Some(5)),
        ] {
            let failing = |next: Option<i64>, steered| HostRow {
                state: "failing".to_owned(),
                next_probe_at: next.map(at),
                steered_at: steered,
                ..row()
            };
            let mut entry = HostEntry::of_row(&failing(ours, None));
            assert!(entry.steer(&failing(theirs, Some(at(1)))));
            assert_eq!(entry.next_probe_at, expected.map(at));
        }
    }
}
