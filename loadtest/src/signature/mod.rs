//! HTTP signatures as a stranger would write them: draft-cavage and RFC 9421, made and checked
//! with the `rsa` crate. Nothing is shared with Tidegate's own implementation, so that a
//! mistake made there is not made here too.

pub mod cavage;
pub mod digest;
pub mod fields;
pub mod keys;
pub mod making;
pub mod rfc9421;
pub mod verdict;

use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};

/// One of the two ways in which the fediverse signs requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// draft-cavage-http-signatures-12 with `rsa-sha256`.
    Cavage,
    /// RFC 9421 with `rsa-v1_5-sha256`.
    Rfc9421,
}

impl Scheme {
    /// The other one, for a second try.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Cavage => Self::Rfc9421,
            Self::Rfc9421 => Self::Cavage,
        }
    }
}

/// What a signature can cover: a request as it went over the wire.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// Method of the request line.
    pub method: &'a Method,
    /// `http` or `https`; part of `@target-uri`.
    pub scheme: &'a str,
    /// The Host header as received.
    pub host: &'a str,
    /// Path and query of the request line.
    pub target: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

impl RequestView<'_> {
    /// All values of a header joined as both schemes ask for: trimmed, comma and space between.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut values = self.headers.get_all(name).iter().peekable();
        values.peek()?;
        let texts: Vec<&str> = values
            .map(|value| value.to_str().unwrap_or("").trim())
            .collect();
        Some(texts.join(", "))
    }
}

/// A signature that is well formed and covers what it must; only the mathematics is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// How it is signed.
    pub scheme: Scheme,
    /// The key that the sender names.
    pub key_id: String,
    /// The bytes that were signed.
    pub base: Vec<u8>,
    /// The signature over them.
    pub signature: Vec<u8>,
}

/// Why a signature is refused before its key is even looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The header cannot be read.
    #[error("malformed signature: {0}")]
    Malformed(&'static str),
    /// A part that has to be signed is not.
    #[error("{0} is not signed")]
    NotCovered(&'static str),
    /// A covered part is not in the request.
    #[error("signed part {0} is absent")]
    Absent(String),
    /// Too old, too new or expired.
    #[error("outside the time window: {0}")]
    Window(&'static str),
    /// The digest is not the body's.
    #[error("digest does not match the body")]
    Digest,
    /// An algorithm or component we do not know.
    #[error("unsupported: {0}")]
    Unsupported(String),
}
