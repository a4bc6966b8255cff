//! Who lives in the simulated fediverse: hosts, actors, their followers and posts.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    behaviour::{ActiveBehaviour, HostBehaviour},
    error::SimError,
    signature::keys::{KeyPool, SimKey},
    sim::Visits,
};

/// Posts kept per actor; older ones are 404, as on a server that cleans up.
const KEPT_NOTES: usize = 1_000;

/// The user part of the path of an instance actor; no account can have it (a slash).
const INSTANCE: &str = "/actor";

/// A simulated actor. Cheap to copy around; everything else is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorRef {
    /// Host name.
    pub host: String,
    /// User name.
    pub username: String,
    /// Its id.
    pub uri: String,
}

impl ActorRef {
    fn account(host: &str, username: &str) -> Self {
        Self {
            host: host.to_owned(),
            username: username.to_owned(),
            uri: format!("http://{host}/users/{username}"),
        }
    }

    fn instance(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            username: host.to_owned(),
            uri: format!("http://{host}{INSTANCE}"),
        }
    }

    /// Its own inbox.
    pub fn inbox(&self) -> String {
        format!("{}/inbox", self.uri)
    }

    /// The inbox that it shares with its whole host.
    pub fn shared_inbox(&self) -> String {
        format!("http://{}/inbox", self.host)
    }

    /// Id of its collection of followers.
    pub fn followers(&self) -> String {
        format!("{}/followers", self.uri)
    }

    /// Id of its RSA key.
    pub fn key_id(&self) -> String {
        format!("{}#main-key", self.uri)
    }

    /// `user@host`.
    pub fn handle(&self) -> String {
        format!("{}@{}", self.username, self.host)
    }
}

/// How an actor presents itself, and what is special about it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActorSpec {
    /// Whether its document names the shared inbox.
    pub shared_inbox: bool,
    /// A key of its own instead of one from the pool. Takes 0.1 s to make.
    pub own_key: bool,
    /// Display name.
    pub name: String,
    /// Description, HTML.
    pub summary: String,
    /// `Service` instead of `Person`.
    pub bot: bool,
    /// Says that it looks at follow requests by hand.
    pub locked: bool,
}

/// Where a follower or mentioned actor is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Its own inbox.
    pub inbox: String,
    /// Its host's, if it has one.
    #[serde(default)]
    pub shared_inbox: Option<String>,
}

impl Recipient {
    /// The shared inbox where there is one.
    pub fn preferred(&self) -> &str {
        self.shared_inbox.as_deref().unwrap_or(&self.inbox)
    }
}

/// What became of a Follow that an actor sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowState {
    /// Sent, no word yet.
    Requested,
    /// Accepted.
    Accepted,
    /// Rejected.
    Rejected,
}

/// A Follow that an actor sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Following {
    /// Id of the Follow activity.
    pub activity: String,
    /// What became of it.
    pub state: FollowState,
}

/// A post of a simulated actor.
#[derive(Debug, Clone)]
pub(crate) struct StoredNote {
    pub(crate) id: String,
    pub(crate) object: Value,
    pub(crate) public: bool,
    pub(crate) deleted: bool,
    /// The inboxes it was sent to; Update and Delete go there too.
    pub(crate) inboxes: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Social {
    pub(crate) followers: BTreeMap<String, Recipient>,
    pub(crate) following: BTreeMap<String, Following>,
    pub(crate) notes: VecDeque<StoredNote>,
}

impl Social {
    pub(crate) fn keep(&mut self, note: StoredNote) {
        if self.notes.len() >= KEPT_NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
    }
}

#[derive(Debug)]
enum KeySource {
    Pool(usize),
    Own(Arc<SimKey>),
}

/// Everything about one actor.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) who: ActorRef,
    pub(crate) spec: ActorSpec,
    key: RwLock<KeySource>,
    social: Mutex<Social>,
}

impl Actor {
    pub(crate) fn is_instance(&self) -> bool {
        self.who.uri.ends_with(INSTANCE) && self.who.username == self.who.host
    }

    pub(crate) fn social(&self) -> MutexGuard<'_, Social> {
        self.social.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn replace_key(&self, key: SimKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = KeySource::Own(Arc::new(key));
    }
}

/// An answer put at a path by hand, in place of what the host would say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Status code.
    pub status: u16,
    /// Headers, content type included.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Document {
    /// 200 with this JSON as an ActivityStreams document.
    pub fn activity_json(value: &Value) -> Self {
        Self::of_type("application/activity+json", value)
    }

    /// 200 with this JSON under any content type.
    pub fn of_type(content_type: &str, value: &Value) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: value.to_string(),
        }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from(self.body.clone())
    }
}

/// One simulated host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: Arc<str>,
    pub(crate) instance: Arc<Actor>,
    behaviour: RwLock<Arc<ActiveBehaviour>>,
    actors: RwLock<HashMap<String, Arc<Actor>>>,
    documents: RwLock<HashMap<String, Document>>,
    pub(crate) visits: Visits,
}

