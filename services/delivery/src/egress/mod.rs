//! The single way out: one guarded client, and what other roles may ask of it.

mod addresses;
mod budget;
mod classify;
mod client;
mod content_type;
mod error;
mod fetch;
mod options;
mod owner;
mod resolver;
mod tls;
mod wayout;
mod webfinger;

pub use addresses::is_global_unicast;
pub use client::{Answer, HttpClient};
pub use error::EgressError;
pub use fetch::Document;
pub use options::EgressOptions;
pub use resolver::Lookup;
pub use wayout::{Resolved, WayOut};
