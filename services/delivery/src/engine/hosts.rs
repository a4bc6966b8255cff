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
    pub(super) noted_success: Option<Instant>,
    pub(super) noted_failure: Option<Instant>,
}

impl HostEntry {
    /// A host as its row says.
    fn of_row(row: &HostRow) -> Self {
        let state = State::parse(&row.state);
        Self {
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
            noted_success: None,
            noted_failure: None,
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
        })
    }

    /// What an operator or the inbox changed, once: the row is read several times, and what this
    /// process learnt since is newer. Whether it is news.
    pub(super) fn steer(&mut self, row: &HostRow) -> bool {
        if row.steered_at <= self.steered_at {
            return false;
        }
        self.steered_at = row.steered_at;
        self.is_paused = row.paused;
        self.backlog |= row.backlog;
        self.state = State::parse(&row.state);
        self.next_probe_at = row.next_probe_at;
        self.failed_days.clone_from(&row.failed_days);
        self.failing_since = row.failing_since;
        self.unavailable_since = row.unavailable_since;
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
pub(super) struct Hosts(HashMap<Arc<str>, HostEntry>);

impl Hosts {
    pub(super) fn get(&self, host: &str) -> Option<&HostEntry> {
        self.0.get(host)
    }

    pub(super) fn get_mut(&mut self, host: &str) -> Option<&mut HostEntry> {
        self.0.get_mut(host)
    }

    /// The host of a row; what is in memory is newer than the row.
    pub(super) fn meet(&mut self, host: &Arc<str>, row: &Row) -> &mut HostEntry {
        let entry = self
            .0
            .entry(Arc::clone(host))
            .or_insert_with(|| HostEntry::of_delivery(row));
        entry.met_at = Instant::now();
        entry
    }

    /// The same of a row of `hosts`.
    pub(super) fn meet_row(&mut self, host: &Arc<str>, row: &HostRow) -> &mut HostEntry {
        let entry = self
            .0
            .entry(Arc::clone(host))
            .or_insert_with(|| HostEntry::of_row(row));
        entry.met_at = Instant::now();
        entry
    }

    /// Forgets a host, unless it is in use; the database has what must last.
    pub(super) fn forget(&mut self, host: &str) {
        if self.0.get(host).is_some_and(|entry| !entry.is_busy()) {
            self.0.remove(host);
        }
    }

    /// Forgets hosts that are not in use, were not met since `before` and have no flow.
    pub(super) fn forget_idle(&mut self, before: Instant, has_flow: impl Fn(&str) -> bool) {
        self.0
            .retain(|host, entry| entry.is_busy() || entry.met_at >= before || has_flow(host));
    }

    /// Forgets everything of a shard.
    pub(super) fn forget_shard(&mut self, shard: u32) {
        self.0.retain(|_, entry| entry.shard != shard);
    }

    /// Hosts whose backlog may be sent.
    pub(super) fn draining(&self) -> Vec<Arc<str>> {
        let draining = self.0.iter().filter(|(_, entry)| entry.may_drain());
        draining.map(|(host, _)| Arc::clone(host)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
