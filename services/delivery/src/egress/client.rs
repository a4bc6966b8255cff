//! The one guarded HTTP client. Nothing else in Tidegate may open an HTTP connection outwards.
//!
//! It follows no redirect, knows no proxy, and ends every request at its deadline. A name is
//! checked by the resolver at the moment of connecting; an address in a URL never reaches a
//! resolver and is checked here.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use reqwest::redirect::Policy;
use url::{Host, Url};

use super::classify::classify;
use super::options::EgressOptions;
use super::resolver::{GuardedResolver, HostMap};
use super::{EgressError, addresses, tls};

/// How much of the answer to a POST is read so that its connection can be used again. Answers
/// to deliveries are empty or a line long.
const DRAIN_BYTES: usize = 16 * 1024;

/// How long that may take: a slow body must not delay an outcome that is already known.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Idle connections to one host: the largest delivery window of a host, so that a warm host never
/// pays for a handshake (0.45 ms of CPU, more than a signature).
const IDLE_PER_HOST: usize = 16;

/// How long an idle connection is kept. Servers drop theirs after 60 to 75 s; ours goes first.
const IDLE_TIME: Duration = Duration::from_secs(50);

/// How much of the time for a connection the look-up of its name may take. The rest is enough for
/// a handshake across the world.
const LOOKUP_SHARE: f64 = 0.8;

/// A request to send once.
#[derive(Debug, Clone)]
struct Outbound {
    /// GET or POST.
    method: Method,
    /// Where to.
    pub url: Url,
    /// All headers but Host, User-Agent and Accept-Encoding.
    pub headers: HeaderMap,
    /// Empty for GET.
    pub body: Bytes,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its decompressed body; of answers to POST at most the first few kilobytes.
    pub body: Bytes,
}

/// The client. Clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    http: reqwest::Client,
    options: Arc<EgressOptions>,
    host_map: Arc<HostMap>,
}

impl HttpClient {
    /// A client with these options; `base_url` is named in the User-Agent.
    pub fn new(options: EgressOptions, base_url: &str) -> anyhow::Result<Self> {
        let host_map = Arc::new(HostMap::new(&options.host_map));
        let resolver = GuardedResolver::new(
            options.lookup.clone(),
            options.connect_timeout.mul_f64(LOOKUP_SHARE),
            options.allow_networks.clone().into(),
            Arc::clone(&host_map),
        );
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(&options.extra_ca_files)?)
            .dns_resolver(resolver)
            .no_proxy()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(format!(
                "Tidegate/{} (+{base_url})",
                env!("CARGO_PKG_VERSION")
            ))
            .connect_timeout(options.connect_timeout)
            .timeout(options.total_timeout)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE_TIME)
            .build()?;
        Ok(Self {
            http,
            options: Arc::new(options),
            host_map,
        })
    }

    /// The options that it was made with.
    pub fn options(&self) -> &EgressOptions {
        &self.options
    }

    /// Whether this URL may be requested at all: scheme, no user info, and no address that is
    /// not allowed. Names are judged later, by what they resolve to.
    pub fn check(&self, url: &Url) -> Result<(), EgressError> {
        match url.scheme() {
            "https" => {}
            "http" if self.options.allow_plain_http => {}
            "http" => return Err(EgressError::BadUrl("plain http")),
            _ => return Err(EgressError::BadUrl("neither http nor https")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::BadUrl("user info"));
        }
        let address = match url.host() {
            None => return Err(EgressError::BadUrl("no host")),
            Some(Host::Domain(name)) => {
                // The map opens one port of a loopback address, not all of them.
                let mapped = self.host_map.get(name);
                return match (mapped, url.port()) {
                    (Some(to), Some(port)) if port != to.port() => Err(EgressError::BlockedAddress),
                    _ => Ok(()),
                };
            }
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
        };
        if addresses::is_allowed(address, &self.options.allow_networks) {
            Ok(())
        } else {
            Err(EgressError::BlockedAddress)
        }
    }

    /// Sends a GET and reads the whole body, within the total time-out and the size limit.
    pub async fn get(&self, url: Url, headers: HeaderMap) -> Result<Answer, EgressError> {
        let outbound = Outbound {
            method: Method::GET,
            url,
            headers,
            body: Bytes::new(),
        };
        let limit = self.options.max_body_bytes;
        let whole = async {
            let response = self.start(outbound).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = read(response, limit).await?;
            Ok(Answer {
                status,
                headers,
                body,
            })
        };
        tokio::time::timeout(self.options.total_timeout, whole)
            .await
            .unwrap_or(Err(EgressError::Timeout))
    }

    /// Sends a POST. The status is the outcome: what its body does no longer matters.
    pub async fn post(
        &self,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, EgressError> {
        let outbound = Outbound {
            method: Method::POST,
            url,
            headers,
            body,
        };
        let response = tokio::time::timeout(self.options.total_timeout, self.start(outbound))
            .await
            .unwrap_or(Err(EgressError::Timeout))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = tokio::time::timeout(DRAIN_TIME, read(response, DRAIN_BYTES)).await;
        Ok(Answer {
            status,
            headers,
            body: body.ok().and_then(Result::ok).unwrap_or_default(),
        })
    }

    async fn start(&self, outbound: Outbound) -> Result<reqwest::Response, EgressError> {
        self.check(&outbound.url)?;
        self.http
            .request(outbound.method, outbound.url)
            .headers(outbound.headers)
            .body(outbound.body)
            .send()
            .await
            .map_err(|error| classify(&error))
    }
}

