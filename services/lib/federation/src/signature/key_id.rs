//! The name of a key, before anything is fetched because of it (attack A11).

use tidegate_model::{Instance, canonical_host};
use url::Url;

/// Longer names than this are nobody's: the same bound as for every other URL we take in.
const MAX_BYTES: usize = 2_048;

/// Why a key id is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyIdError {
    /// Not an absolute http(s) URL without user info, or too long.
    #[error("the key id is not a usable URL")]
    Malformed,
    /// Plain http where only https is allowed.
    #[error("the key id is not https")]
    Insecure,
    /// One of our own: nobody else signs with it over the network.
    #[error("the key id is one of ours")]
    Ours,
}

/// A key id that may be looked up and fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId {
    /// Exactly as it was written; an actor must list this very text.
    pub id: String,
    /// The document to fetch: the id without its fragment.
    pub document: Url,
    /// The canonical host that answers for it.
    pub host: String,
}

impl KeyId {
    /// Reads a key id. `plain_http` allows http, which only test networks do.
    ///
    /// A query is allowed, because there are servers whose actor ids are made of one; that the
    /// actor lists exactly this id is what makes an alias useless.
    pub fn parse(text: &str, us: &Instance, plain_http: bool) -> Result<Self, KeyIdError> {
        if text.len() > MAX_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyIdError::Malformed);
        }
        // Spellings that URL parsers repair, each in its own way.
        if text.contains('\\') || text.contains(":///") {
            return Err(KeyIdError::Malformed);
        }
        let mut document = Url::parse(text).map_err(|_| KeyIdError::Malformed)?;
        match document.scheme() {
            "https" => {}
            "http" if plain_http => {}
            "http" => return Err(KeyIdError::Insecure),
            _ => return Err(KeyIdError::Malformed),
        }
        if !document.username().is_empty() || document.password().is_some() {
            return Err(KeyIdError::Malformed);
        }
        let host = document
            .host_str()
            .and_then(|host| canonical_host(host).ok())
            .ok_or(KeyIdError::Malformed)?;
        if us.owns(document.as_str()) || is_host_of(us, &host) {
            return Err(KeyIdError::Ours);
        }
        document.set_fragment(None);
        Ok(Self {
            id: text.to_owned(),
            document,
            host,
        })
    }
}

fn is_host_of(us: &Instance, host: &str) -> bool {
    tidegate_model::host_of(us.base()).as_deref() == Ok(host)
        || canonical_host(&us.domain).as_deref() == Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us() -> Instance {
        let base = Url::parse("https://social.us.test").expect("a URL");
        Instance::new("us.test", &base)
    }

    fn parse(text: &str) -> Result<KeyId, KeyIdError> {
        KeyId::parse(text, &us(), false)
    }

    #[test]
    fn the_document_is_the_id_without_its_fragment() {
        let key = parse("https://P.test/users/bob?x=1#main-key").expect("a key id");
        assert_eq!(key.document.as_str(), "https://p.test/users/bob?x=1");
        assert_eq!(key.host, "p.test");
        assert_eq!(key.id, "https://P.test/users/bob?x=1#main-key");
    }

    #[test]
    fn tricks_are_refused() {
        let endless = format!("https://p.test/{}", "a".repeat(10 * 1024));
        for text in [
            "#main-key",
            "",
            "acct:bob@p.test",
            "https://bob@p.test/#k",
            "https://bob:pw@p.test/#k",
            "https:///users/bob",
            "https://p.test/a b",
            "https://bücher.test/users/bob",
            "data:text/plain,x",
            "file:///etc/passwd",
            endless.as_str(),
        ] {
            assert_eq!(parse(text), Err(KeyIdError::Malformed), "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_test_networks() {
        let text = "http://p.test/users/bob#main-key";
        assert_eq!(parse(text), Err(KeyIdError::Insecure));
        assert!(KeyId::parse(text, &us(), true).is_ok());
    }

    #[test]
    fn our_own_keys_are_never_fetched() {
        for text in [
            "https://social.us.test/users/ada#main-key",
            "https://SOCIAL.us.test:443/users/ada",
            "https://social.us.test.:8443/users/ada",
            "https://us.test/users/ada#main-key",
        ] {
            assert_eq!(parse(text), Err(KeyIdError::Ours), "{text}");
        }
    }
}
