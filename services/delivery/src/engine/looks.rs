//! What is looked for from time to time: rows that are due, hosts that are due, backlogs, and
//! what somebody else changed. Each look is a task; the engine goes on meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use url::Url;

use super::event::Event;
use super::finish::SLOW_AFTER;
use super::hand::Pair;
use super::hosts::State;
use super::item::{Batch, Origin};
use super::reading::{VALID, read};
use super::{Context, Engine, backlog, drain, host_rows};
use crate::metrics::{HOSTS_KNOWN, IN_MEMORY, SHARDS_OWNED, windows};

/// How long something may wait in memory for its host: then the database keeps it, so that no
/// message of the queue is held for long.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(30);

/// Due rows of one shard that one look takes.
const TIMED_PER_SHARD: usize = 100;

/// Due rows of one shard that are in hand at most: the rest waits where it is. Many, so that a
/// host that is slow with its own does not hide those of others.
const TIMED_IN_HAND: usize = 1_000;

/// Hosts that one look takes.
const HOSTS_PER_LOOK: i64 = 200;

/// How often hosts that somebody else changed are asked for.
const STEERED_EVERY: Duration = Duration::from_secs(2);

/// How often rows that wait for a host that is not marked are looked for: there are none unless
/// something went very wrong.
const FORGOTTEN_EVERY: Duration = Duration::from_mins(10);

/// How long a host without work is remembered.
const IDLE: Duration = Duration::from_mins(10);

/// Hosts in memory above which those without work are forgotten at once.
const MANY_HOSTS: usize = 20_000;

/// When what was looked for last.
#[derive(Default)]
pub(super) struct Looks {
    timed_at: Option<Instant>,
    timed_is_running: bool,
    timed_again: bool,
    hosts_at: Option<Instant>,
    steered_at: Option<Instant>,
    steered_since: Option<OffsetDateTime>,
    forgotten_at: Option<Instant>,
    backlog_cursor: String,
}

impl Looks {
    pub(super) fn timed_ended(&mut self, more: bool) {
        self.timed_is_running = false;
        self.timed_again |= more;
    }

    pub(super) fn shard_gained(&mut self) {
        self.timed_again = true;
        self.forgotten_at = None;
        self.backlog_cursor.clear();
    }

    pub(super) fn steered_until(&mut self, at: OffsetDateTime) {
        self.steered_since = self.steered_since.max(Some(at));
    }
}

fn is_due(at: &mut Option<Instant>, every: Duration) -> bool {
    let now = Instant::now();
    if at.is_some_and(|at| now - at < every) {
        return false;
    }
    *at = Some(now);
    true
}

impl Engine {
    /// Everything that is due.
    pub(super) fn look(&mut self) {
        let options = Arc::clone(&self.context.options);
        // Said here and not where leases are kept: those who keep them wait for the database.
        SHARDS_OWNED.set(self.context.leases.owned().len() as i64);
        self.unauthorized_shown();
        self.notice_long_flights();
        self.shards_step();
        let shards = self.shards.numbers();
        if shards.is_empty() {
            return;
        }
        if self.looks.timed_again || is_due(&mut self.looks.timed_at, options.look_interval) {
            self.look_at_timed();
        }
        if is_due(&mut self.looks.hosts_at, options.look_interval) {
            self.look_at_hosts(shards.clone());
            self.park_what_waits_too_long();
            for host in self.hosts.draining() {
                self.drain(&host);
            }
            self.forget_idle();
            // A reading is not acted on for longer than it is valid.
            self.settled.retain(|_, at| at.elapsed() < VALID * 2);
            HOSTS_KNOWN.set(self.hosts.len() as i64);
            IN_MEMORY.set(self.in_hand.len() as i64);
            windows(self.scheduler.windows());
        }
        let steered_every = STEERED_EVERY.min(options.look_interval * 2);
        if is_due(&mut self.looks.steered_at, steered_every) {
            self.look_at_steered();
        }
        if is_due(&mut self.looks.forgotten_at, FORGOTTEN_EVERY) {
            let context = self.context.clone();
            self.tasks.spawn(async move {
                match backlog::mark_forgotten(&context.pool, &shards, context.clock.now()).await {
                    Ok(0) => {}
                    Ok(hosts) => tracing::warn!(hosts, "rows waited for hosts that nobody tried"),
                    Err(error) => tracing::debug!(%error, "backlogs could not be compared"),
                }
            });
        }
    }

