//! What a request is aimed at, from our own configuration and not from what a proxy says.

use super::SignatureError;
use url::Url;

/// Scheme, authority, path and query of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) scheme: String,
    /// Host, and the port unless it is the scheme's own.
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

impl Target {
    /// Of a URL that we are about to request.
    pub(super) fn of(url: &Url) -> Result<Self, SignatureError> {
        Ok(Self {
            scheme: url.scheme().to_owned(),
            authority: authority(url).ok_or(SignatureError::Signing("the URL has no host"))?,
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
        })
    }

    /// Of a request that came in for `path_and_query` below our own `base`.
    pub(super) fn received(base: &Url, path_and_query: &str) -> Result<Self, SignatureError> {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path_and_query, None),
        };
        if !path.starts_with('/') || !path_and_query.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SignatureError::Malformed("request target"));
        }
        Ok(Self {
            scheme: base.scheme().to_owned(),
            authority: authority(base).ok_or(SignatureError::Malformed("base URL"))?,
            path: path.to_owned(),
            query,
        })
    }

    /// Path and query as in the request line.
    pub(super) fn request_target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The whole URL.
    pub(super) fn uri(&self) -> String {
        format!(
            "{}://{}{}",
            self.scheme,
            self.authority,
            self.request_target()
        )
    }

    /// Whether a `Host` header names this authority, in any spelling.
    pub(super) fn is_host(&self, header: &str) -> bool {
        !header.contains(['/', '@', '?', '#', '\\'])
            && Url::parse(&format!("{}://{header}/", self.scheme))
                .is_ok_and(|url| authority(&url).as_deref() == Some(self.authority.as_str()))
    }
}

fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn the_target_is_built_from_our_own_base() {
        let target = Target::received(&base("https://a.test/"), "/inbox?x=1").expect("a target");
        assert_eq!(target.uri(), "https://a.test/inbox?x=1");
        assert_eq!(target.request_target(), "/inbox?x=1");
        let local = Target::received(&base("http://a.test:8443"), "/inbox").expect("a target");
        assert_eq!(local.uri(), "http://a.test:8443/inbox");
    }

    #[test]
    fn hosts_are_compared_in_every_spelling() {
        let target = Target::received(&base("https://a.test"), "/").expect("a target");
        for host in ["a.test", "A.TEST", "a.test:443"] {
            assert!(target.is_host(host), "{host}");
        }
        for host in ["b.test", "a.test:80", "", "a.test/", "x@a.test", "a.test:x"] {
            assert!(!target.is_host(host), "{host}");
        }
    }

    #[test]
    fn odd_request_targets_are_refused() {
        for target in ["", "*", "inbox", "/in box", "/in\nbox", "/ü"] {
            assert!(
                Target::received(&base("https://a.test"), target).is_err(),
                "{target}"
            );
        }
    }
}
