//! What simulated actors do: every action builds an activity, signs it and delivers it once.
//! Nothing is repeated here but for a second try in the other scheme; a test sees each status.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::Full;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::{RemoteActor, Sim, inbox::id_of};
use crate::{
    documents::with_context,
    error::SimError,
    signature::{Scheme, making},
    transport::Answer,
    world::{Actor, ActorRef, FollowState, Following, Recipient},
};

/// What is asked for, and accepted, when documents are fetched.
const ACCEPT: &str = r#"application/activity+json, application/ld+json; profile="https://www.w3.org/ns/activitystreams""#;

/// How the simulator introduces itself; some servers refuse requests without.
const USER_AGENT: &str = concat!("tidegate-loadtest/", env!("CARGO_PKG_VERSION"));

/// Deliveries of one activity in flight at once.
const AT_ONCE: usize = 16;

/// One request of one activity.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// Where it went.
    pub inbox: String,
    /// The status it met; 0 when there was no answer.
    pub status: u16,
    /// Why there was none.
    pub error: Option<String>,
}

/// An activity that was sent.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    /// Its id.
    pub activity: String,
    /// Where it went, and what came back.
    pub deliveries: Vec<Delivery>,
}

impl Sent {
    /// Whether every inbox took it.
    pub fn all_taken(&self) -> bool {
        self.deliveries
            .iter()
            .all(|delivery| (200..300).contains(&delivery.status))
    }
}

/// A number for ids that was not used before, in this run or an earlier one.
pub(crate) fn fresh_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = since.as_micros() as u64;
    let advance = |last: u64| Some(now.max(last + 1));
    let before = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance);
    now.max(before.unwrap_or_default() + 1)
}

impl Sim {
    /// Follows somebody; the Accept arrives later, see [`Sim::following`].
    pub async fn follow(&self, who: &ActorRef, target: &str) -> Result<Sent, SimError> {
        let actor = self.shared.world.actor(who)?;
        let id = format!("{}#follows/{}", who.uri, fresh_number());
        let following = Following {
            activity: id.clone(),
            state: FollowState::Requested,
        };
        actor
            .social()
            .following
            .insert(target.to_owned(), following);
        self.send_to(who, target, follow_activity(who, &id, target))
            .await
    }

    /// Takes a follow back.
    pub async fn unfollow(&self, who: &ActorRef, target: &str) -> Result<Sent, SimError> {
        let known = self
            .shared
            .world
            .actor(who)?
            .social()
            .following
            .remove(target);
        let id = known.map_or_else(|| format!("{}#follows/unknown", who.uri), |it| it.activity);
        self.undo(who, target, follow_activity(who, &id, target))
            .await
    }

    /// Accepts a Follow (as it came in) and keeps its sender as a follower.
    pub async fn accept(&self, who: &ActorRef, follow: &Value) -> Result<Sent, SimError> {
        let actor = self.shared.world.actor(who)?;
        let sender = sender_of(follow)?;
        let remote = self.lookup(who, &sender).await?;
        actor
            .social()
            .followers
            .insert(sender.clone(), remote.recipient.clone());
        self.answer_follow(who, "Accept", &sender, follow).await
    }

    /// Rejects a Follow, also one that was accepted before.
    pub async fn reject(&self, who: &ActorRef, follow: &Value) -> Result<Sent, SimError> {
        let actor = self.shared.world.actor(who)?;
        let sender = sender_of(follow)?;
        actor.social().followers.remove(&sender);
        self.answer_follow(who, "Reject", &sender, follow).await
    }

