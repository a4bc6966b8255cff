//! What can go wrong in the simulator itself. An unfriendly answer of a tested server is not
//! an error but an answer.

use std::{io, net::SocketAddr};

/// Errors of the simulator.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The listening port cannot be had.
    #[error("cannot listen on {address}: {hint}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What to do.
        hint: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A request did not get a whole answer.
    #[error("request to {url} failed: {reason}")]
    Transport {
        /// Where to.
        url: String,
        /// Why.
        reason: String,
    },
    /// A document is not what it should be.
    #[error("{url} is not usable: {reason}")]
    Document {
        /// Its address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A host or actor that was never added.
    #[error("{0} is not simulated here")]
    Unknown(String),
    /// Something that is no URL.
    #[error("{0:?} is not a usable URL")]
    Url(String),
    /// The second port cannot be served.
    #[error("cannot serve over TLS")]
    Tls(#[source] anyhow::Error),
    /// A signature cannot be made as asked for.
    #[error("cannot sign: {0}")]
    Sign(#[from] crate::signature::Refusal),
}
