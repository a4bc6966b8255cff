//! Tidegate's signatures before the simulator's verifier, and the other way round: two
//! implementations that share no line must agree on what is right and what is wrong.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, Method};
use tidegate_federation::{
    keys,
    signature::{
        RequestParts, SignatureError, SignedRequest, SigningKey, body_digest, sign_cavage,
        sign_rfc9421, verify,
    },
};
use tidegate_loadtest::signature::{
    RequestView, Scheme,
    keys::{PublicKey, SimKey},
    making::{self, Plan},
    verdict,
};
use time::OffsetDateTime;
use url::Url;

const SCHEMES: [Scheme; 2] = [Scheme::Cavage, Scheme::Rfc9421];
const TARGETS: [&str; 3] = ["/inbox", "/users/ada/inbox?a=1&b=%20x", "/"];
const BODY: &[u8] = br#"{"type":"Follow"}"#;
const KEY_ID: &str = "http://tide.test/users/grace#main-key";

/// What the simulator says of a request under a key: `Err` before the key, else the verdict.
fn simulator_says(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    body: &[u8],
    pem: &str,
) -> Result<bool, String> {
    let request = RequestView {
        method,
        scheme: "http",
        host: "b.sim.test",
        target,
        headers,
        body,
    };
    let claim = verdict::claim(&request, SystemTime::now()).expect("it is signed");
    let claim = claim.map_err(|(_, refusal)| refusal.to_string())?;
    assert_eq!(claim.key_id, KEY_ID);
    let key = PublicKey::from_pem(pem).expect("a key of Tidegate's");
    Ok(key.verifies(&claim.base, &claim.signature))
}

fn tidegate_says(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    body: &[u8],
    pem: &str,
) -> Result<(), SignatureError> {
    let base = Url::parse("http://b.sim.test").expect("a URL");
    let request = RequestParts {
        method,
        path_and_query: target,
        base: &base,
        headers,
        body,
    };
    verify(
        &SignedRequest::parse(&request)?,
        pem,
        OffsetDateTime::now_utc(),
    )
}

#[test]
fn the_simulator_believes_tidegate_and_nothing_that_was_changed() {
    let pairs = keys::generate().expect("keys");
    let key = SigningKey::rsa(KEY_ID, pairs.rsa_private.expose()).expect("a key");
    let pem = &pairs.rsa_public_pem;
    for scheme in SCHEMES {
        for (method, body) in [(Method::GET, None), (Method::POST, Some(BODY))] {
            for target in TARGETS {
                let url = Url::parse(&format!("http://b.sim.test{target}")).expect("a URL");
                let digest = body.map(body_digest);
                let now = OffsetDateTime::now_utc();
                let made = match scheme {
                    Scheme::Cavage => sign_cavage(&key, &method, &url, now, digest.as_deref()),
                    Scheme::Rfc9421 => sign_rfc9421(&key, &method, &url, now, digest.as_deref()),
                };
                let mut headers = HeaderMap::new();
                for (name, value) in made.expect("signed") {
                    headers.insert(name, value.parse().expect("a value"));
                }
                let sent = body.unwrap_or_default();
                let says = |target: &str, headers: &HeaderMap, body: &[u8]| {
                    simulator_says(&method, target, headers, body, pem)
                };
                assert_eq!(
                    says(target, &headers, sent),
                    Ok(true),
                    "{scheme:?} {method} {target}"
                );
                assert_eq!(says("/elsewhere", &headers, sent), Ok(false));
                if body.is_some() {
                    assert!(says(target, &headers, b"{}").is_err());
                }
            }
        }
    }
}

#[test]
fn tidegate_believes_the_simulator_and_nothing_that_was_spoiled() {
    let key = Arc::new(SimKey::generate());
    let pem = key.public_pem();
    for scheme in SCHEMES {
        for (method, body) in [(Method::GET, &b""[..]), (Method::POST, BODY)] {
            for target in TARGETS {
                let signed = |spoil: bool| {
                    let honest = Plan::honest(scheme, Arc::clone(&key), KEY_ID);
                    let mut headers = HeaderMap::new();
                    headers.insert("host", "b.sim.test".parse().expect("a value"));
                    headers.insert(
                        "content-type",
                        "application/activity+json".parse().expect("a value"),
                    );
                    let parts = (&method, "http", "b.sim.test", target);
                    making::sign(&Plan { spoil, ..honest }, parts, &mut headers, body)
                        .expect("signed");
                    headers
                };
                let headers = signed(false);
                let says = tidegate_says(&method, target, &headers, body, pem);
                assert_eq!(says, Ok(()), "{scheme:?} {method} {target}");
                let wrong = Err(SignatureError::Invalid);
                assert_eq!(
                    tidegate_says(&method, target, &signed(true), body, pem),
                    wrong
                );
                assert_eq!(
                    tidegate_says(&method, "/elsewhere", &headers, body, pem),
                    wrong
                );
            }
        }
    }
}
