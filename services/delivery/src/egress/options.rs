//! How the way out is set up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::resolver::Lookup;

/// Options of the one HTTP client. The defaults are those of production.
#[derive(Debug, Clone)]
pub struct EgressOptions {
    /// Networks that may be reached although they are not global unicast: test networks only.
    pub allow_networks: Vec<IpNet>,
    /// Whether plain http is spoken: test networks only.
    pub allow_plain_http: bool,
    /// Names that lead elsewhere: a suffix, and where every name below it is connected to when
    /// its URL names no port. Development and tests only; nothing else is allowed by it.
    pub host_map: Vec<(String, SocketAddr)>,
    /// PEM files of certificate authorities that are trusted beside the system's.
    pub extra_ca_files: Vec<PathBuf>,
    /// Name, connection and TLS handshake together.
    pub connect_timeout: Duration,
    /// One request from its first byte to the last of its answer, however it trickles (R7).
    pub total_timeout: Duration,
    /// The largest document, after decompression.
    pub max_body_bytes: usize,
    /// Fetches from one host within a minute.
    pub fetches_per_host_minute: u32,
    /// Where addresses of names come from; tests put their own here.
    pub lookup: Lookup,
}

impl Default for EgressOptions {
    fn default() -> Self {
        Self {
            allow_networks: Vec::new(),
            allow_plain_http: false,
            host_map: Vec::new(),
            extra_ca_files: Vec::new(),
            // A healthy handshake across the world takes under 1 s; a name or host that needs
            // more than 5 s is not healthy.
            connect_timeout: Duration::from_secs(5),
            // What the fediverse's senders wait; longer holds a window slot for nothing.
            total_timeout: Duration::from_secs(10),
            // The limit that Mastodon sets for documents, so nothing larger travels.
            max_body_bytes: 1024 * 1024,
            // 5 a second: above what one busy thread needs, below what annoys anybody (C13).
            fetches_per_host_minute: 300,
            lookup: Lookup::default(),
        }
    }
}
