//! What a simulated host does with a request: judge, write down, take effect, answer.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Sim,
    answer::{self, ACTIVITY_JSON, Body},
    server::{Arrived, Outcome},
};
use crate::{
    behaviour::{Fault, HostBehaviour, SignaturePolicy},
    documents,
    ledger::{ActivityHead, Entry},
    signature::verdict::{Verdict, scheme_of},
    world::{Actor, FollowState, Host},
};

impl Sim {
    /// Handles one request from arrival to answer.
    pub(super) async fn handle(&self, arrived: Arrived) -> Outcome {
        let Some(host) = self.shared.world.host(&arrived.host) else {
            let status = self.shared.strangers;
            self.write_down(&arrived, None, Verdict::Unsigned, status.as_u16(), false);
            return Outcome::Answer(answer::status(status));
        };
        let active = host.behaviour();
        let _visit = host.visits.enter();
        let latency = active.next_latency();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if arrived.method == Method::POST {
            let is_checked = active.checks_next();
            let fault = active.next_inbox();
            self.delivery(&host, &active.habits, (fault, is_checked), arrived)
                .await
        } else {
            let fault = active.next_document();
            self.document(&host, &active.habits, &fault, arrived).await
        }
    }

    async fn delivery(
        &self,
        host: &Host,
        habits: &HostBehaviour,
        (fault, is_checked): (Fault, bool),
        arrived: Arrived,
    ) -> Outcome {
        let fault = &fault;
        let body: Option<Value> = serde_json::from_slice(&arrived.body).ok();
        let activity = body.as_ref().and_then(|body| head(body, &arrived.body));
        let actor = activity.as_ref().map(|activity| activity.actor.clone());
        let verdict = match scheme_of(&arrived.view()) {
            Some(scheme) if !is_checked => Verdict::Unchecked { scheme },
            _ => {
                self.judge(&host.instance, &arrived.view(), actor.as_deref())
                    .await
            }
        };
        let mut status = if activity.is_none() {
            StatusCode::BAD_REQUEST
        } else if !inbox_exists(host, &arrived.target) {
            StatusCode::NOT_FOUND
        } else if refused(habits, &verdict) {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::ACCEPTED
        };
        let mut permit = None;
        let mut effect = status == StatusCode::ACCEPTED && fault.takes_effect();
        if effect {
            permit = Arc::clone(&self.shared.follow_ups).try_acquire_owned().ok();
            if permit.is_none() {
                (status, effect) = (StatusCode::SERVICE_UNAVAILABLE, false);
            }
        }
        let seen = seen_status(fault, status);
        let entry = self.write_down(&arrived, activity, verdict, seen, effect);
        if let (Some(body), Some(permit)) = (body, permit) {
            self.take_effect(host, habits, &body, permit);
            // Nobody listening is the usual case.
            let _ = self.shared.events.send(entry);
        }
        answer::bend(answer::status(status), fault).await
    }

    fn write_down(
        &self,
        arrived: &Arrived,
        activity: Option<ActivityHead>,
        verdict: Verdict,
        status: u16,
        effect: bool,
    ) -> Arc<Entry> {
        self.shared.ledger.record(Entry {
            seq: 0,
            at: arrived.at,
            method: arrived.method.clone(),
            host: arrived.host.as_str().into(),
            path: arrived.target.clone(),
            headers: arrived.headers.clone(),
            body_bytes: arrived.body.len(),
            body: arrived.body.clone(),
            activity,
            verdict,
            status,
            effect,
        })
    }

    /// The consequences that a follow-up task has elsewhere start here; everything local
    /// happens before the answer.
    fn take_effect(
        &self,
        host: &Host,
        habits: &HostBehaviour,
        activity: &Value,
        permit: OwnedSemaphorePermit,
    ) {
        let sender = id_of(&activity["actor"]).unwrap_or_default().to_owned();
        let object = &activity["object"];
        match activity["type"].as_str().unwrap_or_default() {
            "Follow" => {
                let Some(target) = id_of(object).and_then(|uri| local_actor(host, uri)) else {
                    return;
                };
                let (sim, follow, accept) = (self.clone(), activity.clone(), habits.auto_accept);
                self.shared.tasks.spawn(async move {
                    if accept && let Err(error) = sim.accept(&target.who, &follow).await {
                        tracing::warn!(%error, actor = %target.who.uri, "cannot accept a follow");
                    }
                    drop(permit);
                });
            }
            "Undo" if object["type"] == "Follow" || object["type"] == "Block" => {
                let target = id_of(&object["object"]).and_then(|uri| local_actor(host, uri));
                if let Some(target) = target {
                    target.social().followers.remove(&sender);
                }
            }
            "Accept" => answered(host, &sender, object, FollowState::Accepted),
            "Reject" => answered(host, &sender, object, FollowState::Rejected),
            "Block" => {
                if let Some(target) = id_of(object).and_then(|uri| local_actor(host, uri)) {
                    let mut social = target.social();
                    social.followers.remove(&sender);
                    social.following.remove(&sender);
                }
            }
            _ => {}
        }
    }