impl Host {
    pub(crate) fn behaviour(&self) -> Arc<ActiveBehaviour> {
        Arc::clone(
            &self
                .behaviour
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(crate) fn behave(&self, habits: HostBehaviour) {
        let active = Arc::new(ActiveBehaviour::new(habits));
        *self
            .behaviour
            .write()
            .unwrap_or_else(PoisonError::into_inner) = active;
    }

    pub(crate) fn actor(&self, username: &str) -> Option<Arc<Actor>> {
        self.actors
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(username)
            .cloned()
    }

    pub(crate) fn document(&self, path: &str) -> Option<Document> {
        self.documents
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .cloned()
    }

    pub(crate) fn serve(&self, path: &str, document: Option<Document>) {
        let mut documents = self
            .documents
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match document {
            Some(document) => documents.insert(path.to_owned(), document),
            None => documents.remove(path),
        };
    }

    pub(crate) fn actor_count(&self) -> usize {
        self.actors
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// All hosts, and the keys that their actors share.
#[derive(Debug)]
pub(crate) struct World {
    hosts: RwLock<HashMap<String, Arc<Host>>>,
    keys: Arc<KeyPool>,
}

impl World {
    pub(crate) fn new(keys: KeyPool) -> Self {
        Self {
            hosts: RwLock::default(),
            keys: Arc::new(keys),
        }
    }

    pub(crate) fn host(&self, name: &str) -> Option<Arc<Host>> {
        self.hosts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// Adds a host, or changes the behaviour of one that is there.
    pub(crate) fn add_host(&self, name: &str, habits: HostBehaviour) -> Arc<Host> {
        let name = name.to_ascii_lowercase();
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(&name) {
            host.behave(habits);
            return Arc::clone(host);
        }
        let host = Arc::new(Host {
            name: name.as_str().into(),
            instance: Arc::new(self.new_actor(ActorRef::instance(&name), ActorSpec::default())),
            behaviour: RwLock::new(Arc::new(ActiveBehaviour::new(habits))),
            actors: RwLock::default(),
            documents: RwLock::default(),
            visits: Visits::default(),
        });
        hosts.insert(name, Arc::clone(&host));
        host
    }

    /// The most requests that each host had in hand at once.
    pub(crate) fn crowds(&self) -> BTreeMap<String, u32> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts
            .iter()
            .map(|(name, host)| (name.clone(), host.visits.most()))
            .collect()
    }

    /// Starts counting the most at once anew.
    pub(crate) fn forget_crowds(&self) {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.values().for_each(|host| host.visits.forget());
    }

    fn new_actor(&self, who: ActorRef, spec: ActorSpec) -> Actor {
        let key = if spec.own_key {
            KeySource::Own(Arc::new(SimKey::generate()))
        } else {
            KeySource::Pool(self.keys.assign())
        };
        Actor {
            who,
            spec,
            key: RwLock::new(key),
            social: Mutex::default(),
        }
    }

    /// Adds an actor to a host, which is added too if it is new. An actor that is there stays
    /// as it is.
    pub(crate) fn add_actor(&self, host: &str, username: &str, spec: ActorSpec) -> ActorRef {
        let found = self.host(&host.to_ascii_lowercase());
        let host = found.unwrap_or_else(|| self.add_host(host, HostBehaviour::default()));
        if let Some(actor) = host.actor(username) {
            return actor.who.clone();
        }
        let actor = Arc::new(self.new_actor(ActorRef::account(&host.name, username), spec));
        let mut actors = host.actors.write().unwrap_or_else(PoisonError::into_inner);
        actors
            .entry(username.to_owned())
            .or_insert(actor)
            .who
            .clone()
    }

    pub(crate) fn actor(&self, who: &ActorRef) -> Result<Arc<Actor>, SimError> {
        let host = self
            .host(&who.host)
            .ok_or_else(|| SimError::Unknown(who.host.clone()))?;
        if who.uri == host.instance.who.uri {
            return Ok(Arc::clone(&host.instance));
        }
        host.actor(&who.username)
            .ok_or_else(|| SimError::Unknown(who.uri.clone()))
    }

    /// The key of an actor; the first use of a pool key makes it, off the async threads.
    pub(crate) async fn key(&self, actor: &Actor) -> Arc<SimKey> {
        let slot = match &*actor.key.read().unwrap_or_else(PoisonError::into_inner) {
            KeySource::Own(key) => return Arc::clone(key),
            KeySource::Pool(slot) => *slot,
        };
        let keys = Arc::clone(&self.keys);
        if let Some(key) = keys.ready(slot) {
            return key;
        }
        tokio::task::spawn_blocking(move || keys.get(slot))
            .await
            .expect("making a key cannot panic")
    }
}
