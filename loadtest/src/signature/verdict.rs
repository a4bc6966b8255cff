//! What is said about the signature of a request that came in.

use std::time::SystemTime;

use serde::Serialize;

use super::{Claim, Refusal, RequestView, Scheme, cavage, rfc9421};

/// The verdict of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// There was no signature.
    Unsigned,
    /// Signed, but of no consequence: documents that are open to everybody are answered without
    /// a look, or two servers that check each other's key requests would wait for ever.
    Unchecked {
        /// The scheme.
        scheme: Scheme,
    },
    /// Signed by the key that it names, and that key is the activity's actor's.
    Valid {
        /// The scheme.
        scheme: Scheme,
        /// The key.
        key_id: String,
    },
    /// Anything else.
    Invalid {
        /// The scheme it tried to be.
        scheme: Scheme,
        /// What is wrong with it.
        reason: String,
    },
}

impl Verdict {
    /// Whether the signature is good.
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid { .. })
    }

    /// The scheme, if the request was signed at all.
    pub fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Unsigned => None,
            Self::Unchecked { scheme }
            | Self::Valid { scheme, .. }
            | Self::Invalid { scheme, .. } => Some(*scheme),
        }
    }
}

/// Which scheme a request is signed with.
pub fn scheme_of(request: &RequestView<'_>) -> Option<Scheme> {
    if request.headers.contains_key("signature-input") {
        Some(Scheme::Rfc9421)
    } else if request.headers.contains_key("signature") {
        Some(Scheme::Cavage)
    } else {
        None
    }
}

/// Everything that can be said without the sender's key; `None` for an unsigned request.
pub fn claim(
    request: &RequestView<'_>,
    now: SystemTime,
) -> Option<Result<Claim, (Scheme, Refusal)>> {
    let scheme = scheme_of(request)?;
    let claim = match scheme {
        Scheme::Cavage => cavage::claim(request, now),
        Scheme::Rfc9421 => rfc9421::claim(request, now),
    };
    Some(claim.map_err(|refusal| (scheme, refusal)))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use http::{HeaderMap, Method};

    use super::*;
    use crate::signature::{
        keys::{PublicKey, SimKey},
        making::{Plan, sign},
    };

    const BODY: &[u8] = br#"{"type":"Follow"}"#;
    const PARTS: (&Method, &str, &str, &str) = (&Method::POST, "http", "b.test", "/inbox?x=1");

    fn signed(change: impl FnOnce(&mut Plan), scheme: Scheme) -> (HeaderMap, Arc<SimKey>) {
        let key = Arc::new(SimKey::generate());
        let mut plan = Plan::honest(scheme, Arc::clone(&key), "http://a.test/users/a#main-key");
        change(&mut plan);
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            "application/activity+json".parse().expect("value"),
        );
        sign(&plan, PARTS, &mut headers, BODY).expect("everything covered is there");
        (headers, key)
    }

    fn judged(headers: &HeaderMap, body: &[u8], key: &SimKey) -> Result<bool, Refusal> {
        let (method, scheme, host, target) = PARTS;
        let request = RequestView {
            method,
            scheme,
            host,
            target,
            headers,
            body,
        };
        let claim = claim(&request, SystemTime::now())
            .expect("signed")
            .map_err(|(_, why)| why)?;
        let public = PublicKey::from_pem(key.public_pem()).expect("own key");
        Ok(public.verifies(&claim.base, &claim.signature))
    }

    #[test]
    fn an_honest_signature_is_good_in_both_schemes() {
        for scheme in [Scheme::Cavage, Scheme::Rfc9421] {
            let (headers, key) = signed(|_| {}, scheme);
            assert_eq!(judged(&headers, BODY, &key), Ok(true), "{scheme:?}");
        }
    }

    #[test]
    fn a_spoiled_signature_and_a_swapped_body_are_refused() {
        for scheme in [Scheme::Cavage, Scheme::Rfc9421] {
            let (headers, key) = signed(|plan| plan.spoil = true, scheme);
            assert_eq!(judged(&headers, BODY, &key), Ok(false), "{scheme:?}");
            let (headers, key) = signed(|_| {}, scheme);
            assert_eq!(
                judged(&headers, b"{}", &key),
                Err(Refusal::Digest),
                "{scheme:?}"
            );
        }
    }

    #[test]
    fn an_unsigned_digest_proves_nothing() {
        let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        let (headers, key) = signed(
            |plan| plan.covered = names(&["(request-target)", "host", "date"]),
            Scheme::Cavage,
        );
        assert_eq!(
            judged(&headers, BODY, &key),
            Err(Refusal::NotCovered("digest"))
        );
        let (headers, key) = signed(
            |plan| plan.covered = names(&["@method", "@target-uri"]),
            Scheme::Rfc9421,
        );
        assert_eq!(
            judged(&headers, BODY, &key),
            Err(Refusal::NotCovered("content-digest"))
        );
    }

    #[test]
    fn times_outside_the_window_are_refused() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600 + 600);
        for scheme in [Scheme::Cavage, Scheme::Rfc9421] {
            let (headers, key) = signed(|plan| plan.at -= hours(1), scheme);
            assert!(matches!(
                judged(&headers, BODY, &key),
                Err(Refusal::Window(_))
            ));
            let (headers, key) = signed(|plan| plan.at += hours(1), scheme);
            assert!(matches!(
                judged(&headers, BODY, &key),
                Err(Refusal::Window(_))
            ));
            let (headers, key) = signed(|plan| plan.at -= Duration::from_mins(30), scheme);
            assert_eq!(judged(&headers, BODY, &key), Ok(true));
        }
    }

    #[test]
    fn a_request_replayed_elsewhere_does_not_verify() {
        for scheme in [Scheme::Cavage, Scheme::Rfc9421] {
            let (headers, key) = signed(|_| {}, scheme);
            for (host, target) in [("c.test", "/inbox?x=1"), ("b.test", "/users/x/inbox")] {
                let request = RequestView {
                    method: &Method::POST,
                    scheme: "http",
                    host,
                    target,
                    headers: &headers,
                    body: BODY,
                };
                let claim = claim(&request, SystemTime::now())
                    .expect("signed")
                    .expect("formed");
                let public = PublicKey::from_pem(key.public_pem()).expect("own key");
                assert!(!public.verifies(&claim.base, &claim.signature));
            }
        }
    }
}
