//! The inbox (design section 8). In this order: size, shape, signature over the exact bytes, the
//! key's origin is the actor's, the key is right; only then is anything written or queued.

mod envelope;
mod share;
mod unverified;

use std::{sync::LazyLock, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, Method, StatusCode, Uri},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tidegate_federation::signature::{
    KeyId, RequestParts, SignatureError, SignedRequest, verify_within,
};
use tidegate_model::{Message, host_of, same_origin};
use tidegate_queue::Outgoing;
use tidegate_store::accounts::{self, Account};
use tidegate_telemetry::prometheus::IntCounterVec;
use tokio::sync::Semaphore;

use crate::{
    error::{ApiError, ApiResult},
    state::{ApiOptions, App},
};
use envelope::Envelope;
use share::Shares;

/// What Mastodon takes, too.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A peer that takes longer to send its body has gone; ours give up after ten seconds too.
const BODY_TIME_LIMIT: Duration = Duration::from_secs(10);

/// The queue has time-outs of its own; this one is for their sum.
const PUBLISH_TIME_LIMIT: Duration = Duration::from_secs(15);

/// The longest a request waits for its turn to be verified.
const VERIFY_WAIT: Duration = Duration::from_secs(5);

/// A key that fails is looked up again when what we know is older than this; younger than this
/// the signature is simply wrong.
const REFRESH_AFTER: time::Duration = time::Duration::hours(1);

static TAKEN: LazyLock<IntCounterVec> = tidegate_telemetry::counter!(
    "tidegate_api_inbox_total",
    "Activities that arrived at the inbox, by what became of them.",
    ["outcome"]
);

/// What all inbox requests of this process share.
pub(crate) struct Inbox {
    verifier: Semaphore,
    shares: Shares,
}

impl Inbox {
    /// Sized by the operator.
    pub(crate) fn new(options: &ApiOptions) -> Self {
        Self {
            verifier: Semaphore::new(options.verify_permits.max(1)),
            shares: Shares::default(),
        }
    }

    /// Runs a verification on a blocking thread, when one of the permits is free.
    pub(super) async fn on_verifier<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> ApiResult<T> {
        let permit = tokio::time::timeout(VERIFY_WAIT, self.verifier.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(ApiError::unavailable());
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| ApiError::internal(&error))
    }
}

/// What became of an activity that was not refused.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// Verified and queued.
    Queued,
    /// Its key is not known: it waits for it.
    Waiting,
    /// Somebody whom nobody here knows is gone: nothing to do.
    Dropped,
}

impl Outcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Dropped => "dropped",
        }
    }
}

/// `POST /inbox`, `POST /actor/inbox`.
pub(super) async fn shared(State(app): State<App>, request: Request) -> ApiResult<StatusCode> {
    counted(take(&app, request).await)
}

/// `POST /users/:name/inbox`. Whom an activity concerns is in the activity; the name only has
/// to be somebody's.
pub(super) async fn personal(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
) -> ApiResult<StatusCode> {
    let owner: Option<bool> = sqlx::query_scalar(
        "select deleted_at is not null from accounts
         where lower(username) = lower($1) and lower(coalesce(domain, '')) = ''",
    )
    .bind(&name)
    .fetch_optional(&app.deps.pool)
    .await?;
    match owner {
        None => Err(ApiError::not_found()),
        Some(true) => Err(ApiError::new(StatusCode::GONE, "This account is gone")),
        Some(false) => counted(take(&app, request).await),
    }
}

fn counted(result: ApiResult<Outcome>) -> ApiResult<StatusCode> {
    let label = match &result {
        Ok(outcome) => outcome.label(),
        Err(error) if error.status().is_server_error() => "unavailable",
        Err(_) => "refused",
    };
    TAKEN.with_label_values(&[label]).inc();
    result.map(|_| StatusCode::ACCEPTED)
}

