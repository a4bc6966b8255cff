//! HTTP signatures on plain data: draft-cavage (`rsa-sha256`, `hs2019`) and RFC 9421
//! (`rsa-v1_5-sha256`, `ed25519`), both ways.
//!
//! Taking one apart has two steps, because the key is known only after the first:
//! [`SignedRequest::parse`] checks everything that needs no key (coverage, digest, shape) and
//! names the key; [`verify`] checks the time and the signature itself. The time alone is checked by
//! [`SignedRequest::check_time`], which needs no key either.

mod cavage;
mod digest;
mod key_id;
mod rfc9421;
mod sf;
mod sign;
mod target;
mod verify;

#[cfg(test)]
mod tests;

pub use digest::body_digest;
pub use key_id::{KeyId, KeyIdError};
pub use sign::{SigningKey, sign_cavage, sign_rfc9421};
pub use verify::{DEFAULT_WINDOW, RequestParts, Scheme, SignedRequest, verify, verify_within};

use crate::keys::KeyError;

/// Why a request was not signed, or not believed. Every one of them is answered with 401.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("the request is not signed")]
    Missing,
    /// A header could not be read.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Something that must be covered is not.
    #[error("the signature does not cover {0}")]
    NotCovered(&'static str),
    /// The digest is absent, or is not that of the body.
    #[error("the digest does not match the body")]
    Digest,
    /// Too old, or from the future.
    #[error("the time of the signature is outside the window")]
    Window,
    /// An algorithm we do not take, or not one of this key.
    #[error("unsupported algorithm")]
    Algorithm,
    /// The public key could not be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature is not that of this key over this request.
    #[error("the signature is wrong")]
    Invalid,
    /// Our own key or URL could not be used to sign.
    #[error("could not sign: {0}")]
    Signing(&'static str),
}