    /// Requests that take long make their host a slow one.
    fn notice_long_flights(&mut self) {
        let now = Instant::now();
        for flight in self.flights.values_mut() {
            if !flight.is_long && now - flight.started > SLOW_AFTER {
                flight.is_long = true;
                self.scheduler.takes_long(&mut flight.ticket);
            }
        }
    }

    fn park_what_waits_too_long(&mut self) {
        if let Some(before) = Instant::now().checked_sub(MAX_WAIT) {
            for host in self.scheduler.overdue(before) {
                self.park_overdue(&host);
            }
        }
    }

    fn forget_idle(&mut self) {
        let idle = if self.hosts.len() > MANY_HOSTS {
            Duration::from_secs(1)
        } else {
            IDLE
        };
        let Some(before) = Instant::now().checked_sub(idle) else {
            return;
        };
        for host in self.scheduler.forget_idle(before) {
            self.hosts.forget(&host);
        }
        let scheduler = &self.scheduler;
        self.hosts.forget_idle(before, |host| scheduler.knows(host));
    }

    /// Reads parked rows whose time has come.
    pub(super) fn look_at_timed(&mut self) {
        if self.looks.timed_is_running {
            self.looks.timed_again = true;
            return;
        }
        let shards = self.shards.numbers();
        if shards.is_empty() {
            return;
        }
        self.looks.timed_again = false;
        self.looks.timed_is_running = true;
        let context = self.context.clone();
        let held = self.in_hand.timed();
        let limits = shards.iter().map(|shard| {
            // What is in hand is still due, and found again.
            let held = self.in_hand.timed_of(shard.cast_unsigned());
            (*shard, (held.min(TIMED_IN_HAND) + TIMED_PER_SHARD) as i64)
        });
        let limits: Vec<(i32, i64)> = limits.collect();
        self.tasks.spawn(async move {
            let more = timed(&context, &limits, &held).await;
            context.tell(Event::Looked { more }).await;
        });
    }

    fn look_at_hosts(&mut self, shards: Vec<i32>) {
        let context = self.context.clone();
        let after = std::mem::take(&mut self.looks.backlog_cursor);
        self.tasks.spawn(async move {
            let now = context.clock.now();
            match host_rows::due(&context.pool, &shards, now, HOSTS_PER_LOOK).await {
                Ok(rows) if rows.is_empty() => {}
                Ok(rows) => context.tell(Event::Due(rows)).await,
                Err(error) => tracing::warn!(%error, "hosts that are due cannot be read yet"),
            }
            match host_rows::with_backlog(&context.pool, &shards, &after, HOSTS_PER_LOOK).await {
                Ok(rows) => context.tell(Event::Backlogs(rows)).await,
                Err(error) => tracing::warn!(%error, "backlogs cannot be read yet"),
            }
        });
    }

    fn look_at_steered(&mut self) {
        let context = self.context.clone();
        let since = self.looks.steered_since;
        self.tasks.spawn(async move {
            match host_rows::steered(&context.pool, since, HOSTS_PER_LOOK).await {
                Ok((rows, read_at)) => context.tell(Event::Steered { rows, read_at }).await,
                Err(error) => tracing::debug!(%error, "changed hosts cannot be read yet"),
            }
        });
    }

    /// Hosts whose backlog is not in memory yet.
    pub(super) fn backlogs(&mut self, rows: Vec<host_rows::HostRow>) {
        if rows.len() as i64 == HOSTS_PER_LOOK
            && let Some(last) = rows.last()
        {
            self.looks.backlog_cursor.clone_from(&last.host);
        }
        for row in rows {
            let host = host_rows::name(&row);
            if !self
                .shards
                .has(u32::try_from(row.shard).unwrap_or(u32::MAX))
            {
                continue;
            }
            self.hosts.meet_row(&host, &row);
            self.drain(&host);
        }
    }