/// What is left of a request once its body was read.
struct Arrived {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

async fn take(app: &App, request: Request) -> ApiResult<Outcome> {
    let (parts, body) = request.into_parts();
    let arrived = Arrived {
        body: read(&parts.headers, body).await?,
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
    };
    let envelope = Envelope::read(&arrived.body)?;
    if envelope.is_departure() && !is_known(app, &envelope.actor).await? {
        return Ok(Outcome::Dropped);
    }
    let signed = SignedRequest::parse(&RequestParts {
        method: &arrived.method,
        path_and_query: path_and_query(&arrived.uri),
        base: &app.base,
        headers: &arrived.headers,
        body: &arrived.body,
    })
    .map_err(|error| unproven(&error))?;
    // Needs no key, so that a stranger's old request is refused before anything is written.
    signed
        .check_time(app.deps.clock.now(), app.options.signature_window)
        .map_err(|error| unproven(&error))?;
    let us = &app.deps.instance;
    let key = KeyId::parse(signed.key_id(), us, app.options.allow_plain_http)
        .map_err(|error| unproven(&error))?;
    if !same_origin(key.document.as_str(), &envelope.actor) {
        return Err(unproven(&"the key is of another origin than the actor"));
    }
    let Some(account) = accounts::by_key_id(&app.deps.pool, signed.key_id()).await? else {
        return unverified::keep(app, &arrived, &key).await;
    };
    if account.uri != envelope.actor {
        return Err(unproven(&"the key belongs to another actor"));
    }
    // A suspended actor may still take back what it did (R13).
    if account.suspended_at.is_some() && !envelope.takes_back() {
        return Err(ApiError::forbidden("This account is suspended here"));
    }
    proven(app, arrived, signed, &key, &account).await
}

/// Decides about an activity whose key is known.
async fn proven(
    app: &App,
    arrived: Arrived,
    signed: SignedRequest,
    key: &KeyId,
    account: &Account,
) -> ApiResult<Outcome> {
    let now = app.deps.clock.now();
    let window = app.options.signature_window;
    let pem = account.public_key_pem.clone();
    let verdict = app
        .inbox
        .on_verifier(move || verify_within(&signed, &pem, now, window))
        .await?;
    if let Err(error) = verdict {
        let is_old = account
            .fetched_at
            .is_none_or(|fetched_at| now - fetched_at > REFRESH_AFTER);
        // Only what another key could cure waits for one.
        return match error {
            SignatureError::Invalid | SignatureError::Algorithm | SignatureError::Key(_)
                if is_old =>
            {
                unverified::keep_suspect(app, &arrived, key).await
            }
            other => Err(unproven(&other)),
        };
    }
    let host = host_of(&account.uri).map_err(|error| unproven(&error))?;
    let share = app.inbox.shares.take(host).await;
    let _share = share.ok_or_else(ApiError::too_many)?;
    if unverified::has_waiting(app, key).await? {
        // It is proven; that it is too large to wait is not its sender's mistake.
        return match unverified::keep(app, &arrived, key).await {
            Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(ApiError::unavailable())
            }
            kept => kept,
        };
    }
    publish(app, account.id, &arrived.body).await
}

async fn publish(app: &App, account_id: i64, body: &Bytes) -> ApiResult<Outcome> {
    // JSON was read from these bytes, so they are UTF-8.
    let body = String::from_utf8(body.to_vec())
        .map_err(|_| ApiError::bad_request("The body is not UTF-8"))?;
    let outgoing = Outgoing {
        queue: app.deps.queues.inbound(),
        message: Message::Inbound {
            account_id,
            body,
            received_at: app.deps.clock.now().unix_timestamp(),
        },
    };
    let results = tokio::time::timeout(PUBLISH_TIME_LIMIT, app.deps.queue.publish(vec![outgoing]))
        .await
        .map_err(|_| ApiError::unavailable())?;
    match results.into_iter().next() {
        Some(Ok(())) => Ok(Outcome::Queued),
        // Whatever the broker's trouble is, the peer tries again.
        Some(Err(error)) => {
            tracing::warn!(%error, "an activity was sent back because it could not be queued");
            Err(ApiError::unavailable())
        }
        None => Err(ApiError::unavailable()),
    }
}

async fn read(headers: &HeaderMap, body: Body) -> ApiResult<Bytes> {
    let announced = headers
        .get(axum::http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(ApiError::too_large());
    }
    let limited = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIME_LIMIT, limited).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large()),
        Ok(Err(_)) => Err(ApiError::bad_request("The body could not be read")),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "The body took too long",
        )),
    }
}

/// Whether the actor is somebody here. One that is gone is not: its key went with it, and a
/// repeat of its departure would have it looked for again.
async fn is_known(app: &App, actor: &str) -> ApiResult<bool> {
    Ok(sqlx::query_scalar(
        "select exists (select 1 from accounts where uri = $1 and deleted_at is null)",
    )
    .bind(actor)
    .fetch_one(&app.deps.pool)
    .await?)
}

/// 401, so that a sender with two schemes tries the other one.
fn unproven(why: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        format!("Request not signed or not believed: {why}"),
    )
}

/// The request line's path and query: what was signed.
pub(super) fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query()
        .map_or("/", axum::http::uri::PathAndQuery::as_str)
}
