//! The simulator by remote control: a small JSON interface over HTTP for scripts. It has no
//! authentication and belongs on loopback.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    ActorRef, ActorSpec, Document, HostBehaviour, PostSpec, RawRequest, RawSignature, Scheme, Sim,
    SimError, transport::bind,
};

/// Entries of one answer of `/ledger`.
const PAGE: usize = 1_000;

/// Actors that one request may add; each takes about a kilobyte.
const MOST_ACTORS: usize = 200_000;

/// Serves the control interface until the simulator is shut down with `stop`.
pub async fn serve(
    sim: Sim,
    listen: SocketAddr,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let listener = bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "control interface is listening");
    axum::serve(listener, router(sim))
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

/// The routes, for tests.
pub fn router(sim: Sim) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/hosts", post(add_host).put(add_host))
        .route("/actors", post(add_actor))
        .route("/actors/bulk", post(add_actors))
        .route("/act", post(act))
        .route("/raw", post(raw))
        .route("/documents", post(document))
        .route("/resolve", post(resolve))
        .route("/ledger", get(ledger).delete(clear))
        .route("/arrivals", get(arrivals))
        .route("/arrivals.csv", get(arrivals_csv))
        .route("/crowds", get(crowds).delete(disperse))
        .route("/followers", get(followers))
        .route("/following", get(following))
        .with_state(sim)
}

type Answer = Result<Json<Value>, Failure>;

struct Failure(SimError);

impl From<SimError> for Failure {
    fn from(error: SimError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = match self.0 {
            SimError::Unknown(_) => StatusCode::NOT_FOUND,
            SimError::Transport { .. } | SimError::Document { .. } => StatusCode::BAD_GATEWAY,
            _ => StatusCode::BAD_REQUEST,
        };
        (code, Json(json!({ "error": self.0.to_string() }))).into_response()
    }
}

