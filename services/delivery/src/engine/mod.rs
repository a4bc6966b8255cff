//! The delivery engine: one task that owns everything about the hosts of the shards it holds,
//! and many that read, send and write for it (design section 6).
//!
//! The engine itself does no I/O and waits for nobody. What comes in are [`Event`]s; what goes
//! out are spawned tasks, bounded in number: requests by the scheduler, reads by a semaphore,
//! writes one at a time.

mod activities;
mod admit;
mod backlog;
mod dead_follows;
mod drain;
mod event;
mod finish;
mod gathering;
mod hand;
mod host_rows;
mod hosts;
mod item;
mod judge;
mod looks;
#[cfg(test)]
mod plans;
mod post;
mod pulse;
mod reading;
mod recorder;
mod scheduler;
mod shards;
mod standing;
mod suspects;
mod taking;

pub(crate) use dead_follows::{Post, withdraw};

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use anyhow::Context as _;
use sqlx::PgPool;
use tidegate_model::{Clock, Queues};
use tidegate_queue::Queue;
use tidegate_telemetry::Stop;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::activities::Activities;
pub(crate) use self::activities::Activity;
use self::event::Event;
use self::gathering::Gathering;
use self::hand::InHand;
use self::hosts::Hosts;
use self::item::Item;
use self::pulse::Pulse;
use self::recorder::{BATCH, Record, Round};
use self::scheduler::{Limits, Scheduler, Ticket};
use self::shards::Shards;
use crate::Delivery;
use crate::attempt::Sender;
use crate::egress::WayOut;
use crate::host::{Clocks, OwnOutage, Unauthorized};
use crate::lease::Leases;
use crate::options::DeliveryOptions;
use crate::watermarks::Watermarks;

/// Events that wait for the engine: a burst of answers; who has more waits.
const EVENTS: usize = 4_096;

/// Reads of the database at once, so that ten thousand hosts coming back do not take all
/// connections.
const READS: usize = 4;

/// Given-up hosts that are asked with a GET at once: thousands may be due after a pause.
const GREETS: usize = 16;

/// What every task of the engine needs.
pub(crate) type Context = Arc<Parts>;

/// See [`Context`].
pub(crate) struct Parts {
    pool: PgPool,
    queue: Arc<dyn Queue>,
    queues: Queues,
    clock: Clock,
    activities: Activities,
    sender: Sender,
    leases: Leases,
    way_out: WayOut,
    watermarks: Watermarks,
    post: dead_follows::Post,
    options: Arc<DeliveryOptions>,
    reads: Arc<Semaphore>,
    /// The same for messages that nobody waits for: those of `now` find a connection free.
    patient_reads: Arc<Semaphore>,
    greets: Arc<Semaphore>,
    events: mpsc::Sender<Event>,
    stop: Stop,
}

impl Parts {
    /// Tells the engine, unless it is gone.
    async fn tell(&self, event: Event) {
        let _gone = self.events.send(event).await;
    }
}

/// A request under way.
struct Flight {
    ticket: Ticket,
    started: Instant,
    /// Whether it has been noticed that it takes long.
    is_long: bool,
}

