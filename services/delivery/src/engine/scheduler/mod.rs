//! Who is sent next: three weighted lanes, in each a deficit round robin over hosts, and per host
//! a window, a rate and one activity at a time of each order key (design section 6).
//!
//! No I/O and no clock of its own. What waits here waits in memory, bounded by the prefetch of
//! the shards; what a host cannot take in time is given back to be parked.

mod leaving;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use tidegate_model::Lane;
use tokio::time::Instant;

use crate::host::{Meter, Rate, Window};

/// Turns of the lanes in one cycle: somebody waits for `now`, nobody for `slow`, and each has a
/// floor of one turn in thirteen however full the others are.
const WEIGHTS: [u32; 3] = [8, 4, 1];

/// Bytes of bodies that a host may send in one turn: two ordinary posts, so that hosts with long
/// bodies do not get more of us than the others.
const QUANTUM: u32 = 4 * 1024;

/// What is sent at once at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Requests under way in the whole process.
    pub(crate) posts: usize,
    /// Of these, to hosts that are slow: those that hang until the time-out wait among
    /// themselves, not before everybody else.
    pub(crate) slow_posts: usize,
}

/// Where something belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: Arc<str>,
    pub(crate) shard: u32,
    pub(crate) lane: Lane,
    pub(crate) order_key: Arc<str>,
    pub(crate) seq: i64,
    /// Bytes of the body.
    pub(crate) cost: u32,
}

#[derive(Debug)]
struct Waiting<T> {
    place: Place,
    since: Instant,
    what: T,
}

/// One order key on one host: one activity of it is on its way at a time, to as many inboxes as
/// it has there; the others wait here.
#[derive(Debug)]
struct Key<T> {
    seq: i64,
    /// Inboxes that the activity has not ended at.
    open: usize,
    /// Whether it did not end at one of them.
    is_stuck: bool,
    held: BTreeMap<i64, Vec<Waiting<T>>>,
}

impl<T> Key<T> {
    fn take_held(&mut self) -> Vec<Waiting<T>> {
        std::mem::take(&mut self.held)
            .into_values()
            .flatten()
            .collect()
    }
}

/// What is known of a host while it has work or was busy lately.
#[derive(Debug)]
pub(crate) struct HostFlow<T> {
    queues: [VecDeque<Waiting<T>>; 3],
    deficit: [u32; 3],
    is_in_ring: [bool; 3],
    keys: HashMap<Arc<str>, Key<T>>,
    held: usize,
    in_flight: u32,
    slow_in_flight: u32,
    is_slow: bool,
    shard: u32,
    pub(crate) window: Window,
    pub(crate) rate: Option<Rate>,
    /// What it took lately.
    pub(crate) taken: Meter,
    /// Asked to be left alone until then (`Retry-After`).
    pub(crate) hold_until: Option<Instant>,
    last_used: Instant,
}

impl<T> HostFlow<T> {
    fn new(shard: u32, now: Instant) -> Self {
        Self {
            queues: Default::default(),
            deficit: [0; 3],
            is_in_ring: [false; 3],
            keys: HashMap::new(),
            held: 0,
            in_flight: 0,
            slow_in_flight: 0,
            is_slow: false,
            shard,
            window: Window::default(),
            rate: None,
            taken: Meter::default(),
            hold_until: None,
            last_used: now,
        }
    }

    fn waiting(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum::<usize>() + self.held
    }

    fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.waiting() == 0
    }
}

/// Something on its way; to be given to [`Scheduler::finished`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) place: Place,
    is_slow: bool,
}

/// The order of sending. `T` is what is sent.
#[derive(Debug)]
pub(crate) struct Scheduler<T> {
    hosts: HashMap<Arc<str>, HostFlow<T>>,
    rings: [VecDeque<Arc<str>>; 3],
    credit: [u32; 3],
    in_flight: usize,
    slow_in_flight: usize,
    limits: Limits,
    /// Hosts that may send again at a time.
    timers: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    /// Hosts that are slow while all places for such are taken.
    slow_waiting: VecDeque<Arc<str>>,
}

