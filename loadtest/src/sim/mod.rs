//! The simulator as tests use it: start it, people it, let its actors act, read the ledger.

mod actions;
mod answer;
mod directory;
mod hostile;
mod inbox;
mod line;
mod posts;
mod server;
mod tls;
mod visits;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use actions::fresh_number;
pub use actions::{Delivery, Sent};
pub use directory::RemoteActor;
pub use hostile::{RawRequest, RawSignature};
use http::StatusCode;
pub use posts::{PostSpec, Posted, Visibility};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
pub(crate) use visits::Visits;

use crate::{
    behaviour::HostBehaviour,
    error::SimError,
    ledger::{Entry, Ledger, LedgerBounds},
    signature::keys::{KeyPool, SimKey},
    transport::{Names, Transport, bind},
    world::{ActorRef, ActorSpec, Document, Following, Recipient, World},
};

/// Follow-up work (accepting follows) that may wait at once; beyond it a delivery that would
/// need more is answered with 503.
const FOLLOW_UPS: usize = 1_024;

/// Requests of our own in flight at once.
const OUTGOING: usize = 64;

/// Entries that a slow listener of [`Sim::events`] may lag behind before it loses some.
const EVENTS: usize = 1_024;

/// How long [`Sim::shutdown`] waits for what is under way.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// The same hosts over TLS as well.
#[derive(Debug, Clone)]
pub struct SimTls {
    /// The port for it, on loopback.
    pub listen: SocketAddr,
    /// Names one label below this have a certificate.
    pub suffix: String,
    /// Where the authority's certificate is written, as PEM.
    pub ca_file: PathBuf,
}

/// How to start a simulator.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// The one listening port, on loopback; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where names lead that are not simulated, above all the server under test. Port 0 means
    /// the port in the URL. `localhost` is known.
    pub resolve: BTreeMap<String, SocketAddr>,
    /// Bounds of the ledger.
    pub ledger: LedgerBounds,
    /// How many RSA keys actors share; the first that many actors have different ones.
    pub key_pool: usize,
    /// Keys to share instead of new ones: what signs must survive a restart, or everybody who
    /// remembers the old key refuses us.
    pub keys: Vec<Arc<SimKey>>,
    /// Largest body that is read; larger ones are answered with 413.
    pub largest_body: usize,
    /// What a name is answered that is no host of ours.
    pub strangers: StatusCode,
    /// A second port, over TLS.
    pub tls: Option<SimTls>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            resolve: BTreeMap::new(),
            ledger: LedgerBounds::default(),
            key_pool: 4,
            keys: Vec::new(),
            // What Mastodon takes.
            largest_body: 1 << 20,
            strangers: StatusCode::MISDIRECTED_REQUEST,
            tls: None,
        }
    }
}

impl SimConfig {
    /// A free port, and one name that leads to the server under test.
    pub fn towards(name: &str, address: SocketAddr) -> Self {
        Self {
            resolve: BTreeMap::from([(name.to_owned(), address)]),
            ..Self::default()
        }
    }
}

