//! The neighbour server of `make run`: three accounts that accept follows, talk to their
//! followers, answer those who mention them and like replies. It is the simulator with a
//! memory for followers.

mod characters;
mod state;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use characters::{CHARACTERS, Character};
use serde_json::Value;
use state::{State, StateFile};
use tokio::{sync::broadcast::error::RecvError, task::JoinSet};
use url::Url;

use crate::{
    ActorRef, ActorSpec, Delivery, Entry, HostBehaviour, PostSpec, Sent, Sim, SimConfig, SimError,
    Visibility, documents::PUBLIC, signature::keys::SimKey,
};

/// Tries for what somebody waits for (an Accept, a welcome, an answer), with pauses of 1, 2, 4
/// ... seconds between: a restart of the instance takes less than the minute they span.
const TRIES: u32 = 7;

/// Musings of one character in one run. An instance forgotten on a laptop over a week-end
/// should not fill its disk with ferry delays.
const MOST_MUSINGS: u64 = 500;

/// Answers to one account in one run; two robots could otherwise talk for ever.
const MOST_ANSWERS: u32 = 50;

/// Things being done at once; more wait unread in the bounded event channel.
const BUSY: usize = 32;

/// How to start the neighbour.
#[derive(Debug, Clone)]
pub struct NeighbourConfig {
    /// Listening address.
    pub listen: SocketAddr,
    /// Base URL of the Tidegate instance.
    pub tidegate: Url,
    /// Host name of the neighbour.
    pub name: String,
    /// Other names and where they lead.
    pub resolve: BTreeMap<String, SocketAddr>,
    /// Where key and followers are kept; `None` forgets them.
    pub state: Option<PathBuf>,
}

/// The running neighbour.
#[derive(Clone)]
pub struct Neighbour {
    sim: Sim,
    house: Arc<House>,
}

struct House {
    residents: Vec<(&'static Character, ActorRef)>,
    file: Option<StateFile>,
    key: Arc<SimKey>,
    saving: Mutex<()>,
    answered: Mutex<HashMap<String, u32>>,
}

impl Neighbour {
    /// Listens; nothing is said before [`Neighbour::live`].
    pub async fn start(config: &NeighbourConfig) -> anyhow::Result<Self> {
        let file = config.state.as_deref().map(StateFile::at);
        let state = file
            .as_ref()
            .map_or_else(|| Ok(State::default()), StateFile::load)?;
        let key = tokio::task::spawn_blocking({
            let pem = state.key_pem.clone();
            move || SimKey::from_pem(&pem).unwrap_or_else(SimKey::generate)
        });
        let key = Arc::new(key.await.context("making a key failed")?);
        let mut resolve = config.resolve.clone();
        if let (Some(name), Some(port)) = (
            config.tidegate.host_str(),
            config.tidegate.port_or_known_default(),
        ) {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            if name != "localhost" {
                resolve.entry(name.to_owned()).or_insert(address);
            }
        }
        let sim = Sim::start(SimConfig {
            listen: config.listen,
            resolve,
            keys: vec![Arc::clone(&key)],
            ..SimConfig::default()
        })
        .await?;
        let house = Arc::new(House::furnish(&sim, &config.name, file, key, &state)?);
        let neighbour = Self { sim, house };
        neighbour.save();
        tracing::info!(
            address = %neighbour.sim.address(), host = %config.name, tidegate = %config.tidegate,
            "neighbour server is up"
        );
        Ok(neighbour)
    }

    /// The simulator underneath.
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// Handles that can be followed.
    pub fn handles(&self) -> Vec<String> {
        self.house
            .residents
            .iter()
            .map(|(_, who)| who.handle())
            .collect()
    }