impl<T> Scheduler<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            hosts: HashMap::new(),
            rings: Default::default(),
            credit: WEIGHTS,
            in_flight: 0,
            slow_in_flight: 0,
            limits,
            timers: BinaryHeap::new(),
            slow_waiting: VecDeque::new(),
        }
    }

    /// Whether something of this order key is waiting or on its way there.
    pub(crate) fn holds_key(&self, host: &str, order_key: &str) -> bool {
        let flow = self.hosts.get(host);
        flow.is_some_and(|flow| flow.keys.contains_key(order_key))
    }

    /// How much of a host's is waiting or on its way.
    #[cfg(test)]
    pub(crate) fn in_hand(&self, host: &str) -> usize {
        self.hosts
            .get(host)
            .map_or(0, |host| host.waiting() + host.in_flight as usize)
    }

    /// Requests under way to a host.
    pub(crate) fn in_flight_to(&self, host: &str) -> u32 {
        self.hosts.get(host).map_or(0, |host| host.in_flight)
    }

    /// Hosts that are remembered.
    #[cfg(test)]
    pub(crate) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// A host's window, rate and hold, made when it is new.
    pub(crate) fn host_mut(
        &mut self,
        host: &Arc<str>,
        shard: u32,
        now: Instant,
    ) -> &mut HostFlow<T> {
        self.hosts
            .entry(Arc::clone(host))
            .or_insert_with(|| HostFlow::new(shard, now))
    }

    /// The windows of all hosts.
    pub(crate) fn windows(&self) -> impl Iterator<Item = u32> {
        self.hosts.values().map(|host| host.window.size())
    }

    /// Takes something in. Behind an activity of the same order key it waits for that one's end.
    pub(crate) fn push(&mut self, place: Place, what: T, now: Instant) {
        let host = Arc::clone(&place.host);
        let flow = self.host_mut(&host, place.shard, now);
        let waiting = Waiting {
            since: now,
            what,
            place,
        };
        let seq = waiting.place.seq;
        let key = flow
            .keys
            .entry(Arc::clone(&waiting.place.order_key))
            .or_insert_with(|| Key {
                seq,
                open: 0,
                is_stuck: false,
                held: BTreeMap::new(),
            });
        if key.seq != seq {
            flow.held += 1;
            key.held.entry(seq).or_default().push(waiting);
            return;
        }
        key.open += 1;
        let lane = waiting.place.lane as usize;
        flow.queues[lane].push_back(waiting);
        self.enlist(&host, lane);
    }

    /// Puts the host into the ring of a lane in which it has work.
    fn enlist(&mut self, host: &Arc<str>, lane: usize) {
        let Some(flow) = self.hosts.get_mut(host) else {
            return;
        };
        if !flow.is_in_ring[lane] && !flow.queues[lane].is_empty() {
            flow.is_in_ring[lane] = true;
            self.rings[lane].push_back(Arc::clone(host));
        }
    }

    fn enlist_all(&mut self, host: &Arc<str>) {
        for lane in 0..3 {
            self.enlist(host, lane);
        }
    }

    /// What is sent next, if anything may be.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(Ticket, T)> {
        self.wake(now);
        if self.in_flight >= self.limits.posts {
            return None;
        }
        // Every turn sends, takes a host out of a ring, or pays off what a body was too long: this
        // ends.
        loop {
            let lane = self.lane()?;
            let Some(host) = self.rings[lane].front().cloned() else {
                continue;
            };
            if self.is_in_debt(&host, lane) {
                self.rings[lane].rotate_left(1);
                continue;
            }
            match self.may_send(&host, now) {
                May::Send => return Some(self.send(&host, lane, now)),
                May::After(at) => {
                    self.leave_rings(&host);
                    self.timers.push(Reverse((at, host)));
                }
                May::WhenSomethingEnds => self.leave_rings(&host),
                May::WhenSlowOnesEnd => {
                    self.leave_rings(&host);
                    self.slow_waiting.push_back(host);
                }
            }
        }
    }

    /// When [`Self::next`] is worth asking although nothing ended; `None`: not before.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether a host is in a ring.
    pub(crate) fn has_ready(&self) -> bool {
        self.in_flight < self.limits.posts && self.rings.iter().any(|ring| !ring.is_empty())
    }

    /// Hosts whose time has come may send again.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some(Reverse((at, _))) = self.timers.peek()
            && *at <= now
        {
            if let Some(Reverse((_, host))) = self.timers.pop() {
                self.enlist_all(&host);
            }
        }
    }

    /// The lane whose turn it is, among those with work.
    fn lane(&mut self) -> Option<usize> {
        let ready = |this: &Self, lane: usize| !this.rings[lane].is_empty();
        if !(0..3).any(|lane| ready(self, lane)) {
            return None;
        }
        loop {
            if let Some(lane) = (0..3).find(|lane| ready(self, *lane) && self.credit[*lane] > 0) {
                return Some(lane);
            }
            self.credit = WEIGHTS;
        }
    }

    fn may_send(&mut self, host: &str, now: Instant) -> May {
        let Some(flow) = self.hosts.get_mut(host) else {
            return May::WhenSomethingEnds;
        };
        if flow.in_flight >= flow.window.size() {
            return May::WhenSomethingEnds;
        }
        if let Some(until) = flow.hold_until {
            if until > now {
                return May::After(until);
            }
            flow.hold_until = None;
        }
        if flow.is_slow && self.slow_in_flight >= self.limits.slow_posts {
            return May::WhenSlowOnesEnd;
        }
        if let Some(rate) = &mut flow.rate
            && let Err(wait) = rate.try_take(now)
        {
            return May::After(now + wait);
        }
        May::Send
    }

    /// Whether a host sent so much in its last turns that this one is passed over; that pays off
    /// a quantum.
    fn is_in_debt(&mut self, host: &str, lane: usize) -> bool {
        let Some(flow) = self.hosts.get_mut(host) else {
            return false;
        };
        let is_in_debt = flow.deficit[lane] >= QUANTUM;
        if is_in_debt {
            flow.deficit[lane] -= QUANTUM;
        }
        is_in_debt
    }

    fn leave_rings(&mut self, host: &Arc<str>) {
        let Some(flow) = self.hosts.get_mut(host) else {
            return;
        };
        for lane in 0..3 {
            if std::mem::take(&mut flow.is_in_ring[lane]) {
                if self.rings[lane].front() == Some(host) {
                    self.rings[lane].pop_front();
                } else {
                    self.rings[lane].retain(|other| other != host);
                }
            }
        }
    }

    fn send(&mut self, host: &Arc<str>, lane: usize, now: Instant) -> (Ticket, T) {
        let flow = self.hosts.get_mut(host).expect("a host in a ring is known");
        let waiting = flow.queues[lane]
            .pop_front()
            .expect("a host in a ring has work");
        flow.in_flight += 1;
        flow.last_used = now;
        self.in_flight += 1;
        self.credit[lane] -= 1;
        let is_slow = flow.is_slow;
        if is_slow {
            flow.slow_in_flight += 1;
            self.slow_in_flight += 1;
        }
        // Its turn lasts while what it sent is less than a quantum.
        flow.deficit[lane] += waiting.place.cost.max(1);
        let is_over = flow.deficit[lane] >= QUANTUM;
        if flow.queues[lane].is_empty() {
            flow.deficit[lane] = 0;
            flow.is_in_ring[lane] = false;
            self.rings[lane].pop_front();
        } else if is_over {
            flow.deficit[lane] -= QUANTUM;
            self.rings[lane].rotate_left(1);
        }
        let ticket = Ticket {
            place: waiting.place,
            is_slow,
        };
        (ticket, waiting.what)
    }

    /// A request takes long: its host counts as slow until one ends in time. The ticket is told,
    /// so that its place counts among the slow ones.
    pub(crate) fn takes_long(&mut self, ticket: &mut Ticket) {
        let Some(flow) = self.hosts.get_mut(&ticket.place.host) else {
            return;
        };
        flow.is_slow = true;
        if !ticket.is_slow {
            ticket.is_slow = true;
            flow.slow_in_flight += 1;
            self.slow_in_flight += 1;
        }
    }

    /// A request ended. `was_slow`: in no good time, or not well. What waits behind it in its
    /// order key goes on waiting until [`Self::settled`].
    pub(crate) fn finished(&mut self, ticket: &Ticket, was_slow: bool, now: Instant) {
        self.in_flight -= 1;
        if ticket.is_slow {
            self.slow_in_flight -= 1;
        }
        let host = &ticket.place.host;
        if let Some(flow) = self.hosts.get_mut(host) {
            flow.in_flight -= 1;
            flow.slow_in_flight -= u32::from(ticket.is_slow);
            flow.is_slow = was_slow;
            flow.last_used = now;
        }
        self.enlist_all(host);
        // One place, one host; those whose work was taken away meanwhile have no use for it.
        while self.slow_in_flight < self.limits.slow_posts
            && let Some(waiting) = self.slow_waiting.pop_front()
        {
            self.enlist_all(&waiting);
            if self.hosts.get(&waiting).is_some_and(|flow| !flow.is_idle()) {
                break;
            }
        }
    }

    /// What was on its way has its outcome written down. When it `ended` (delivered, dead or
    /// cancelled) at all its inboxes there, the next of its order key may go; otherwise everything
    /// behind it is returned, because it cannot go before.
    pub(crate) fn settled(&mut self, place: &Place, ended: bool) -> Vec<T> {
        let Some(flow) = self.hosts.get_mut(&place.host) else {
            return Vec::new();
        };
        let Some(key) = flow.keys.get_mut(&place.order_key) else {
            return Vec::new();
        };
        key.is_stuck |= !ended;
        key.open = key.open.saturating_sub(1);
        if key.open > 0 {
            return Vec::new();
        }
        if key.is_stuck || key.held.is_empty() {
            let held = flow
                .keys
                .remove(&place.order_key)
                .map(|mut key| key.take_held());
            let held = held.unwrap_or_default();
            flow.held -= held.len();
            return held.into_iter().map(|waiting| waiting.what).collect();
        }
        if let Some((seq, next)) = key.held.pop_first() {
            key.seq = seq;
            key.open = next.len();
            flow.held -= next.len();
            for waiting in next {
                let lane = waiting.place.lane as usize;
                flow.queues[lane].push_front(waiting);
            }
            let host = Arc::clone(&place.host);
            self.enlist_all(&host);
        }
        Vec::new()
    }
}

/// Whether a host may be sent something now.
enum May {
    Send,
    After(Instant),
    WhenSomethingEnds,
    WhenSlowOnesEnd,
}

#[cfg(test)]
mod tests;
