//! One attempt at one inbox: sign, POST, and the other signature scheme when this one is
//! refused.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use moka::sync::Cache;
use tidegate_federation::ACTIVITY_JSON;
use tidegate_model::{Clock, Lane};
use tokio::time::Instant;
use url::Url;

use super::{Attempted, Gate, Reply};
use crate::egress::{Answer, EgressError, HttpClient};
use crate::engine::Activity;
use crate::metrics::{ATTEMPTS, IN_FLIGHT, REQUEST_SECONDS};
use crate::signer::{Scheme, SignError, Signer};

/// A kept connection that the other side closed meanwhile fails at once; what fails later than
/// this failed for another reason.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// What came of one POST.
type Posted = Result<Answer, EgressError>;

/// The requests of one attempt.
struct Way<'a> {
    gate: &'a mut Gate,
    /// Whether a byte of any of them may have reached the host, whatever came of the last.
    touched: &'a mut bool,
}

/// A further request of an attempt. When none was made, what came of the one before stands: it
/// was sent, and must not be taken for one that never was.
fn made(further: Result<Option<Posted>, SignError>) -> Option<Posted> {
    further.unwrap_or_else(|error| {
        tracing::warn!(%error, "a further request of an attempt could not be signed");
        None
    })
}

/// What an attempt needs. Clones share everything.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) client: HttpClient,
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
    /// Hosts that refused both schemes of an account lately: who blocks somebody means it, and is
    /// not asked twice each time.
    refusing: Cache<(String, i64), ()>,
}

/// Refusals of both schemes that are remembered; of more, the oldest are asked twice again.
const REFUSING: u64 = 10_000;

/// How long. A server that was mended is found out after this.
const REFUSING_FOR: Duration = Duration::from_hours(1);

impl Sender {
    pub(crate) fn new(client: HttpClient, signer: Signer, clock: Clock) -> Self {
        Self {
            client,
            signer,
            clock,
            refusing: Cache::builder()
                .max_capacity(REFUSING)
                .time_to_live(REFUSING_FOR)
                .build(),
        }
    }

    /// Sends the activity to the inbox at `url`, first with the scheme that its host took last.
    /// An error is about our database: nothing was decided, and the row stays as it is. `None`:
    /// the gate was closed, and nothing was sent.
    pub(crate) async fn attempt(
        &self,
        activity: &Activity,
        url: &str,
        scheme: Scheme,
        lane: Lane,
        mut gate: Gate,
    ) -> Result<Option<Attempted>, SignError> {
        let started = Instant::now();
        let Ok(url) = Url::parse(url) else {
            return Ok(Some(Attempted::failed(EgressError::BadUrl("not a URL"))));
        };
        // Refused before anything is signed or looked up.
        if let Err(error) = self.client.check(&url) {
            return Ok(Some(Attempted::failed(error)));
        }
        let mut touched = false;
        let mut way = Way {
            gate: &mut gate,
            touched: &mut touched,
        };
        let Some(first) = self.post(activity, &url, scheme, lane, &mut way).await? else {
            return Ok(None);
        };
        let (mut result, mut accepted) = (first, scheme);
        if asks_for_another(&result) && !self.refuses_both(activity, &url) {
            let other = scheme.other();
            let second = made(self.post(activity, &url, other, lane, &mut way).await);
            match second {
                Some(Ok(answer)) if answer.status.is_success() => {
                    (result, accepted) = (Ok(answer), other);
                }
                // The first answer says more than the refusal of the less usual scheme.
                Some(Ok(answer)) if answer.status.is_client_error() => {
                    self.refusing.insert(who(activity, &url), ());
                }
                _ => {}
            }
        }
        let attempted = self.finish(result, accepted, started.elapsed());
        Ok(Some(Attempted {
            touched: attempted.touched || touched,
            ..attempted
        }))
    }

    fn refuses_both(&self, activity: &Activity, url: &Url) -> bool {
        self.refusing.contains_key(&who(activity, url))
    }

    fn finish(
        &self,
        result: Result<Answer, EgressError>,
        scheme: Scheme,
        took: Duration,
    ) -> Attempted {
        match result {
            Ok(answer) => Attempted {
                accepted: answer.status.is_success().then_some(scheme),
                touched: true,
                server_date: date(&answer.headers),
                took,
                reply: Reply::Answered {
                    status: answer.status.as_u16(),
                    retry_after: self.retry_after(&answer.headers),
                },
            },
            Err(error) => Attempted {
                took,
                ..Attempted::failed(error)
            },
        }
    }