async fn health(State(sim): State<Sim>) -> Json<Value> {
    let ledger = sim.ledger();
    Json(json!({
        "address": sim.address(), "received": ledger.len(), "effects": ledger.effect_count(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostOrder {
    host: String,
    #[serde(default)]
    behaviour: HostBehaviour,
}

async fn add_host(State(sim): State<Sim>, Json(order): Json<HostOrder>) -> Json<Value> {
    sim.add_host(&order.host, order.behaviour);
    Json(json!({ "host": order.host }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActorOrder {
    host: String,
    username: String,
    #[serde(default)]
    spec: ActorSpec,
}

async fn add_actor(State(sim): State<Sim>, Json(order): Json<ActorOrder>) -> Json<Value> {
    Json(json!(sim.add_actor_with(
        &order.host,
        &order.username,
        order.spec
    )))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkOrder {
    /// Host names are `h0.<suffix>`, `h1.<suffix>` ...
    suffix: String,
    hosts: usize,
    per_host: usize,
    #[serde(default)]
    shared_inbox: bool,
    /// Of every host; healthy when nothing is said.
    #[serde(default)]
    behaviour: HostBehaviour,
}

async fn add_actors(State(sim): State<Sim>, Json(order): Json<BulkOrder>) -> Response {
    if order.hosts.saturating_mul(order.per_host) > MOST_ACTORS {
        let error = format!("at most {MOST_ACTORS} actors at a time");
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    }
    let mut actors = Vec::new();
    for host in 0..order.hosts {
        sim.add_host(
            &format!("h{host}.{}", order.suffix),
            order.behaviour.clone(),
        );
        for user in 0..order.per_host {
            let host = format!("h{host}.{}", order.suffix);
            actors.push(
                sim.add_actor(&host, &format!("u{user}"), order.shared_inbox)
                    .uri,
            );
        }
    }
    Json(json!({ "actors": actors })).into_response()
}

/// Who does something.
#[derive(Deserialize)]
struct Who {
    host: String,
    username: String,
}

impl Who {
    fn find(&self, sim: &Sim) -> Result<ActorRef, SimError> {
        let handle = || SimError::Unknown(format!("{}@{}", self.username, self.host));
        sim.actor(&self.host, &self.username).ok_or_else(handle)
    }
}

#[derive(Deserialize)]
struct Act {
    actor: Who,
    #[serde(flatten)]
    deed: Deed,
}

/// The field `do` names the deed, its other fields stand beside it.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Deed {
    Follow {
        target: String,
    },
    Unfollow {
        target: String,
    },
    Post {
        post: PostSpec,
    },
    Update {
        note: String,
        html: String,
    },
    Delete {
        note: String,
    },
    Like {
        object: String,
        author: String,
    },
    Announce {
        object: String,
        author: String,
    },
    Block {
        target: String,
    },
    Accept {
        follow: Value,
    },
    Reject {
        follow: Value,
    },
    UpdateProfile,
    RotateKey,
    /// A handle to an actor URI.
    Finger {
        handle: String,
    },
    /// A signed GET.
    Get {
        url: String,
    },
    /// Any activity to any inbox.
    Send {
        inbox: String,
        activity: Value,
    },
}

async fn act(State(sim): State<Sim>, Json(act): Json<Act>) -> Answer {
    let who = &act.actor.find(&sim)?;
    let sent = match act.deed {
        Deed::Follow { target } => sim.follow(who, &target).await?,
        Deed::Unfollow { target } => sim.unfollow(who, &target).await?,
        Deed::Post { post } => return Ok(Json(json!(sim.post(who, &post).await?))),
        Deed::Update { note, html } => sim.update(who, &note, &html).await?,
        Deed::Delete { note } => sim.delete(who, &note).await?,
        Deed::Like { object, author } => sim.like(who, &object, &author).await?,
        Deed::Announce { object, author } => sim.announce(who, &object, &author).await?,
        Deed::Block { target } => sim.block(who, &target).await?,
        Deed::Accept { follow } => sim.accept(who, &follow).await?,
        Deed::Reject { follow } => sim.reject(who, &follow).await?,
        Deed::UpdateProfile => sim.update_profile(who).await?,
        Deed::RotateKey => {
            sim.rotate_key(who).await?;
            return Ok(Json(json!({})));
        }
        Deed::Finger { handle } => {
            return Ok(Json(json!({ "actor": sim.finger(who, &handle).await? })));
        }
        Deed::Get { url } => return Ok(Json(shown(&sim.get_as(who, &url).await?))),
        Deed::Send { inbox, activity } => {
            return Ok(Json(shown(
                &sim.hit_inbox_as(who, &inbox, &activity).await?,
            )));
        }
    };
    Ok(Json(json!(sent)))
}

fn shown(answer: &crate::Answer) -> Value {
    let body = answer
        .json()
        .unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into());
    let headers: Vec<(&str, String)> = answer
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    json!({ "status": answer.status, "headers": headers, "body": body })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOrder {
    #[serde(default = "post_method")]
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    sent_body: Option<String>,
    signature: Option<SignatureOrder>,
    #[serde(default)]
    after_signing: BTreeMap<String, String>,
}

fn post_method() -> String {
    "POST".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureOrder {
    by: Who,
    scheme: Scheme,
    key_id: Option<String>,
    covered: Option<Vec<String>>,
    /// How long ago it claims to be made, in seconds; negative is the future.
    #[serde(default)]
    age_seconds: i64,
    /// Seconds from now to its end; negative is the past.
    expires_in_seconds: Option<i64>,
    algorithm: Option<String>,
    digest_of: Option<String>,
    #[serde(default)]
    spoil: bool,
}

fn seconds_from_now(seconds: i64) -> SystemTime {
    /// Far enough for every test, near enough for every clock: a century.
    const FARTHEST: u64 = 100 * 365 * 86_400;
    let distance = Duration::from_secs(seconds.unsigned_abs().min(FARTHEST));
    let now = SystemTime::now();
    let there = if seconds < 0 {
        now.checked_sub(distance)
    } else {
        now.checked_add(distance)
    };
    there.unwrap_or(SystemTime::UNIX_EPOCH)
}

async fn raw(State(sim): State<Sim>, Json(order): Json<RawOrder>) -> Answer {
    let signature = match order.signature {
        None => None,
        Some(wanted) => Some(RawSignature {
            key_id: wanted.key_id,
            covered: wanted.covered,
            at: seconds_from_now(wanted.age_seconds.saturating_neg()),
            expires: wanted.expires_in_seconds.map(seconds_from_now),
            algorithm: wanted.algorithm,
            digest_of: wanted.digest_of.map(String::into_bytes),
            spoil: wanted.spoil,
            ..RawSignature::by(&wanted.by.find(&sim)?, wanted.scheme)
        }),
    };
    let method = order
        .method
        .parse()
        .map_err(|_| SimError::Url(order.method.clone()))?;
    let request = RawRequest {
        method,
        url: order.url,
        headers: order.headers,
        body: order.body.into(),
        sent_body: order.sent_body.map(Into::into),
        signature,
        after_signing: order.after_signing,
    };
    Ok(Json(shown(&sim.send_raw(request).await?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentOrder {
    host: String,
    path: String,
    /// Absent: back to the honest one.
    document: Option<Document>,
}

async fn document(State(sim): State<Sim>, Json(order): Json<DocumentOrder>) -> Answer {
    match order.document {
        Some(document) => sim.serve(&order.host, &order.path, document)?,
        None => sim.unserve(&order.host, &order.path),
    }
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameOrder {
    name: String,
    address: SocketAddr,
}

async fn resolve(State(sim): State<Sim>, Json(order): Json<NameOrder>) -> Json<Value> {
    sim.resolve_to(&order.name, order.address);
    Json(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerQuery {
    /// Only entries with a larger number.
    #[serde(default)]
    after: u64,
    host: Option<String>,
    /// Activity type.
    kind: Option<String>,
    method: Option<String>,
    limit: Option<usize>,
}

async fn ledger(State(sim): State<Sim>, Query(query): Query<LedgerQuery>) -> Json<Value> {
    let mut found = sim.ledger().received(|entry| {
        entry.seq > query.after
            && query.host.as_ref().is_none_or(|host| **host == *entry.host)
            && query
                .kind
                .as_ref()
                .is_none_or(|kind| entry.is_activity(kind))
            && query
                .method
                .as_ref()
                .is_none_or(|method| entry.method == method.as_str())
    });
    found.truncate(query.limit.unwrap_or(PAGE).min(PAGE));
    let entries: Vec<Value> = found.iter().map(|entry| entry.to_json()).collect();
    Json(json!({ "entries": entries, "received": sim.ledger().len() }))
}

async fn clear(State(sim): State<Sim>) -> Json<Value> {
    sim.ledger().clear();
    Json(json!({}))
}

async fn arrivals(State(sim): State<Sim>) -> Json<Value> {
    let all = sim.ledger().arrivals();
    let rows: Vec<Value> = all
        .iter()
        .map(|(arrival, counts)| json!({ "arrival": arrival, "counts": counts }))
        .collect();
    Json(json!({ "arrivals": rows }))
}

/// The same as a table, one line an arrival: a hundred thousand of them are read in a second.
async fn arrivals_csv(State(sim): State<Sim>) -> String {
    use std::fmt::Write as _;
    let mut table = "host,inbox,activity,attempts,taken,first_taken_micros\n".to_owned();
    for (arrival, counts) in sim.ledger().arrivals() {
        // Names and ids of simulated hosts hold no commas; writing into a text cannot fail.
        let _ = writeln!(
            table,
            "{},{},{},{},{},{}",
            arrival.host,
            arrival.inbox,
            arrival.activity,
            counts.attempts,
            counts.taken,
            counts.first_taken_micros
        );
    }
    table
}

/// The most requests that each host ever had in hand at once.
async fn crowds(State(sim): State<Sim>) -> Json<Value> {
    Json(json!({ "most_at_once": sim.crowds(), "handshakes": sim.handshakes() }))
}

async fn disperse(State(sim): State<Sim>) -> Json<Value> {
    sim.forget_crowds();
    Json(json!({}))
}

async fn followers(State(sim): State<Sim>, Query(who): Query<Who>) -> Answer {
    let actor = who.find(&sim)?;
    Ok(Json(json!(sim.followers(&actor)?)))
}

async fn following(State(sim): State<Sim>, Query(who): Query<Who>) -> Answer {
    let actor = who.find(&sim)?;
    Ok(Json(json!(sim.following(&actor)?)))
}