    /// Talks until `stop` is done.
    pub async fn live(&self, pause: Duration, stop: impl Future<Output = ()>) {
        let mut events = self.sim.events();
        let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + pause, pause);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut busy = JoinSet::new();
        let mut round = 0;
        tokio::pin!(stop);
        loop {
            while busy.len() >= BUSY {
                busy.join_next().await;
            }
            tokio::select! {
                () = &mut stop => break,
                Some(_) = busy.join_next() => {}
                _ = clock.tick() => {
                    let neighbour = self.clone();
                    busy.spawn(async move { neighbour.muse(round).await });
                    round += 1;
                }
                event = events.recv() => match event {
                    Ok(entry) => {
                        let neighbour = self.clone();
                        busy.spawn(async move { neighbour.react(&entry).await });
                    }
                    Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "too much to answer"),
                    Err(RecvError::Closed) => break,
                },
            }
        }
        self.sim.shutdown().await;
    }

    /// One resident at a time has something to say to its followers.
    async fn muse(&self, round: u64) {
        let residents = &self.house.residents;
        let (character, who) = &residents[(round % residents.len() as u64) as usize];
        let lonely = self
            .sim
            .followers(who)
            .is_ok_and(|followers| followers.is_empty());
        if lonely || round / residents.len() as u64 >= MOST_MUSINGS {
            return;
        }
        let text = character.muse(crate::sim::fresh_number());
        match self.sim.post(who, &spec(&text)).await {
            Ok(posted) => {
                let (inboxes, taken) = (posted.sent.deliveries.len(), posted.sent.all_taken());
                tracing::info!(actor = %who.username, inboxes, taken, "posted");
            }
            Err(error) => tracing::warn!(%error, actor = %who.username, "could not post"),
        }
    }

    async fn react(&self, entry: &Entry) {
        let Some(activity) = entry.json() else { return };
        let result = match activity["type"].as_str() {
            Some("Follow") => self.welcome(&activity).await,
            Some("Undo" | "Block" | "Reject") => {
                self.save();
                Ok(())
            }
            Some("Create") => self.converse(&activity).await,
            _ => Ok(()),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "gave up on an answer");
        }
    }

    async fn welcome(&self, follow: &Value) -> Result<(), SimError> {
        let (Some(sender), Some(target)) =
            (text_or_id(&follow["actor"]), text_or_id(&follow["object"]))
        else {
            return Ok(());
        };
        let Some((character, who)) = self.resident(target) else {
            return Ok(());
        };
        let is_new = !self.sim.followers(who)?.contains_key(sender);
        let mut accepted = false;
        for attempt in 0..TRIES {
            match self.sim.accept(who, follow).await {
                Ok(sent) => accepted = sent.all_taken(),
                Err(SimError::Transport { .. } | SimError::Document { .. }) => {}
                Err(error) => return Err(error),
            }
            if accepted {
                break;
            }
            pause_before(attempt).await;
        }
        self.save();
        tracing::info!(actor = %who.username, follower = %sender, accepted, "answered a follow");
        if is_new && accepted {
            self.say(who, &spec(character.welcome)).await?;
        }
        Ok(())
    }

    /// Likes replies to a resident's posts and answers posts that mention one.
    async fn converse(&self, create: &Value) -> Result<(), SimError> {
        let note = &create["object"];
        let (Some(id), Some(author)) = (note["id"].as_str(), text_or_id(&create["actor"])) else {
            return Ok(());
        };
        let own_house = self
            .house
            .residents
            .iter()
            .any(|(_, who)| who.uri == author);
        if own_house {
            return Ok(());
        }
        for (character, who) in &self.house.residents {
            let replied = text_or_id(&note["inReplyTo"]).unwrap_or_default();
            if replied
                .strip_prefix(&who.uri)
                .is_some_and(|rest| rest.starts_with('/'))
            {
                let liked = self.sim.like(who, id, author).await?;
                tracing::info!(actor = %who.username, taken = liked.all_taken(), "liked a reply");
            }
            let mentioned = one_or_many(&note["tag"])
                .iter()
                .any(|tag| tag["href"] == who.uri.as_str());
            if mentioned && self.may_answer(author) {
                let public = [&note["to"], &note["cc"]].into_iter().any(has_public);
                let visibility = if public {
                    Visibility::Unlisted
                } else {
                    Visibility::Direct
                };
                let text = character.answer(crate::sim::fresh_number());
                let remote = self.sim.lookup(who, author).await?;
                let link = format!(
                    "<a href=\"{author}\" class=\"u-url mention\">@{}</a>",
                    escaped(&remote.username)
                );
                let html = format!("<p>{link} {text}</p>");
                let answer = PostSpec::with(&html, visibility)
                    .mention(author)
                    .reply_to(id);
                self.say(who, &answer).await?;
                tracing::info!(actor = %who.username, "answered a mention");
            }
        }
        Ok(())
    }

    /// Posts, and insists where the post was not taken.
    async fn say(&self, who: &ActorRef, post: &PostSpec) -> Result<(), SimError> {
        let posted = self.sim.post(who, post).await?;
        let mut open = refused(posted.sent);
        for attempt in 0..TRIES {
            if open.is_empty() {
                return Ok(());
            }
            pause_before(attempt).await;
            open = refused(self.sim.repeat(who, &posted.note, open).await?);
        }
        tracing::warn!(note = %posted.note, inboxes = open.len(), "a post was not taken everywhere");
        Ok(())
    }

    fn may_answer(&self, author: &str) -> bool {
        /// Accounts counted; more than ever talk to a neighbour on a laptop.
        const COUNTED: usize = 10_000;
        let mut answered = self
            .house
            .answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if answered.len() >= COUNTED && !answered.contains_key(author) {
            return false;
        }
        let count = answered.entry(author.to_owned()).or_default();
        *count += 1;
        *count <= MOST_ANSWERS
    }

    fn resident(&self, uri: &str) -> Option<&(&'static Character, ActorRef)> {
        self.house.residents.iter().find(|(_, who)| who.uri == uri)
    }

    fn save(&self) {
        let Some(file) = &self.house.file else { return };
        let _one_at_a_time = self
            .house
            .saving
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let residents = self.house.residents.iter();
        let followers = residents
            .filter_map(|(_, who)| Some((who.username.clone(), self.sim.followers(who).ok()?)))
            .collect();
        let state = State {
            key_pem: self.house.key.private_pem(),
            followers,
        };
        if let Err(error) = file.save(&state) {
            tracing::error!(
                error = format!("{error:#}"),
                "followers will be forgotten at a restart"
            );
        }
    }
}

