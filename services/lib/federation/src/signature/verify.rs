//! Believing a request: first what needs no key, then the signature under a key.

use super::{SignatureError, cavage, rfc9421, target::Target};
use crate::keys::PublicKey;
use http::{HeaderMap, Method};
use time::{Duration, OffsetDateTime};
use url::Url;

/// How far the time of a signature may be from ours, either way: one hour for clocks that were
/// never set for summer, five minutes for queues on the way (the advice of the fediverse's own
/// report on signatures).
pub const DEFAULT_WINDOW: Duration = Duration::minutes(65);

/// What came in, as plain data.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query exactly as in the request line.
    pub path_and_query: &'a str,
    /// Our own configured base URL: scheme and authority are never taken from the request.
    pub base: &'a Url,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The raw body; empty if there is none.
    pub body: &'a [u8],
}

/// Which of the two ways a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// draft-cavage-http-signatures.
    Cavage,
    /// RFC 9421.
    Rfc9421,
}

/// What the sender says it signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Whatever fits the key.
    OfKey,
    RsaSha256,
    Ed25519,
}

/// A signed request whose shape, coverage and digest are in order, and whose key is known by
/// name. It proves nothing until [`verify`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    pub(super) scheme: Scheme,
    pub(super) key_id: String,
    pub(super) algorithm: Algorithm,
    /// The texts that may have been signed, most likely first.
    pub(super) messages: Vec<String>,
    pub(super) signature: Vec<u8>,
    /// Covered times of signing, Unix seconds; at least one.
    pub(super) signed_at: Vec<i64>,
    /// After this Unix second the sender itself no longer stands by it.
    pub(super) expires: Option<i64>,
}

impl SignedRequest {
    /// Takes the signature of a request apart: RFC 9421 when there is a `Signature-Input`,
    /// else draft-cavage.
    ///
    /// Refuses what does not cover method, path, query, host, a time and, unless it is a GET
    /// or HEAD, a digest that is the SHA-256 of the body (rule R4).
    pub fn parse(request: &RequestParts<'_>) -> Result<Self, SignatureError> {
        if request.headers.contains_key("signature-input") {
            rfc9421::parse(request)
        } else {
            cavage::parse(request)
        }
    }

    /// The name of the key, exactly as sent. Check it with [`super::KeyId::parse`] before
    /// anything is fetched.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Which scheme was used.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether every covered time is at most `window` from `now`, and `expires` not further ago.
    /// It needs no key, so that what no key could make right is refused before one is looked for.
    pub fn check_time(&self, now: OffsetDateTime, window: Duration) -> Result<(), SignatureError> {
        let (now, window) = (now.unix_timestamp(), window.whole_seconds());
        let near = |at: i64| now.abs_diff(at) <= window.unsigned_abs();
        if self.signed_at.is_empty() || !self.signed_at.iter().all(|&at| near(at)) {
            return Err(SignatureError::Window);
        }
        match self.expires {
            Some(expires) if now > expires.saturating_add(window) => Err(SignatureError::Window),
            _ => Ok(()),
        }
    }
}

/// Verifies under a key in PEM with [`DEFAULT_WINDOW`].
pub fn verify(
    request: &SignedRequest,
    key_pem: &str,
    now: OffsetDateTime,
) -> Result<(), SignatureError> {
    verify_within(request, key_pem, now, DEFAULT_WINDOW)
}

/// Verifies under a key in PEM: the time is at most `window` from `now`, the algorithm is one
/// of the key, the signature is right.
pub fn verify_within(
    request: &SignedRequest,
    key_pem: &str,
    now: OffsetDateTime,
    window: Duration,
) -> Result<(), SignatureError> {
    request.check_time(now, window)?;
    let key = PublicKey::from_pem(key_pem)?;
    match (&key, request.algorithm) {
        (_, Algorithm::OfKey)
        | (PublicKey::Rsa(_), Algorithm::RsaSha256)
        | (PublicKey::Ed25519(_), Algorithm::Ed25519) => {}
        _ => return Err(SignatureError::Algorithm),
    }
    let right = request
        .messages
        .iter()
        .any(|message| key.verifies(message.as_bytes(), &request.signature));
    if right {
        Ok(())
    } else {
        Err(SignatureError::Invalid)
    }
}

/// The value of a header that must be there exactly once, without blanks around.
pub(super) fn only<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<&'a str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(SignatureError::Malformed(name))?;
    if values.next().is_some() {
        return Err(SignatureError::Malformed(name));
    }
    value
        .to_str()
        .map(str::trim)
        .map_err(|_| SignatureError::Malformed(name))
}

/// The value of a covered header as both schemes put it together: values joined by a comma.
/// Those that carry meaning for us must be there exactly once.
pub(super) fn covered_value(headers: &HeaderMap, name: &str) -> Result<String, SignatureError> {
    for single in ["date", "host", "digest", "content-digest"] {
        if name == single {
            return only(headers, single).map(str::to_owned);
        }
    }
    let values: Result<Vec<&str>, _> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().map(str::trim))
        .collect();
    match values {
        Ok(values) if !values.is_empty() => Ok(values.join(", ")),
        _ => Err(SignatureError::Malformed("a covered header")),
    }
}

/// The time of a covered `Date` header, Unix seconds.
pub(super) fn date_of(headers: &HeaderMap) -> Result<i64, SignatureError> {
    let date = httpdate::parse_http_date(only(headers, "date")?)
        .map_err(|_| SignatureError::Malformed("date"))?;
    Ok(OffsetDateTime::from(date).unix_timestamp())
}

/// Whether a request of this method must carry a covered digest.
pub(super) fn needs_digest(request: &RequestParts<'_>) -> bool {
    !matches!(*request.method, Method::GET | Method::HEAD) || !request.body.is_empty()
}

/// The covered `Host`: as it came if it names us, else as we are configured, because a proxy
/// may have rewritten it. A request that was signed for another host fails either way.
pub(super) fn covered_host(
    request: &RequestParts<'_>,
    target: &Target,
) -> Result<String, SignatureError> {
    if !request.headers.contains_key("host") {
        return Ok(target.authority.clone());
    }
    let sent = only(request.headers, "host")?;
    Ok(if target.is_host(sent) {
        sent.to_owned()
    } else {
        target.authority.clone()
    })
}
