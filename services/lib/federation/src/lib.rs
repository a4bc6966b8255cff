//! What is said between servers, as plain data: HTTP signatures, documents we publish,
//! documents we take in, and HTML both ways. No I/O: bytes and times come in by argument.

pub mod document;
pub mod html;
pub mod keys;
pub mod parse;
pub mod signature;

mod base58;

/// The content type of everything we publish and POST.
pub const ACTIVITY_JSON: &str = "application/activity+json; charset=utf-8";

/// The `Accept` header of a fetch: the two types that an object may come as (R1).
pub const ACCEPT_ACTIVITY: &str = concat!(
    "application/activity+json, ",
    "application/ld+json; profile=\"https://www.w3.org/ns/activitystreams\""
);

/// The address that means everybody.
pub const PUBLIC: &str = "https://www.w3.org/ns/activitystreams#Public";