    async fn document(
        &self,
        host: &Host,
        habits: &HostBehaviour,
        fault: &Fault,
        arrived: Arrived,
    ) -> Outcome {
        let open = is_open(&arrived.target);
        let verdict = match scheme_of(&arrived.view()) {
            None => Verdict::Unsigned,
            Some(scheme) if open => Verdict::Unchecked { scheme },
            Some(_) => self.judge(&host.instance, &arrived.view(), None).await,
        };
        let healthy = if habits.signed_fetch && !open && !verdict.is_valid() {
            answer::status(StatusCode::UNAUTHORIZED)
        } else if arrived.method != Method::GET && arrived.method != Method::HEAD {
            answer::status(StatusCode::METHOD_NOT_ALLOWED)
        } else {
            self.find_document(host, &arrived.target, fault).await
        };
        let seen = seen_status(fault, healthy.status());
        self.write_down(&arrived, None, verdict, seen, false);
        answer::bend(healthy, fault).await
    }

    async fn find_document(&self, host: &Host, target: &str, fault: &Fault) -> Response<Body> {
        if let Some(document) = host.document(target) {
            let code = StatusCode::from_u16(document.status).unwrap_or(StatusCode::OK);
            let mut response = answer::with_body(code, None, document.bytes());
            for (name, value) in &document.headers {
                let parsed = (
                    http::HeaderName::try_from(name),
                    http::HeaderValue::try_from(value),
                );
                if let (Ok(name), Ok(value)) = parsed {
                    response.headers_mut().append(name, value);
                }
            }
            return response;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut found = match path {
            "/.well-known/webfinger" => {
                let pairs = url::form_urlencoded::parse(query.as_bytes());
                let resource = pairs.into_iter().find(|(name, _)| name == "resource");
                resource
                    .and_then(|(_, resource)| documents::webfinger(host, &resource))
                    .map(|value| (StatusCode::OK, "application/jrd+json", value))
            }
            "/.well-known/nodeinfo" => Some((
                StatusCode::OK,
                "application/json",
                documents::nodeinfo_links(host),
            )),
            "/nodeinfo/2.0" => Some((
                StatusCode::OK,
                "application/json",
                documents::nodeinfo(host),
            )),
            "/actor" => Some(self.actor_answer(&host.instance).await),
            _ => self.of_account(host, path, query).await,
        };
        if let (Fault::Overwrite { fields }, Some((_, _, value))) = (fault, &mut found) {
            for (name, overwritten) in fields {
                value[name] = overwritten.clone();
            }
        }
        match found {
            Some((code, content_type, value)) => answer::json(code, content_type, &value),
            None => answer::status(StatusCode::NOT_FOUND),
        }
    }

    async fn actor_answer(&self, actor: &Actor) -> (StatusCode, &'static str, Value) {
        let key = self.shared.world.key(actor).await;
        (
            StatusCode::OK,
            ACTIVITY_JSON,
            documents::actor(actor, key.public_pem()),
        )
    }

    async fn of_account(
        &self,
        host: &Host,
        path: &str,
        query: &str,
    ) -> Option<(StatusCode, &'static str, Value)> {
        let rest = path.strip_prefix("/users/")?;
        let (username, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let actor = host.actor(username)?;
        match rest {
            "" => Some(self.actor_answer(&actor).await),
            "followers" | "following" | "outbox" => {
                let pairs = url::form_urlencoded::parse(query.as_bytes());
                let page = pairs.into_iter().find(|(name, _)| name == "page");
                let page = page.map(|(_, number)| number.parse().unwrap_or(1));
                Some((
                    StatusCode::OK,
                    ACTIVITY_JSON,
                    documents::collection(&actor, rest, page),
                ))
            }
            _ => {
                let (path, is_create) = match path.strip_suffix("/activity") {
                    Some(note) => (note, true),
                    None => (path, false),
                };
                let id = format!("http://{}{path}", host.name);
                let social = actor.social();
                let note = social.notes.iter().find(|note| note.id == id)?;
                if note.deleted {
                    Some((StatusCode::GONE, ACTIVITY_JSON, documents::tombstone(&id)))
                } else if !note.public {
                    None
                } else if is_create {
                    Some((
                        StatusCode::OK,
                        ACTIVITY_JSON,
                        documents::create(&note.object),
                    ))
                } else {
                    Some((StatusCode::OK, ACTIVITY_JSON, documents::note(note)))
                }
            }
        }
    }
}

/// What the sender sees; 0 when there is no whole answer.
fn seen_status(fault: &Fault, healthy: StatusCode) -> u16 {
    match fault {
        Fault::Status { code } | Fault::Redirect { code, .. } => *code,
        Fault::TooManyRequests { .. } => 429,
        Fault::Busy { .. } => 503,
        Fault::Hang { .. } | Fault::Reset | Fault::LoseAnswer => 0,
        Fault::HugeBody { .. } | Fault::GzipBomb { .. } => 200,
        _ => healthy.as_u16(),
    }
}

fn refused(habits: &HostBehaviour, verdict: &Verdict) -> bool {
    let bad = match (habits.signatures, verdict) {
        (SignaturePolicy::Require, verdict) => !verdict.is_valid(),
        (SignaturePolicy::Sample { .. }, Verdict::Unsigned | Verdict::Invalid { .. }) => true,
        (SignaturePolicy::Sample { .. } | SignaturePolicy::RecordOnly, _) => false,
    };
    let other_scheme = match (habits.only_scheme, verdict.scheme()) {
        (Some(only), Some(used)) => only != used,
        _ => false,
    };
    bad || other_scheme
}

/// What is answered unsigned even by the strictest host: without its own instance actor
/// nobody could check its signatures.
fn is_open(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    path == "/actor" || path.starts_with("/.well-known/") || path.starts_with("/nodeinfo/")
}

fn inbox_exists(host: &Host, target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    if path == "/inbox" || path == "/actor/inbox" {
        return true;
    }
    let username = path
        .strip_prefix("/users/")
        .and_then(|rest| rest.strip_suffix("/inbox"));
    username.is_some_and(|username| host.actor(username).is_some())
}

fn local_actor(host: &Host, uri: &str) -> Option<Arc<Actor>> {
    let path = uri.strip_prefix(&format!("http://{}/", host.name))?;
    if path == "actor" {
        return Some(Arc::clone(&host.instance));
    }
    host.actor(path.strip_prefix("users/")?)
}

/// Notes what became of a Follow, if this host sent it to this sender.
fn answered(host: &Host, sender: &str, object: &Value, state: FollowState) {
    let follower = match id_of(&object["actor"]) {
        Some(uri) => local_actor(host, uri),
        // A bare id of ours names its actor before the fragment.
        None => id_of(object).and_then(|id| local_actor(host, id.split('#').next()?)),
    };
    if let Some(follower) = follower
        && let Some(following) = follower.social().following.get_mut(sender)
    {
        following.state = state;
    }
}

/// The id of something that is inlined or only named.
pub(super) fn id_of(value: &Value) -> Option<&str> {
    match value {
        Value::String(id) => Some(id),
        Value::Object(fields) => fields.get("id")?.as_str(),
        _ => None,
    }
}

/// The head of an activity; `None` for JSON that is none.
fn head(body: &Value, bytes: &Bytes) -> Option<ActivityHead> {
    let id = match body["id"].as_str() {
        Some(id) => id.into(),
        None => format!("no-id:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))).into(),
    };
    let object = match &body["object"] {
        Value::Array(objects) => objects.first().unwrap_or(&json!(null)).clone(),
        object => object.clone(),
    };
    Some(ActivityHead {
        id,
        kind: body["type"].as_str()?.to_owned(),
        actor: id_of(&body["actor"])?.to_owned(),
        object: id_of(&object).map(str::to_owned),
        object_kind: object["type"].as_str().map(str::to_owned),
    })
}
