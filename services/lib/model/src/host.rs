//! One spelling per host, and which shard it belongs to.
//!
//! A host is a name without a port, because other servers compare names without ports too;
//! two spellings of a name must never become two identities (attack B14).

use url::{Host, Url};

/// The longest host name that DNS allows, in bytes.
const MAX_HOST_BYTES: usize = 253;

/// Why a text is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Empty, too long, or with characters that no name has.
    #[error("not a host name")]
    Invalid,
}

/// The canonical spelling of a host name: IDNA, lower case, no trailing dot, no port.
pub fn canonical_host(text: &str) -> Result<String, HostError> {
    let without_port = match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && is_port(port) => name,
        _ => text,
    };
    let trimmed = without_port.strip_suffix('.').unwrap_or(without_port);
    if trimmed.is_empty() || trimmed.contains(['/', '@', '%', '?', '#', '\\']) {
        return Err(HostError::Invalid);
    }
    match Host::parse(trimmed).map_err(|_| HostError::Invalid)? {
        Host::Domain(name) if name.len() <= MAX_HOST_BYTES && !name.ends_with('.') => Ok(name),
        Host::Domain(_) => Err(HostError::Invalid),
        Host::Ipv4(address) => Ok(address.to_string()),
        Host::Ipv6(address) => Ok(format!("[{address}]")),
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The canonical host of a URL.
pub fn host_of(url: &str) -> Result<String, HostError> {
    let url = Url::parse(url).map_err(|_| HostError::Invalid)?;
    canonical_host(url.host_str().ok_or(HostError::Invalid)?)
}

/// Whether two URLs have the same scheme, host and port; false when either cannot be read.
pub fn same_origin(a: &str, b: &str) -> bool {
    let (Ok(a), Ok(b)) = (Url::parse(a), Url::parse(b)) else {
        return false;
    };
    a.scheme() == b.scheme()
        && a.host().is_some()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// The shard of a canonical host among `shards` (at least 1). Our own FNV-1a, because the
/// number must be the same in every process, build and year; a library's hash need not be.
pub fn shard_of(host: &str, shards: u32) -> u32 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = host.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    // The upper half mixes better than the lower one.
    ((hash >> 32) % u64::from(shards.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_one_host() {
        for spelling in [
            "Example.ORG",
            "example.org.",
            "example.org:8443",
            "ｅxample．org",
        ] {
            assert_eq!(canonical_host(spelling).as_deref(), Ok("example.org"));
        }
        assert_eq!(
            canonical_host("bücher.test").as_deref(),
            Ok("xn--bcher-kva.test")
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            ".",
            "a b",
            "p.test@e.test",
            "p.test%00.e.test",
            "a/b",
            "x?y",
        ] {
            assert_eq!(canonical_host(text), Err(HostError::Invalid), "{text}");
        }
    }

    #[test]
    fn a_look_alike_is_another_host() {
        assert_ne!(
            canonical_host("mаstodon.test"),
            canonical_host("mastodon.test")
        );
    }

    #[test]
    fn origins_differ_by_scheme_and_port() {
        assert!(same_origin("https://a.test/x", "https://A.test:443/y"));
        assert!(!same_origin("https://a.test/x", "http://a.test/x"));
        assert!(!same_origin("https://a.test/x", "https://a.test:8443/x"));
        assert!(!same_origin("https://a.test/x", "nonsense"));
    }

    #[test]
    fn shards_never_move() {
        assert_eq!(
            shard_of("mastodon.social", 32),
            shard_of("mastodon.social", 32)
        );
        let used: std::collections::HashSet<u32> = (0..2_000)
            .map(|n| shard_of(&format!("host{n}.test"), 32))
            .collect();
        assert_eq!(used.len(), 32);
        // Pinned: a change of these moves every host of every instance.
        assert_eq!(shard_of("example.org", 32), 3);
        assert_eq!(shard_of("mastodon.social", 32), 15);
    }
}
