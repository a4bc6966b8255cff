//! Who may send for a shard: one process at a time, by a row in PostgreSQL that runs out unless
//! it is renewed (design section 6).
//!
//! The row says who; the monotonic clock of this process says until when. Before every request
//! [`Leases::holds`] is asked: a process that was frozen finds its time gone, however late it
//! wakes.

mod rows;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tidegate_telemetry::Stop;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a lease lasts without being renewed, and how long a worker that does not say so any
/// more counts as alive.
pub(crate) const LENGTH: Duration = Duration::from_secs(12);

/// How often it is renewed: three rounds may fail before it runs out.
pub(crate) const RENEW: Duration = Duration::from_secs(3);

/// How the leases are kept. The defaults are those of design section 6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseOptions {
    /// How long a lease lasts without being renewed.
    pub(crate) length: Duration,
    /// How often it is renewed.
    pub(crate) renew: Duration,
    /// How long a request that was started under it may still be under way.
    pub(crate) settle: Duration,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LeaseEvent {
    /// The shard is ours: take its messages. Until `unsettled` has passed, requests of its
    /// holder before may still be under way. `own_outage`: that one had no way out.
    Gained {
        shard: u32,
        unsettled: Option<Duration>,
        own_outage: bool,
    },
    /// Another process shall have it, or this one stops: finish, then [`Leases::release`].
    GiveUp { shard: u32 },
    /// The lease ran out: nothing of it may be sent any more.
    Lost { shard: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Held {
    until: Instant,
    is_leaving: bool,
}

/// The leases of one process. Clones share them.
#[derive(Clone)]
pub(crate) struct Leases {
    pool: PgPool,
    shards: u32,
    options: LeaseOptions,
    me: Uuid,
    held: Arc<Mutex<HashMap<u32, Held>>>,
    /// Shards that were given back with requests under way, and until when these may go on: for
    /// as long as whoever has the shard next takes them for under way.
    left: Arc<Mutex<HashMap<u32, Instant>>>,
    /// Whether we have no way out, and the turn to note that.
    own_outage: Arc<(AtomicBool, tokio::sync::Mutex<()>)>,
}

impl Leases {
    pub(crate) fn new(pool: PgPool, shards: u32, options: LeaseOptions) -> Self {
        Self {
            pool,
            shards,
            options,
            me: Uuid::new_v4(),
            held: Arc::default(),
            left: Arc::default(),
            own_outage: Arc::default(),
        }
    }

    /// Whether a request for this shard may start now. A tenth of the lease is left for it to
    /// get on its way.
    pub(crate) fn holds(&self, shard: u32) -> bool {
        self.holds_for(shard, self.options.length / 10)
    }

    /// Whether a request that is on its way for this shard may go on: one that was frozen before
    /// it left must not leave when it wakes.
    pub(crate) fn still_holds(&self, shard: u32) -> bool {
        let was_left = || {
            let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.get(&shard)
                .is_some_and(|until| Instant::now() < *until)
        };
        self.holds_for(shard, Duration::ZERO) || was_left()
    }

    fn holds_for(&self, shard: u32, margin: Duration) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&shard)
            .is_some_and(|held| Instant::now() + margin < held.until)
    }

    /// The shards that are ours and not being handed over.
    pub(crate) fn owned(&self) -> Vec<u32> {
        let now = Instant::now();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut owned: Vec<u32> = held
            .iter()
            .filter(|(_, held)| held.until > now && !held.is_leaving)
            .map(|(shard, _)| *shard)
            .collect();
        owned.sort_unstable();
        owned
    }

    /// Whether this process is the one that says what is true of the whole service: whoever has
    /// the first shard, so that it is one at a time and always somebody.
    pub(crate) fn speaks_for_all(&self) -> bool {
        self.holds(0)
    }

    /// What share of all shards is ours.
    pub(crate) fn share(&self) -> f64 {
        self.owned().len() as f64 / f64::from(self.shards)
    }

    /// Renews, claims and gives up until a stop; then asks for everything to be handed over and
    /// ends when it was.
    pub(crate) async fn run<F>(&self, events: impl Fn(LeaseEvent) -> F + Send + Sync, stop: &Stop)
    where
        F: Future<Output = ()> + Send,
    {
        while !stop.is_stopping() {
            let soon = self.round(&events).await;
            // Replicas that were started together do not stay together.
            let jitter = 0.7 + 0.3 * rand::random::<f64>();
            let wait = self.options.renew.mul_f64(jitter).min(soon);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.soft.cancelled() => {}
            }
        }
        for shard in self.leave_all() {
            events(LeaseEvent::GiveUp { shard }).await;
        }
        // What is being handed over is ours until it was.
        while !self.is_empty() && !stop.hard.is_cancelled() {
            self.renew_only(&events).await;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
                () = stop.hard.cancelled() => {}
            }
        }
        if let Err(error) = rows::forget_worker(&self.pool, self.me).await {
            tracing::debug!(%error, "this worker's row stays until it runs out");
        }
    }

    /// One look: what runs out, what can be renewed, what is ours to take or to leave. Returns
    /// within which time it is worth looking again.
    async fn round<F>(&self, events: &(impl Fn(LeaseEvent) -> F + Send + Sync)) -> Duration
    where
        F: Future<Output = ()> + Send,
    {
        for shard in self.expired() {
            events(LeaseEvent::Lost { shard }).await;
        }
        // The time before the statement: the database's clock started later.
        let asked = Instant::now();
        let held = self.held();
        let found = rows::round(&self.pool, self.me, self.shards, &held, &self.options).await;
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => {
                tracing::error!(
                    shards = self.shards,
                    "the number of shards was changed: end this process and start it with the \
                     new one"
                );
                return self.options.renew;
            }
            Err(error) => {
                tracing::warn!(%error, "leases of shards cannot be renewed yet");
                return self.options.renew;
            }
        };
        let until = asked + self.options.length;
        for shard in self.keep(&found.renewed, until) {
            events(LeaseEvent::Lost { shard }).await;
        }
        for rows::Gained {
            shard,
            unsettled,
            own_outage,
        } in found.gained
        {
            if self.gain(shard, until) {
                let gained = LeaseEvent::Gained {
                    shard,
                    unsettled,
                    own_outage,
                };
                events(gained).await;
            }
        }
        for shard in self.surplus(found.share) {
            events(LeaseEvent::GiveUp { shard }).await;
        }
        self.look_again(found.lacks, found.next_expiry)
    }

    /// What is handed over to us is taken soon, and what a dead worker had as soon as its lease
    /// ran out: a shard that nobody has is a shard that nothing is sent for.
    fn look_again(&self, lacks: bool, next_expiry: Option<Duration>) -> Duration {
        let again = self.options.renew / if lacks { 3 } else { 1 };
        // A little later than to the instant, so that the database agrees that it is over.
        let margin = self.options.renew / 30;
        next_expiry.map_or(again, |left| again.min(left + margin))
    }

    async fn renew_only<F>(&self, events: &(impl Fn(LeaseEvent) -> F + Send + Sync))
    where
        F: Future<Output = ()> + Send,
    {
        for shard in self.expired() {
            events(LeaseEvent::Lost { shard }).await;
        }
        let asked = Instant::now();
        let held = self.held();
        if let Ok(renewed) = rows::renew(&self.pool, self.me, &held, &self.options).await {
            self.keep(&renewed, asked + self.options.length);
        }
    }

    /// Whether we have no way out, from now on; [`Self::note_outage`] says it to others.
    pub(crate) fn set_own_outage(&self, is_on: bool) {
        self.own_outage.0.store(is_on, Ordering::SeqCst);
    }

    /// Notes for whoever has our shards next whether we have a way out: a restart in the middle of
    /// an outage of our own does not make it the hosts' fault.
    pub(crate) async fn note_outage(&self) {
        let _turn = self.own_outage.1.lock().await;
        // Not what it was when somebody began to wait for the turn: the last word counts.
        let is_on = self.own_outage.0.load(Ordering::SeqCst);
        if let Err(error) = rows::note_outage(&self.pool, self.me, is_on).await {
            tracing::warn!(%error, is_on, "an outage of our own cannot be noted");
        }
    }

    /// Frees a shard that was being handed over. `settled`: nothing of it is under way.
    pub(crate) async fn release(&self, shard: u32, settled: bool) {
        let settle = if settled {
            Duration::ZERO
        } else {
            self.options.settle
        };
        if !settled {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.insert(shard, Instant::now() + settle);
        }
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.remove(&shard);
        }
        if let Err(error) = rows::release(&self.pool, self.me, shard, settle).await {
            tracing::debug!(%error, shard, "a lease could not be given back; it runs out by itself");
        }
    }

    /// All that is ours, being handed over or not.
    fn held(&self) -> Vec<u32> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.keys().copied().collect()
    }

    fn is_empty(&self) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.is_empty()
    }

    /// Leases whose time is over; they are held no more.
    fn expired(&self) -> Vec<u32> {
        let now = Instant::now();
        self.take_out(|_, held| held.until <= now)
    }

    /// Prolongs what was renewed; returns what was not, and is held no more.
    fn keep(&self, renewed: &[u32], until: Instant) -> Vec<u32> {
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            for shard in renewed {
                if let Some(held) = held.get_mut(shard) {
                    held.until = until;
                }
            }
        }
        self.take_out(|shard, _| !renewed.contains(shard))
    }

    fn take_out(&self, is_gone: impl Fn(&u32, &Held) -> bool) -> Vec<u32> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<u32> = held
            .iter()
            .filter(|(shard, held)| is_gone(shard, held))
            .map(|(shard, _)| *shard)
            .collect();
        held.retain(|shard, _| !gone.contains(shard));
        gone
    }

    fn gain(&self, shard: u32, until: Instant) -> bool {
        let held = Held {
            until,
            is_leaving: false,
        };
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(shard, held).is_none()
    }

    /// Shards above our share, which begin to be handed over.
    fn surplus(&self, share: usize) -> Vec<u32> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut staying: Vec<u32> = held
            .iter()
            .filter(|(_, held)| !held.is_leaving)
            .map(|(shard, _)| *shard)
            .collect();
        staying.sort_unstable();
        let leaving = staying.split_off(share.min(staying.len()));
        for shard in &leaving {
            if let Some(held) = held.get_mut(shard) {
                held.is_leaving = true;
            }
        }
        leaving
    }

    fn leave_all(&self) -> Vec<u32> {
        self.surplus(0)
    }
}