/// Everything that only the engine's own task touches.
struct Engine {
    context: Context,
    scheduler: Scheduler<Item>,
    hosts: Hosts,
    shards: Shards,
    in_hand: InHand,
    /// Rows whose outcome was just written: what was read before that must not bring them back.
    settled: HashMap<(i64, i64), Instant>,
    flights: HashMap<u64, Flight>,
    next_flight: u64,
    /// Outcomes, notes and marks that wait for the writer.
    round: Round,
    pending: VecDeque<Record>,
    gathering: Gathering,
    is_writing: bool,
    /// New states of hosts that their rows do not follow yet.
    standings: Vec<(Arc<str>, &'static str)>,
    is_following: bool,
    looks: looks::Looks,
    drains: drain::Drains,
    outage: OwnOutage,
    unauthorized: Unauthorized,
    clocks: Clocks,
    pulse: Pulse,
    tasks: JoinSet<()>,
}

/// Delivers until stopped; what is on its way then is finished first.
pub(crate) async fn run(delivery: &Delivery, leases: &Leases, stop: &Stop) -> anyhow::Result<()> {
    let deps = &delivery.deps;
    let (events, mut told) = mpsc::channel(EVENTS);
    let options = Arc::clone(&delivery.options);
    let context = Arc::new(Parts {
        pool: deps.pool.clone(),
        queue: Arc::clone(&deps.queue),
        queues: deps.queues.clone(),
        clock: deps.clock.clone(),
        activities: Activities::new(deps.pool.clone()),
        sender: Sender::new(
            delivery.client.clone(),
            delivery.signer.clone(),
            deps.clock.clone(),
        ),
        leases: leases.clone(),
        way_out: delivery.way_out.clone(),
        watermarks: delivery.watermarks.clone(),
        post: dead_follows::Post {
            outbox: deps.outbox.clone(),
            queues: deps.queues.clone(),
        },
        reads: Arc::new(Semaphore::new(READS)),
        patient_reads: Arc::new(Semaphore::new(READS)),
        greets: Arc::new(Semaphore::new(GREETS)),
        options,
        events,
        stop: stop.clone(),
    });
    let leasing = shards::lease(context.clone());
    let suspecting = suspects::take(context.clone());
    let mut engine = Engine::new(context);
    let working = engine.work(&mut told);
    tokio::select! {
        result = async { tokio::try_join!(leasing, suspecting, working) } => result.map(|_| ()),
        () = stop.hard.cancelled() => Ok(()),
    }
}

impl Engine {
    fn new(context: Context) -> Self {
        let posts = context.options.posts_in_flight.max(1);
        Self {
            scheduler: Scheduler::new(Limits {
                posts,
                slow_posts: (posts / 2).max(1),
            }),
            hosts: Hosts::default(),
            shards: Shards::default(),
            in_hand: InHand::default(),
            settled: HashMap::new(),
            flights: HashMap::new(),
            next_flight: 0,
            round: Round::default(),
            pending: VecDeque::new(),
            gathering: Gathering::default(),
            is_writing: false,
            standings: Vec::new(),
            is_following: false,
            looks: looks::Looks::default(),
            drains: drain::Drains::default(),
            outage: OwnOutage::default(),
            unauthorized: Unauthorized::default(),
            clocks: Clocks::default(),
            pulse: Pulse::starting(Instant::now()),
            tasks: JoinSet::new(),
            context,
        }
    }