    /// Hosts that are to be tried.
    pub(super) fn due(&mut self, rows: Vec<host_rows::HostRow>) {
        let now = self.context.clock.now();
        for row in rows {
            let host = host_rows::name(&row);
            if !self
                .shards
                .has(u32::try_from(row.shard).unwrap_or(u32::MAX))
            {
                continue;
            }
            let in_flight = self.scheduler.in_flight_to(&host);
            let is_unsettled = self
                .shards
                .unsettled(u32::try_from(row.shard).unwrap_or(0), Instant::now())
                .is_some();
            let entry = self.hosts.meet_row(&host, &row);
            let is_due = entry.next_probe_at.is_some_and(|at| at <= now);
            if entry.is_paused || entry.is_fetching || entry.is_probing || !is_due || in_flight > 0
            {
                continue;
            }
            let context = self.context.clone();
            match entry.state {
                State::Ok => {}
                State::Failing => {
                    entry.is_fetching = true;
                    let pairs = entry.in_hand == 0 && !is_unsettled;
                    let last = entry.last_probe_activity_id;
                    self.tasks.spawn(find_probe(context, host, pairs, last));
                }
                State::Unavailable => {
                    entry.is_fetching = true;
                    self.tasks.spawn(greet(context, host));
                }
            }
        }
    }
}

/// Hands out rows whose time has come; those of `held` are in hand. Whether there may be more.
async fn timed(context: &Context, shards: &[(i32, i64)], held: &HashSet<Pair>) -> bool {
    let now = context.clock.now();
    let pairs: Vec<Pair> = match backlog::timed(&context.pool, shards, now).await {
        Ok(pairs) => pairs
            .into_iter()
            .filter(|pair| !held.contains(pair))
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "parked deliveries cannot be read yet");
            return false;
        }
    };
    for chunk in pairs.chunks(super::BATCH) {
        match read(&context.pool, chunk, now).await {
            Ok(reading) => {
                let reading = Arc::new(reading);
                let batch = Batch::new(chunk.to_vec(), Arc::clone(&reading));
                let event = Engine::rows_event(Arc::new(batch), reading, Origin::Timed, Vec::new());
                context.tell(event).await;
            }
            Err(error) => {
                tracing::warn!(%error, "due deliveries cannot be read yet");
                return false;
            }
        }
    }
    pairs.len() >= TIMED_PER_SHARD
}

async fn find_probe(context: Context, host: Arc<str>, with_pairs: bool, last: Option<i64>) {
    let Ok(_permit) = context.reads.acquire().await else {
        return;
    };
    let found = async {
        if with_pairs {
            backlog::cancel_pairs(&context.pool, &host, context.clock.now()).await?;
        }
        backlog::for_probe(&context.pool, &host, last).await
    };
    let pairs = found.await;
    drain::tell(&context, vec![host], pairs, Origin::Probe).await;
}

/// Asks an unavailable host for something that every server has.
async fn greet(context: Context, host: Arc<str>) {
    let Ok(_place) = context.greets.acquire().await else {
        return;
    };
    // A state that many hosts share has a domain's name, where there may be no server at all.
    let server = host_rows::server_of(&context.pool, &host).await;
    let server = server.unwrap_or_else(|error| {
        tracing::debug!(%error, "who shares a state cannot be looked up");
        host.to_string()
    });
    let scheme = if context.sender.client.options().allow_plain_http {
        "http"
    } else {
        "https"
    };
    let url = format!("{scheme}://{server}/.well-known/nodeinfo");
    let answered = match Url::parse(&url) {
        Ok(url) => context.way_out.greet(url).await,
        Err(_) => false,
    };
    context.tell(Event::Greeted { host, answered }).await;
}