/// The body, counted after decompression and given up at the limit.
async fn read(response: reqwest::Response, limit: usize) -> Result<Bytes, EgressError> {
    let mut stream = response.bytes_stream();
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| classify(&error))?;
        if body.len() + chunk.len() > limit {
            return Err(EgressError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(options: EgressOptions) -> HttpClient {
        HttpClient::new(options, "https://us.test").expect("a client")
    }

    fn check(client: &HttpClient, url: &str) -> Result<(), EgressError> {
        client.check(&Url::parse(url).expect("a URL"))
    }

    #[test]
    fn literal_private_addresses_are_refused_in_every_spelling() {
        let client = client(EgressOptions::default());
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "017700000001",
            "0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
            "10.0.0.1",
            "[fe80::1]",
            "[fc00::1]",
            "[2002:7f00:1::]",
            "[64:ff9b::7f00:1]",
            "１２７.0.0.1",
        ] {
            let url = format!("https://{host}/inbox");
            assert_eq!(
                check(&client, &url),
                Err(EgressError::BlockedAddress),
                "{host}"
            );
        }
        assert_eq!(check(&client, "https://8.8.8.8/"), Ok(()));
    }

    #[test]
    fn only_http_schemes_without_user_info_are_requested() {
        let client = client(EgressOptions::default());
        for url in [
            "http://a.test/",
            "file:///etc/passwd",
            "gopher://a.test/",
            "data:text/plain,x",
            "https://user@a.test/",
            "https://user:word@a.test/",
        ] {
            assert!(
                matches!(check(&client, url), Err(EgressError::BadUrl(_))),
                "{url}"
            );
        }
    }

    #[test]
    fn a_mapped_name_opens_one_port_only() {
        let client = client(EgressOptions {
            host_map: vec![(
                "sim.test".to_owned(),
                "127.0.0.1:4000".parse().expect("an address"),
            )],
            ..EgressOptions::default()
        });
        assert_eq!(check(&client, "https://a.sim.test/"), Ok(()));
        assert_eq!(check(&client, "https://a.sim.test:4000/"), Ok(()));
        assert_eq!(
            check(&client, "https://a.sim.test:6379/"),
            Err(EgressError::BlockedAddress)
        );
        assert_eq!(
            check(&client, "https://127.0.0.1:4000/"),
            Err(EgressError::BlockedAddress)
        );
    }
}
