//! Requests as no honest server sends them.

use std::{collections::BTreeMap, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::Sim;
use crate::{
    error::SimError,
    signature::{Scheme, making},
    transport::Answer,
    world::ActorRef,
};

/// A request made by hand. Nothing is added to it but Host and User-Agent, and what the
/// signature brings along.
#[derive(Debug, Clone)]
pub struct RawRequest {
    /// Method.
    pub method: Method,
    /// Where to.
    pub url: String,
    /// Headers; a name may come twice. A Host here replaces that of the URL.
    pub headers: Vec<(String, String)>,
    /// The body that is signed.
    pub body: Bytes,
    /// The body that is sent, if another one: a swap after signing.
    pub sent_body: Option<Bytes>,
    /// How to sign; unsigned without.
    pub signature: Option<RawSignature>,
    /// Headers changed after signing: a new value, or removal by an empty one.
    pub after_signing: BTreeMap<String, String>,
}

impl RawRequest {
    /// A POST of JSON, unsigned.
    pub fn post(url: &str, body: &serde_json::Value) -> Self {
        Self {
            method: Method::POST,
            url: url.to_owned(),
            headers: vec![(
                "content-type".to_owned(),
                "application/activity+json".to_owned(),
            )],
            body: Bytes::from(body.to_string()),
            sent_body: None,
            signature: None,
            after_signing: BTreeMap::new(),
        }
    }

    /// Signs it.
    #[must_use]
    pub fn signed(mut self, signature: RawSignature) -> Self {
        self.signature = Some(signature);
        self
    }
}

/// A signature with parts left out or spoiled.
#[derive(Debug, Clone)]
pub struct RawSignature {
    /// The actor whose private key signs.
    pub by: ActorRef,
    /// The key that is named; the actor's own without.
    pub key_id: Option<String>,
    /// Which scheme.
    pub scheme: Scheme,
    /// Covered parts instead of the usual ones, in the scheme's own spelling.
    pub covered: Option<Vec<String>>,
    /// When it claims to be made.
    pub at: SystemTime,
    /// When it claims to end.
    pub expires: Option<SystemTime>,
    /// Algorithm that it claims.
    pub algorithm: Option<String>,
    /// Digest over these bytes instead of the body.
    pub digest_of: Option<Vec<u8>>,
    /// Flips a bit of the finished signature.
    pub spoil: bool,
}

impl RawSignature {
    /// An honest signature, to be changed by the caller.
    pub fn by(who: &ActorRef, scheme: Scheme) -> Self {
        Self {
            by: who.clone(),
            key_id: None,
            scheme,
            covered: None,
            at: SystemTime::now(),
            expires: None,
            algorithm: None,
            digest_of: None,
            spoil: false,
        }
    }

    /// Covers exactly these parts.
    #[must_use]
    pub fn covering(mut self, parts: &[&str]) -> Self {
        self.covered = Some(parts.iter().map(|&part| part.to_owned()).collect());
        self
    }

    /// Names another key than the one that signs.
    #[must_use]
    pub fn naming(mut self, key_id: &str) -> Self {
        self.key_id = Some(key_id.to_owned());
        self
    }
}

impl Sim {
    /// Sends a request made by hand and gives the answer, whatever it is.
    pub async fn send_raw(&self, raw: RawRequest) -> Result<Answer, SimError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &raw.headers {
            let (name, value) = header(name, value)?;
            headers.append(name, value);
        }
        if let Some(signature) = &raw.signature {
            let actor = self.shared.world.actor(&signature.by)?;
            let key = self.shared.world.key(&actor).await;
            let own_id = signature.by.key_id();
            let plan = making::Plan {
                scheme: signature.scheme,
                key,
                key_id: signature.key_id.clone().unwrap_or(own_id),
                covered: signature.covered.clone(),
                at: signature.at,
                expires: signature.expires,
                algorithm: signature.algorithm.clone(),
                digest_of: signature.digest_of.clone(),
                spoil: signature.spoil,
            };
            let body = raw.body.clone();
            headers = Self::sign_only(plan, &raw.method, &raw.url, headers, body).await?;
        }
        for (name, value) in &raw.after_signing {
            let (name, value) = header(name, value)?;
            headers.remove(&name);
            if !value.is_empty() {
                headers.insert(name, value);
            }
        }
        let body = raw.sent_body.unwrap_or(raw.body);
        self.send_prepared(raw.method, &raw.url, headers, body)
            .await
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), SimError> {
    let parsed = (HeaderName::try_from(name), HeaderValue::try_from(value));
    match parsed {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(SimError::Url(format!("header {name}: {value}"))),
    }
}
