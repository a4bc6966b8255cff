//! Makes signatures, right ones and deliberately wrong ones.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Refusal, RequestView, Scheme, cavage, digest, keys::SimKey, rfc9421};

/// How to sign a request. [`Plan::honest`] is what a well-behaved server does; hostile tests
/// change single fields.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which scheme.
    pub scheme: Scheme,
    /// The key that really signs.
    pub key: Arc<SimKey>,
    /// The key that the signature names.
    pub key_id: String,
    /// Covered parts instead of the usual ones, in the scheme's spelling.
    pub covered: Option<Vec<String>>,
    /// When the signature claims to be made: Date header and `created`.
    pub at: SystemTime,
    /// `expires`, for RFC 9421 and for cavage.
    pub expires: Option<SystemTime>,
    /// Value of `algorithm` or `alg` instead of the right one.
    pub algorithm: Option<String>,
    /// Compute the digest over these bytes instead of the body.
    pub digest_of: Option<Vec<u8>>,
    /// Flip a bit of the finished signature.
    pub spoil: bool,
}

impl Plan {
    /// Signs everything that has to be signed, now.
    pub fn honest(scheme: Scheme, key: Arc<SimKey>, key_id: impl Into<String>) -> Self {
        Self {
            scheme,
            key,
            key_id: key_id.into(),
            covered: None,
            at: SystemTime::now(),
            expires: None,
            algorithm: None,
            digest_of: None,
            spoil: false,
        }
    }
}

/// Adds Date, digest and signature to `headers`. Headers that are already there are kept, so
/// that a caller can send a wrong Date on purpose.
pub fn sign(
    plan: &Plan,
    parts: (&http::Method, &str, &str, &str),
    headers: &mut HeaderMap,
    body: &[u8],
) -> Result<(), Refusal> {
    let (method, scheme, host, target) = parts;
    add_absent(headers, "date", &httpdate::fmt_http_date(plan.at));
    let digested = plan.digest_of.as_deref().unwrap_or(body);
    let has_body = method == http::Method::POST || method == http::Method::PUT;
    if has_body {
        match plan.scheme {
            Scheme::Cavage => add_absent(headers, "digest", &digest::legacy(digested)),
            Scheme::Rfc9421 => add_absent(headers, "content-digest", &digest::content(digested)),
        }
    }
    let request = RequestView {
        method,
        scheme,
        host,
        target,
        headers,
        body,
    };
    let signed = match plan.scheme {
        Scheme::Cavage => sign_cavage(plan, &request, has_body)?,
        Scheme::Rfc9421 => sign_rfc9421(plan, &request, has_body)?,
    };
    for (name, value) in signed {
        let value = HeaderValue::from_str(&value).map_err(|_| Refusal::Malformed("value"))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

fn sign_cavage(
    plan: &Plan,
    request: &RequestView<'_>,
    has_body: bool,
) -> Result<Vec<(&'static str, String)>, Refusal> {
    let usual: &[&str] = if has_body {
        &["(request-target)", "host", "date", "digest", "content-type"]
    } else {
        &["(request-target)", "host", "date"]
    };
    let covered = covered(plan, usual, request);
    let created = covered.contains(&"(created)").then(|| unix(plan.at));
    let expires = plan.expires.map(unix);
    let base = cavage::base(request, &covered, created, expires)?;
    let mut header = format!(
        "keyId=\"{}\",algorithm=\"{}\",headers=\"{}\",signature=\"{}\"",
        plan.key_id,
        plan.algorithm.as_deref().unwrap_or("rsa-sha256"),
        covered.join(" "),
        STANDARD.encode(signature(plan, base.as_bytes())),
    );
    for (name, value) in [("created", created), ("expires", expires)] {
        if let Some(value) = value {
            let _ = write!(header, ",{name}={value}");
        }
    }
    Ok(vec![("signature", header)])
}

fn sign_rfc9421(
    plan: &Plan,
    request: &RequestView<'_>,
    has_body: bool,
) -> Result<Vec<(&'static str, String)>, Refusal> {
    let usual: &[&str] = if has_body {
        &["@method", "@target-uri", "content-digest", "content-type"]
    } else {
        &["@method", "@target-uri"]
    };
    let covered = covered(plan, usual, request);
    let names: Vec<String> = covered.iter().map(|name| format!("\"{name}\"")).collect();
    let mut parameters = format!("({});created={}", names.join(" "), unix(plan.at));
    if let Some(expires) = plan.expires {
        let _ = write!(parameters, ";expires={}", unix(expires));
    }
    let algorithm = plan.algorithm.as_deref().unwrap_or("rsa-v1_5-sha256");
    let _ = write!(parameters, ";keyid=\"{}\";alg=\"{algorithm}\"", plan.key_id);
    let base = rfc9421::base(request, &covered, &parameters)?;
    let signature = STANDARD.encode(signature(plan, base.as_bytes()));
    Ok(vec![
        ("signature-input", format!("sig1={parameters}")),
        ("signature", format!("sig1=:{signature}:")),
    ])
}

/// The covered parts: the caller's, or of the usual ones those that the request has.
fn covered<'a>(plan: &'a Plan, usual: &[&'a str], request: &RequestView<'_>) -> Vec<&'a str> {
    if let Some(own) = &plan.covered {
        return own.iter().map(String::as_str).collect();
    }
    let is_there = |name: &&&str| {
        name.starts_with(['(', '@']) || **name == "host" || request.headers.contains_key(**name)
    };
    usual.iter().filter(is_there).copied().collect()
}

fn signature(plan: &Plan, base: &[u8]) -> Vec<u8> {
    let mut signature = plan.key.sign(base);
    if plan.spoil
        && let Some(byte) = signature.last_mut()
    {
        *byte ^= 1;
    }
    signature
}

fn unix(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

fn add_absent(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if !headers.contains_key(name)
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.insert(HeaderName::from_static(name), value);
    }
}
