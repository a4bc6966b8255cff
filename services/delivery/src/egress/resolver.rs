//! Names to addresses, with the address guard built in: what is not allowed never reaches the
//! connector, so the address that was checked is the address that is connected to.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ipnet::IpNet;
use moka::sync::Cache;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::addresses;

/// Look-ups at once of names that resolved lately, and as many of all others. The system's
/// resolver holds a thread for each, and a name that never answers holds it for half a minute,
/// whoever still waits; more than this would let slow names use up all threads (C16). Apart,
/// because who is known to answer does not stand behind a crowd of those that never did.
const CONCURRENT_LOOKUPS: usize = 64;

/// How much of its time a look-up may have waited for its place and still be taken for one that
/// nobody answered.
const MAX_WAIT_SHARE: f64 = 0.25;

/// Names that are known to resolve; of more, those least used are forgotten first.
const KNOWN_NAMES: u64 = 20_000;

/// How long a name is known to resolve: a host that is delivered to is looked up far oftener.
const KNOWN_FOR: Duration = Duration::from_hours(24);

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

/// The servers of a name did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the servers of this name did not answer in time")]
pub(super) struct NoAnswer;

/// All places for look-ups were taken for too long.
#[derive(Debug, thiserror::Error)]
#[error("too many names are being looked up")]
pub(super) struct NoPlace;

/// The resolver of the one HTTP client.
pub(super) struct GuardedResolver {
    pub(super) allow_networks: Arc<[IpNet]>,
    pub(super) host_map: Arc<HostMap>,
    names: Names,
}

impl GuardedResolver {
    /// A look-up that takes longer than `limit` is given up; shorter than the time for a whole
    /// connection, so that it is told apart from a host that does not answer.
    pub(super) fn new(
        lookup: Lookup,
        limit: Duration,
        allow: Arc<[IpNet]>,
        host_map: Arc<HostMap>,
    ) -> Self {
        Self {
            allow_networks: allow,
            host_map,
            names: Names {
                lookup,
                limit,
                known: Cache::builder()
                    .max_capacity(KNOWN_NAMES)
                    .time_to_live(KNOWN_FOR)
                    .build(),
                of_known: Arc::new(Semaphore::new(CONCURRENT_LOOKUPS)),
                of_others: Arc::new(Semaphore::new(CONCURRENT_LOOKUPS)),
            },
        }
    }
}

/// Look-ups, bounded in number and time. Clones share both.
#[derive(Clone)]
struct Names {
    lookup: Lookup,
    limit: Duration,
    known: Cache<String, ()>,
    of_known: Arc<Semaphore>,
    of_others: Arc<Semaphore>,
}

impl Names {
    /// The addresses of `name`; an error of the name's servers, [`NoAnswer`] or [`NoPlace`].
    async fn find(&self, name: String) -> Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>> {
        let permits = if self.known.contains_key(&name) {
            &self.of_known
        } else {
            &self.of_others
        };
        // Waiting for a place is no fault of the name, nor is the time that it leaves.
        let started = Instant::now();
        let waiting = Arc::clone(permits).acquire_owned();
        let Ok(permit) = tokio::time::timeout(self.limit, waiting).await else {
            return Err(NoPlace.into());
        };
        let (permit, waited) = (permit?, started.elapsed());
        let (lookup, asked) = (self.lookup.clone(), name.clone());
        let answer = tokio::spawn(async move {
            // A thread that asks cannot be called back: its place is free when it comes back.
            let _permit = permit;
            lookup.lookup(asked).await
        });
        let left = self.limit.saturating_sub(waited);
        let found = match tokio::time::timeout(left, answer).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(gone)) => match gone.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => return Err(cancelled.into()),
            },
            Err(_) if waited > self.limit.mul_f64(MAX_WAIT_SHARE) => return Err(NoPlace.into()),
            Err(_) => return Err(NoAnswer.into()),
        };
        self.known.insert(name, ());
        Ok(found)
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_ascii_lowercase();
        if let Some(address) = self.host_map.get(&name) {
            let found: Addrs = Box::new(std::iter::once(address));
            return Box::pin(async move { Ok(found) });
        }
        let (names, allow) = (self.names.clone(), Arc::clone(&self.allow_networks));
        Box::pin(async move {
            let found = names.find(name).await?;
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
        let limit = Duration::from_secs(1);
        let resolver = GuardedResolver::new(lookup, limit, Arc::new([]), Arc::default());
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
    async fn a_name_whose_turn_does_not_come_is_not_called_silent() {
        let lookup = Lookup::new(|name| {
            Box::pin(async move {
                if name.starts_with("silent") {
                    tokio::time::sleep(Duration::from_mins(1)).await;
                }
                Ok(vec![IpAddr::from([8, 8, 8, 8])])
            })
        });
        let limit = Duration::from_millis(100);
        let resolver = GuardedResolver::new(lookup, limit, Arc::new([]), Arc::default());
        let names = resolver.names;
        let silent = (0..CONCURRENT_LOOKUPS).map(|n| names.find(format!("silent{n}.test")));
        for ended in futures::future::join_all(silent).await {
            assert!(ended.expect_err("nobody answers").is::<NoAnswer>());
        }
        // Their places are not free yet, because nobody can call their threads back.
        let other = names.find("other.test".to_owned()).await;
        assert!(other.expect_err("no place").is::<NoPlace>());
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_not_called_blocked() {
        assert_ne!(resolve(&[]).await, Err(Blocked.to_string()));
    }
}