    async fn answer_follow(
        &self,
        who: &ActorRef,
        kind: &str,
        sender: &str,
        follow: &Value,
    ) -> Result<Sent, SimError> {
        let mut object = follow.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("@context");
        }
        self.send_to(who, sender, activity(who, kind, &object))
            .await
    }

    /// Likes a post; goes to its author.
    pub async fn like(&self, who: &ActorRef, object: &str, author: &str) -> Result<Sent, SimError> {
        self.send_to(who, author, activity(who, "Like", &json!(object)))
            .await
    }

    /// Blocks somebody.
    pub async fn block(&self, who: &ActorRef, target: &str) -> Result<Sent, SimError> {
        self.shared
            .world
            .actor(who)?
            .social()
            .followers
            .remove(target);
        self.send_to(who, target, activity(who, "Block", &json!(target)))
            .await
    }

    /// Undoes an activity: sends it, inlined, to the one it went to.
    pub async fn undo(
        &self,
        who: &ActorRef,
        target: &str,
        undone: Value,
    ) -> Result<Sent, SimError> {
        self.send_to(who, target, activity(who, "Undo", &undone))
            .await
    }

    /// Sends any activity to the own inbox of an actor, which is looked up first.
    pub async fn send_to(
        &self,
        who: &ActorRef,
        target: &str,
        activity: Value,
    ) -> Result<Sent, SimError> {
        let remote = self.lookup(who, target).await?;
        self.deliver(who, &activity, vec![remote.recipient.inbox.clone()])
            .await
    }

    /// A foreign actor as this actor's host sees it.
    pub async fn lookup(&self, who: &ActorRef, uri: &str) -> Result<Arc<RemoteActor>, SimError> {
        let host = self.shared.world.host(&who.host);
        let host = host.ok_or_else(|| SimError::Unknown(who.host.clone()))?;
        self.remote_actor(&host.instance, uri).await
    }

    /// The actor URI behind `user@host`, by WebFinger.
    pub async fn finger(&self, who: &ActorRef, handle: &str) -> Result<String, SimError> {
        let handle = handle.trim_start_matches('@');
        let (_, domain) = handle
            .rsplit_once('@')
            .ok_or_else(|| SimError::Url(handle.to_owned()))?;
        let resource: String =
            url::form_urlencoded::byte_serialize(format!("acct:{handle}").as_bytes()).collect();
        let url = format!("http://{domain}/.well-known/webfinger?resource={resource}");
        let actor = self.shared.world.actor(who)?;
        let answer = self.signed_get(&actor, &url).await?;
        let unusable = |reason: String| SimError::Document {
            url: url.clone(),
            reason,
        };
        if !answer.is_success() {
            return Err(unusable(format!("status {}", answer.status)));
        }
        let document = answer
            .json()
            .ok_or_else(|| unusable("not JSON".to_owned()))?;
        let links = document["links"].as_array().cloned().unwrap_or_default();
        let link = links
            .iter()
            .find(|link| link["rel"] == "self")
            .and_then(|link| link["href"].as_str());
        link.map(str::to_owned)
            .ok_or_else(|| unusable("no self link".to_owned()))
    }

    /// A GET of anything, signed by an actor.
    pub async fn get_as(&self, who: &ActorRef, url: &str) -> Result<Answer, SimError> {
        let actor = self.shared.world.actor(who)?;
        self.signed_get(&actor, url).await
    }

    pub(super) async fn signed_get(&self, asking: &Actor, url: &str) -> Result<Answer, SimError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        self.signed(asking, Method::GET, url, headers, Bytes::new())
            .await
    }

    /// POSTs an activity, signed by `who`, straight to an inbox, whatever it says.
    pub async fn hit_inbox_as(
        &self,
        who: &ActorRef,
        inbox: &str,
        activity: &Value,
    ) -> Result<Answer, SimError> {
        let actor = self.shared.world.actor(who)?;
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/activity+json"),
        );
        self.signed(
            &actor,
            Method::POST,
            inbox,
            headers,
            Bytes::from(activity.to_string()),
        )
        .await
    }

    /// Delivers an activity to inboxes, each once; repeated ones are sent once.
    pub async fn deliver(
        &self,
        who: &ActorRef,
        activity: &Value,
        mut inboxes: Vec<String>,
    ) -> Result<Sent, SimError> {
        self.shared.world.actor(who)?;
        inboxes.sort_unstable();
        inboxes.dedup();
        let deliveries = stream::iter(inboxes).map(|inbox| async move {
            match self.hit_inbox_as(who, &inbox, activity).await {
                Ok(answer) => Delivery {
                    inbox,
                    status: answer.status,
                    error: None,
                },
                Err(error) => Delivery {
                    inbox,
                    status: 0,
                    error: Some(error.to_string()),
                },
            }
        });
        let deliveries = deliveries.buffer_unordered(AT_ONCE).collect().await;
        let id = activity["id"].as_str().unwrap_or_default().to_owned();
        Ok(Sent {
            activity: id,
            deliveries,
        })
    }

    /// Signs in the scheme of the actor's host, with a second try where the host does that.
    async fn signed(
        &self,
        actor: &Actor,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, SimError> {
        let host = self.shared.world.host(&actor.who.host);
        let habits = host
            .map(|host| host.behaviour().habits.clone())
            .unwrap_or_default();
        let scheme = habits.signs_with;
        let answer = self
            .signed_with(scheme, actor, &method, url, headers.clone(), body.clone())
            .await?;
        if habits.second_try && matches!(answer.status, 400 | 401) {
            return self
                .signed_with(scheme.other(), actor, &method, url, headers, body)
                .await;
        }
        Ok(answer)
    }

    async fn signed_with(
        &self,
        scheme: Scheme,
        actor: &Actor,
        method: &Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, SimError> {
        let key = self.shared.world.key(actor).await;
        let plan = making::Plan::honest(scheme, key, actor.who.key_id());
        let headers = Self::sign_only(plan, method, url, headers, body.clone()).await?;
        self.send_prepared(method.clone(), url, headers, body).await
    }

    /// Adds Host and the signature, off the async threads.
    pub(super) async fn sign_only(
        plan: making::Plan,
        method: &Method,
        url: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<HeaderMap, SimError> {
        let place = Place::of(url)?;
        place.add_host(&mut headers)?;
        let method = method.clone();
        let signing = tokio::task::spawn_blocking(move || {
            let host = headers
                .get(header::HOST)
                .and_then(|value| value.to_str().ok());
            let host = host.unwrap_or_default().to_owned();
            let parts = (
                &method,
                place.scheme.as_str(),
                host.as_str(),
                place.target.as_str(),
            );
            making::sign(&plan, parts, &mut headers, &body).map(|()| headers)
        });
        Ok(signing.await.expect("signing cannot panic")?)
    }

    /// Sends a request whose headers are finished but for Host and User-Agent.
    pub(super) async fn send_prepared(
        &self,
        method: Method,
        url: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, SimError> {
        let place = Place::of(url)?;
        place.add_host(&mut headers)?;
        if !headers.contains_key(header::USER_AGENT) {
            headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        }
        let uri = format!("{}://{}{}", place.scheme, place.authority, place.target);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Full::new(body));
        let mut request = request.map_err(|_| SimError::Url(url.to_owned()))?;
        *request.headers_mut() = headers;
        let _place = self.shared.outgoing.acquire().await.expect("never closed");
        self.shared.transport.send(request).await
    }

    /// Inboxes of all followers of an actor, shared ones where they have any.
    pub(super) fn follower_inboxes(actor: &Actor) -> Vec<String> {
        actor
            .social()
            .followers
            .values()
            .map(Recipient::preferred)
            .map(str::to_owned)
            .collect()
    }
}

/// The parts of a URL that a request is made of.
struct Place {
    scheme: String,
    authority: String,
    target: String,
}

impl Place {
    fn of(url: &str) -> Result<Self, SimError> {
        let bad_url = || SimError::Url(url.to_owned());
        let parsed = Url::parse(url).map_err(|_| bad_url())?;
        let name = parsed.host_str().ok_or_else(bad_url)?;
        let port = parsed
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let query = parsed
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        Ok(Self {
            scheme: parsed.scheme().to_owned(),
            authority: format!("{name}{port}"),
            target: format!("{}{query}", parsed.path()),
        })
    }

    fn add_host(&self, headers: &mut HeaderMap) -> Result<(), SimError> {
        if !headers.contains_key(header::HOST) {
            let value = HeaderValue::try_from(&self.authority);
            let value = value.map_err(|_| SimError::Url(self.authority.clone()))?;
            headers.insert(header::HOST, value);
        }
        Ok(())
    }
}

/// An activity with a fresh id, without addressing.
pub(super) fn activity(who: &ActorRef, kind: &str, object: &Value) -> Value {
    let path = kind.to_ascii_lowercase();
    with_context(json!({
        "id": format!("{}#{path}s/{}", who.uri, fresh_number()),
        "type": kind,
        "actor": who.uri,
        "object": object,
    }))
}

fn follow_activity(who: &ActorRef, id: &str, target: &str) -> Value {
    with_context(json!({ "id": id, "type": "Follow", "actor": who.uri, "object": target }))
}

fn sender_of(follow: &Value) -> Result<String, SimError> {
    let sender = id_of(&follow["actor"]).map(str::to_owned);
    sender.ok_or_else(|| SimError::Url("actor of a Follow".to_owned()))
}
