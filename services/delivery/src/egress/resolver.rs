//! Names to addresses, with the address guard built in: what is not allowed never reaches the
//! connector, so the address that was checked is the address that is connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::addresses;

/// Look-ups at once. The system resolver holds a thread for each, and a name that never answers
/// holds it for half a minute; more than this would let slow names use up all threads (C16).
const CONCURRENT_LOOKUPS: usize = 64;

/// Addresses of one answer that are tried; a name with a thousand is not tried a thousand times.
const MAX_ADDRESSES: usize = 8;

/// Asks for the addresses of a name; tests put their own in place of the system's.
#[derive(Clone)]
pub struct Lookup(Arc<LookupFn>);

type LookupFn = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

impl Lookup {
    /// A look-up by this function.
    pub fn new<F>(lookup: F) -> Self
    where
        F: Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    {
        Self(Arc::new(lookup))
    }

    /// The addresses of `name`.
    pub async fn lookup(&self, name: String) -> io::Result<Vec<IpAddr>> {
        (self.0)(name).await
    }
}

impl Default for Lookup {
    /// The operating system's.
    fn default() -> Self {
        Self::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

/// No address of a name may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("no address of this name may be connected to")]
pub(super) struct Blocked;

/// The resolver of the one HTTP client.
pub(super) struct GuardedResolver {
    pub(super) lookup: Lookup,
    pub(super) allow_networks: Arc<[IpNet]>,
    pub(super) host_map: Arc<HostMap>,
    permits: Arc<Semaphore>,
}

impl GuardedResolver {
    pub(super) fn new(lookup: Lookup, allow: Arc<[IpNet]>, host_map: Arc<HostMap>) -> Self {
        Self {
            lookup,
            allow_networks: allow,
            host_map,
            permits: Arc::new(Semaphore::new(CONCURRENT_LOOKUPS)),
        }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_ascii_lowercase();
        if let Some(address) = self.host_map.get(&name) {
            let found: Addrs = Box::new(std::iter::once(address));
            return Box::pin(async move { Ok(found) });
        }
        let (lookup, allow) = (self.lookup.clone(), Arc::clone(&self.allow_networks));
        let permits = Arc::clone(&self.permits);
        Box::pin(async move {
            let _permit = permits.acquire_owned().await?;
            let found = lookup.lookup(name).await?;
            if found.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            // Of a mixed answer only the public addresses are used (C3).
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| addresses::is_allowed(*address, &allow))
                .take(MAX_ADDRESSES)
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if allowed.is_empty() {
                return Err(Blocked.into());
            }
            let allowed: Addrs = Box::new(allowed.into_iter());
            Ok(allowed)
        })
    }
}

/// Names that lead elsewhere during development and in tests: a suffix and where all names that
/// end in it are connected to.
#[derive(Debug, Default)]
pub(super) struct HostMap(Vec<(String, SocketAddr)>);

impl HostMap {
    pub(super) fn new(entries: &[(String, SocketAddr)]) -> Self {
        let clean = |suffix: &str| suffix.trim_start_matches('.').to_ascii_lowercase();
        Self(
            entries
                .iter()
                .map(|(suffix, to)| (clean(suffix), *to))
                .collect(),
        )
    }

    /// Where `name` leads, if it is one of these names or below one.
    pub(super) fn get(&self, name: &str) -> Option<SocketAddr> {
        self.0.iter().find_map(|(suffix, address)| {
            let head = name.strip_suffix(suffix.as_str())?;
            (head.is_empty() || head.ends_with('.')).then_some(*address)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mapped_names_lead_elsewhere() {
        let to: SocketAddr = "127.0.0.1:4000".parse().expect("an address");
        let map = HostMap::new(&[(".Sim.test".to_owned(), to)]);
        assert_eq!(map.get("a.sim.test"), Some(to));
        assert_eq!(map.get("sim.test"), Some(to));
        assert_eq!(map.get("notsim.test"), None);
        assert_eq!(map.get("sim.test.evil.org"), None);
    }

    async fn resolve(answer: &[&str]) -> Result<Vec<IpAddr>, String> {
        let answer: Vec<IpAddr> = answer
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        let lookup = Lookup::new(move |_| {
            let answer = answer.clone();
            Box::pin(async move { Ok(answer) })
        });
        let resolver = GuardedResolver::new(lookup, Arc::new([]), Arc::default());
        match resolver.resolve("a.test".parse().expect("a name")).await {
            Ok(found) => Ok(found.map(|address| address.ip()).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[tokio::test]
    async fn a_mixed_answer_keeps_only_what_is_public() {
        let found = resolve(&["127.0.0.1", "8.8.8.8", "::1"]).await;
        assert_eq!(found, Ok(vec!["8.8.8.8".parse().expect("an address")]));
    }

    #[tokio::test]
    async fn an_answer_without_a_public_address_is_blocked() {
        assert_eq!(
            resolve(&["10.0.0.1", "::ffff:127.0.0.1"]).await,
            Err(Blocked.to_string())
        );
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_not_called_blocked() {
        assert_ne!(resolve(&[]).await, Err(Blocked.to_string()));
    }
}