/// A running simulated fediverse. Cheap to clone; dropping it does not stop it, see
/// [`Sim::shutdown`].
#[derive(Debug, Clone)]
pub struct Sim {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    names: Arc<Names>,
    world: World,
    ledger: Ledger,
    transport: Transport,
    directory: directory::Directory,
    follow_ups: Arc<Semaphore>,
    outgoing: Semaphore,
    events: broadcast::Sender<Arc<Entry>>,
    largest_body: usize,
    strangers: StatusCode,
    handshakes: AtomicU64,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Sim {
    /// Listens and serves until [`Sim::shutdown`].
    pub async fn start(config: SimConfig) -> Result<Self, SimError> {
        let listener = bind(config.listen).await?;
        let address = listener.local_addr().map_err(|source| SimError::Bind {
            address: config.listen,
            hint: "the socket was closed at once; try again",
            source,
        })?;
        let names = Arc::new(Names::new(address, config.resolve));
        let shared = Arc::new(Shared {
            address,
            transport: Transport::new(Arc::clone(&names)),
            names,
            world: World::new(if config.keys.is_empty() {
                KeyPool::new(config.key_pool)
            } else {
                KeyPool::of(config.keys)
            }),
            ledger: Ledger::new(config.ledger),
            directory: directory::Directory::default(),
            follow_ups: Arc::new(Semaphore::new(FOLLOW_UPS)),
            outgoing: Semaphore::new(OUTGOING),
            events: broadcast::channel(EVENTS).0,
            largest_body: config.largest_body,
            strangers: config.strangers,
            handshakes: AtomicU64::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let sim = Self { shared };
        let serving = server::serve(sim.clone(), listener, None);
        sim.shared.tasks.spawn(serving);
        if let Some(tls) = config.tls {
            let listener = bind(tls.listen).await?;
            let acceptor = tls::acceptor(&tls.suffix, &tls.ca_file).map_err(SimError::Tls)?;
            let serving = server::serve(sim.clone(), listener, Some(acceptor));
            sim.shared.tasks.spawn(serving);
        }
        tracing::info!(%address, "simulated fediverse is listening");
        Ok(sim)
    }

    /// Stops listening, cuts hanging answers, waits at most 5 s for the rest.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        let rest = tokio::time::timeout(SHUTDOWN_GRACE, self.shared.tasks.wait()).await;
        if rest.is_err() {
            tracing::warn!(
                tasks = self.shared.tasks.len(),
                "left tasks behind at shutdown"
            );
        }
    }

    /// Where it listens: map the suffix of the simulated names to this address.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Everything received.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Every request with an effect from now on, as it is written into the ledger.
    pub fn events(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.shared.events.subscribe()
    }

    /// Lets a name lead somewhere else, from now on.
    pub fn resolve_to(&self, name: &str, address: SocketAddr) {
        self.shared.names.set(name, address);
    }

    /// Adds a host; for one that is there, changes its behaviour.
    pub fn add_host(&self, name: &str, habits: HostBehaviour) {
        self.shared.world.add_host(name, habits);
    }

    /// Changes a host's behaviour; its scripts start from the beginning.
    pub fn set_behaviour(&self, host: &str, habits: HostBehaviour) {
        self.add_host(host, habits);
    }

    /// A host's behaviour as it was set.
    pub fn behaviour(&self, host: &str) -> Option<HostBehaviour> {
        Some(self.shared.world.host(host)?.behaviour().habits.clone())
    }

    /// The most requests that each host had in hand at once.
    pub fn crowds(&self) -> BTreeMap<String, u32> {
        self.shared.world.crowds()
    }

    /// Starts counting the most requests at once anew.
    pub fn forget_crowds(&self) {
        self.shared.world.forget_crowds();
    }

    /// TLS handshakes that were finished.
    pub fn handshakes(&self) -> u64 {
        self.shared.handshakes.load(Ordering::Relaxed)
    }

    /// Adds an actor, and its host if that is new.
    pub fn add_actor(&self, host: &str, username: &str, shared_inbox: bool) -> ActorRef {
        self.add_actor_with(
            host,
            username,
            ActorSpec {
                shared_inbox,
                ..ActorSpec::default()
            },
        )
    }

    /// Adds an actor with more to say about it. `own_key` costs 0.1 s of this thread.
    pub fn add_actor_with(&self, host: &str, username: &str, spec: ActorSpec) -> ActorRef {
        self.shared.world.add_actor(host, username, spec)
    }

    /// An actor that was added before.
    pub fn actor(&self, host: &str, username: &str) -> Option<ActorRef> {
        Some(self.shared.world.host(host)?.actor(username)?.who.clone())
    }

    /// The actor that speaks for a host as a whole.
    pub fn instance_actor(&self, host: &str) -> Option<ActorRef> {
        Some(self.shared.world.host(host)?.instance.who.clone())
    }

    /// Gives an actor a new key under the same id, as after a restore from an old backup.
    pub async fn rotate_key(&self, who: &ActorRef) -> Result<(), SimError> {
        let actor = self.shared.world.actor(who)?;
        let key = tokio::task::spawn_blocking(SimKey::generate).await;
        actor.replace_key(key.expect("making a key cannot panic"));
        Ok(())
    }

    /// The public key of an actor, PEM.
    pub async fn public_key(&self, who: &ActorRef) -> Result<String, SimError> {
        let actor = self.shared.world.actor(who)?;
        Ok(self.shared.world.key(&actor).await.public_pem().to_owned())
    }

    /// The honest actor document, for tests that serve a changed one.
    pub async fn actor_document(&self, who: &ActorRef) -> Result<serde_json::Value, SimError> {
        let actor = self.shared.world.actor(who)?;
        let key = self.shared.world.key(&actor).await;
        Ok(crate::documents::actor(&actor, key.public_pem()))
    }

    /// Puts an answer at a path (with query) of a host, in place of the honest one.
    pub fn serve(&self, host: &str, path: &str, document: Document) -> Result<(), SimError> {
        let found = self.shared.world.host(host);
        found
            .ok_or_else(|| SimError::Unknown(host.to_owned()))?
            .serve(path, Some(document));
        Ok(())
    }

    /// Takes such an answer away.
    pub fn unserve(&self, host: &str, path: &str) {
        if let Some(host) = self.shared.world.host(host) {
            host.serve(path, None);
        }
    }

    /// Followers of a simulated actor, with their inboxes.
    pub fn followers(&self, who: &ActorRef) -> Result<BTreeMap<String, Recipient>, SimError> {
        Ok(self.shared.world.actor(who)?.social().followers.clone())
    }

    /// Makes someone a follower without a Follow, as after reading it from a file.
    pub fn set_follower(
        &self,
        who: &ActorRef,
        follower: &str,
        recipient: Recipient,
    ) -> Result<(), SimError> {
        let actor = self.shared.world.actor(who)?;
        actor
            .social()
            .followers
            .insert(follower.to_owned(), recipient);
        Ok(())
    }

    /// Whom a simulated actor follows or wants to, by actor id.
    pub fn following(&self, who: &ActorRef) -> Result<BTreeMap<String, Following>, SimError> {
        Ok(self.shared.world.actor(who)?.social().following.clone())
    }
}