    /// One POST, and at once another when a kept connection turned out to be closed.
    async fn post(
        &self,
        activity: &Activity,
        url: &Url,
        scheme: Scheme,
        lane: Lane,
        way: &mut Way<'_>,
    ) -> Result<Option<Posted>, SignError> {
        let started = Instant::now();
        let first = self.post_once(activity, url, scheme, lane, way).await?;
        if matches!(first, Some(Err(EgressError::Broken))) && started.elapsed() < STALE_WITHIN {
            let second = self.post_once(activity, url, scheme, lane, way).await;
            return Ok(made(second).or(first));
        }
        Ok(first)
    }

    async fn post_once(
        &self,
        activity: &Activity,
        url: &Url,
        scheme: Scheme,
        lane: Lane,
        way: &mut Way<'_>,
    ) -> Result<Option<Posted>, SignError> {
        let digest = Some(activity.digest.clone());
        let signed = self
            .signer
            .sign(activity.account_id, lane, scheme, Method::POST, url, digest)
            .await;
        way.gate.signed();
        let mut headers = match signed {
            Ok(headers) => headers,
            Err(error @ SignError::Store(_)) => return Err(error),
            Err(error @ SignError::Vault(_)) => {
                tracing::error!(
                    %error, activity.id,
                    "a private key cannot be decrypted; deliveries wait until the key-encryption \
                     key is the one that it was stored with"
                );
                return Ok(Some(Err(EgressError::OwnKey)));
            }
            Err(error) => {
                tracing::error!(%error, activity.id, "an activity could not be signed");
                return Ok(Some(Err(EgressError::Signing)));
            }
        };
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(ACTIVITY_JSON),
        );
        // Signing took time, and a frozen process may wake anywhere: asked right before.
        if !way.gate.is_open() {
            return Ok(None);
        }
        let under_way = UnderWay::start(lane);
        let request = self
            .client
            .post(url.clone(), headers, activity.body.clone());
        let result = way.gate.drive(request).await;
        drop(under_way);
        let Some(result) = result else {
            // It may have left: whoever has the shard next treats it so.
            return Ok(None);
        };
        *way.touched |= result
            .as_ref()
            .map_or_else(EgressError::may_have_arrived, |_| true);
        ATTEMPTS
            .with_label_values(&[class_of(&result), lane.as_str()])
            .inc();
        Ok(Some(result))
    }

    /// `Retry-After` in either spelling.
    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(text).ok()?;
        let wait = time::OffsetDateTime::from(at) - self.clock.now();
        Some(wait.try_into().unwrap_or_default())
    }
}

/// When the other side answered, by its own clock.
fn date(headers: &HeaderMap) -> Option<time::OffsetDateTime> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text)
        .ok()
        .map(time::OffsetDateTime::from)
}

/// Who refuses whom.
fn who(activity: &Activity, url: &Url) -> (String, i64) {
    (url.authority().to_owned(), activity.account_id)
}

/// Whether an answer may be about the signature scheme rather than about us: it names what it
/// wants, or it is one that servers give for a signature that they cannot read.
fn asks_for_another(result: &Result<Answer, EgressError>) -> bool {
    let Ok(answer) = result else { return false };
    let status = answer.status.as_u16();
    matches!(status, 400 | 401 | 403)
        || (answer.status.is_client_error() && answer.headers.contains_key("accept-signature"))
}

fn class_of(result: &Result<Answer, EgressError>) -> &'static str {
    match result {
        Ok(answer) => match answer.status.as_u16() {
            200..=299 => "2xx",
            300..=399 => "3xx",
            429 => "429",
            400..=499 => "4xx",
            500..=599 => "5xx",
            _ => "other",
        },
        Err(error) => error.class(),
    }
}

/// Counts a POST for as long as it lives, and measures it.
struct UnderWay(Lane, Instant);

impl UnderWay {
    fn start(lane: Lane) -> Self {
        IN_FLIGHT.with_label_values(&[lane.as_str()]).inc();
        Self(lane, Instant::now())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let lane = self.0.as_str();
        IN_FLIGHT.with_label_values(&[lane]).dec();
        REQUEST_SECONDS
            .with_label_values(&[lane])
            .observe(self.1.elapsed().as_secs_f64());
    }
}