    /// The loop: until every shard was given back after a stop.
    async fn work(&mut self, told: &mut mpsc::Receiver<Event>) -> anyhow::Result<()> {
        // Signatures are the bottleneck, and theirs is a queue in which nobody overtakes: what
        // is urgent must not stand behind more than what keeps the cores busy.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = Arc::new(Semaphore::new(2 * cores + 2));
        let mut tick = tokio::time::interval(self.context.options.tick);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.beat();
            let (timer, gathered) = (self.scheduler.next_timer(), self.gathering.until());
            tokio::select! {
                biased;
                // What a task owes would never come: the process ends and another takes over.
                Some(ended) = self.tasks.join_next() => ended.context("a task of the engine")?,
                event = told.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return Ok(()),
                },
                turn = Arc::clone(&turns).acquire_owned(), if self.scheduler.has_ready() => {
                    if let Ok(turn) = turn {
                        self.send_next(turn);
                    }
                }
                () = until(gathered), if gathered.is_some() && !self.is_writing => {}
                () = until(timer), if timer.is_some() && !self.scheduler.has_ready() => {
                    self.scheduler.wake(Instant::now());
                }
                _ = tick.tick() => self.look(),
            }
            self.write();
            self.follow_hosts();
            self.read_backlogs();
            if self.context.stop.is_stopping() && self.shards.is_empty() && !self.has_outcomes() {
                return Ok(());
            }
        }
    }

    /// Notices when the process stood still, before anything that happened meanwhile is judged.
    fn beat(&mut self) {
        if let Some(gap) = self.pulse.beat(Instant::now()) {
            tracing::warn!(
                seconds = gap.as_secs_f64(),
                "this process stood still; what was not answered meanwhile is no fault of its host"
            );
        }
    }

    fn handle(&mut self, event: Event) {
        self.beat();
        match event {
            Event::Lease(event) => self.lease_changed(event),
            Event::Rows {
                batch,
                reading,
                origin,
                of_hosts,
            } => self.rows_arrived(&batch, &reading, origin, &of_hosts),
            Event::Looked { more } => self.looks.timed_ended(more),
            Event::FetchFailed { hosts, origin } => self.fetch_failed(&hosts, origin),
            Event::Finished { id, item, sent } => self.finished(id, item, *sent),
            Event::Written(written) => self.written(written),
            Event::Followed => self.is_following = false,
            Event::Due(rows) => self.due(rows),
            Event::Backlogs(rows) => self.backlogs(rows),
            Event::Steered { rows, read_at } => self.steered(rows, read_at),
            Event::Greeted { host, answered } => self.greeted(&host, answered),
        }
    }

    /// Sends what is next, if anything may be.
    fn send_next(&mut self, turn: tokio::sync::OwnedSemaphorePermit) {
        let now = Instant::now();
        let Some((ticket, item)) = self.scheduler.next(now) else {
            return;
        };
        let id = self.next_flight;
        self.next_flight += 1;
        self.flights.insert(
            id,
            Flight {
                ticket,
                started: now,
                is_long: false,
            },
        );
        self.tasks
            .spawn(post::run(self.context.clone(), id, item, turn));
    }

    /// An outcome, to be written down. `scheduled`: it was sent, or next in its order key.
    fn record(&mut self, item: Item, outcome: judge::Outcome, scheduled: bool) {
        if !outcome.attempted {
            self.probe_came_to_nothing(&item);
        }
        if matches!(outcome.fate, judge::Fate::Backlog { .. }) {
            self.waits_for(&item.place.host);
        }
        self.gathering.came(item.place.lane, Instant::now());
        self.pending.push_back(Record {
            item,
            outcome,
            scheduled,
        });
    }

    /// A row waits for its host as a whole from now on.
    fn waits_for(&mut self, host: &Arc<str>) {
        let Some(entry) = self.hosts.get_mut(host) else {
            return;
        };
        entry.backlog = true;
        entry.looks_empty = false;
        entry.parked += 1;
        if entry.state == hosts::State::Failing && entry.next_probe_at.is_none() {
            // The one that was to be the probe is on its way: should nothing come of it, what
            // waits here is the next.
            entry.next_probe_at =
                Some(self.context.clock.now() + self.context.options.probes().first);
            self.note_standing(host);
        }
    }

    fn has_outcomes(&self) -> bool {
        let is_busy = self.is_writing || self.is_following;
        is_busy || !self.pending.is_empty() || !self.round.is_empty() || !self.standings.is_empty()
    }

    /// Starts a write when none is under way and there is something to write.
    fn write(&mut self) {
        if self.is_writing || (self.pending.is_empty() && self.round.is_empty()) {
            return;
        }
        if !self.gathering.is_over(self.pending.len(), Instant::now()) {
            return;
        }
        let mut round = std::mem::take(&mut self.round);
        let count = self.pending.len().min(BATCH);
        round.records = self.pending.drain(..count).collect();
        if count == BATCH {
            // What clears a backlog must come after everything that fills it.
            self.round.clear = std::mem::take(&mut round.clear);
        }
        if self.pending.is_empty() {
            self.gathering.end();
        }
        self.is_writing = true;
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let written =
                recorder::write(&context.pool, &context.clock, &context.post, round).await;
            context.tell(Event::Written(written)).await;
        });
    }

    /// Has rows follow the new states of their hosts, unless that is being done.
    fn follow_hosts(&mut self) {
        if self.is_following || self.standings.is_empty() {
            return;
        }
        self.is_following = true;
        let (context, standings) = (self.context.clone(), std::mem::take(&mut self.standings));
        self.tasks.spawn(async move {
            recorder::follow(&context.pool, &context.clock, &context.post, &standings).await;
            context.tell(Event::Followed).await;
        });
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