impl House {
    fn furnish(
        sim: &Sim,
        name: &str,
        file: Option<StateFile>,
        key: Arc<SimKey>,
        state: &State,
    ) -> anyhow::Result<Self> {
        // Follows are accepted by the neighbour itself, with patience.
        sim.add_host(
            name,
            HostBehaviour {
                auto_accept: false,
                second_try: true,
                ..HostBehaviour::default()
            },
        );
        let mut residents = Vec::new();
        for character in &CHARACTERS {
            let spec = ActorSpec {
                shared_inbox: true,
                name: character.name.to_owned(),
                summary: character.summary.to_owned(),
                bot: true,
                ..ActorSpec::default()
            };
            let who = sim.add_actor_with(name, character.username, spec);
            for (follower, recipient) in state
                .followers
                .get(character.username)
                .into_iter()
                .flatten()
            {
                sim.set_follower(&who, follower, recipient.clone())?;
            }
            residents.push((character, who));
        }
        Ok(Self {
            residents,
            file,
            key,
            saving: Mutex::default(),
            answered: Mutex::default(),
        })
    }
}

fn spec(text: &str) -> PostSpec {
    let hashtags = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix('#'));
    PostSpec {
        hashtags: hashtags.map(str::to_owned).collect(),
        ..PostSpec::public(&format!("<p>{}</p>", escaped(text)))
    }
}

fn refused(sent: Sent) -> Vec<String> {
    let failed = |delivery: &Delivery| !(200..300).contains(&delivery.status);
    sent.deliveries
        .into_iter()
        .filter(failed)
        .map(|delivery| delivery.inbox)
        .collect()
}

async fn pause_before(attempt: u32) {
    tokio::time::sleep(Duration::from_secs(1 << attempt.min(6))).await;
}

fn text_or_id(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["id"].as_str())
}

/// Many servers write a list of one without the list.
fn one_or_many(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        Value::Null => &[],
        value => std::slice::from_ref(value),
    }
}

fn has_public(audience: &Value) -> bool {
    one_or_many(audience).iter().any(|uri| uri == PUBLIC)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_one_may_come_without_the_list() {
        assert!(has_public(&json!(PUBLIC)) && has_public(&json!(["x", PUBLIC])));
        assert!(!has_public(&json!(null)) && !has_public(&json!([])));
        assert_eq!(one_or_many(&json!({ "href": "x" })).len(), 1);
    }

    #[test]
    fn what_is_said_is_escaped_and_its_hashtags_are_found() {
        let post = spec("tea & fish <3 #weather");
        assert_eq!(post.html, "<p>tea &amp; fish &lt;3 #weather</p>");
        assert_eq!(post.hashtags, ["weather"]);
    }
}
