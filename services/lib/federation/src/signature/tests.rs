//! Both schemes both ways, against an implementation that is not ours, and against attacks.

mod both_ways;
mod covered;
mod hostile;

use super::*;
use crate::keys::{KeyPairs, PublicKey, generate};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1v15::{Signature, SigningKey as OtherKey, VerifyingKey},
    pkcs8::{DecodePrivateKey, DecodePublicKey},
    signature::{SignatureEncoding, Signer, Verifier},
};
use sha2::Sha256;
use std::sync::LazyLock;
use time::{Duration, OffsetDateTime};
use url::Url;

const BODY: &[u8] = br#"{"type":"Follow"}"#;
const PATH: &str = "/users/ada/inbox?x=1";
const KEY_ID: &str = "https://p.test/users/bob#main-key";

static KEYS: LazyLock<KeyPairs> = LazyLock::new(|| generate().expect("pairs"));
static BASE: LazyLock<Url> = LazyLock::new(|| Url::parse("https://us.test").expect("a URL"));

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_700_000_000).expect("a time")
}

fn key() -> SigningKey {
    SigningKey::rsa(KEY_ID, KEYS.rsa_private.expose()).expect("a key")
}

fn ed25519_key() -> SigningKey {
    SigningKey::ed25519(KEY_ID, KEYS.ed25519_private.expose()).expect("a key")
}

fn ed25519_pem() -> String {
    PublicKey::from_multibase(&KEYS.ed25519_public)
        .expect("a key")
        .to_pem()
}

/// A request as it arrives.
#[derive(Clone)]
struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    fn new(headers: Vec<(HeaderName, String)>) -> Self {
        let mut request = Self {
            method: Method::POST,
            path: PATH.to_owned(),
            headers: HeaderMap::new(),
            body: BODY.to_vec(),
        };
        for (name, value) in headers {
            request
                .headers
                .insert(name, value.parse().expect("a value"));
        }
        request
    }

    fn parse(&self) -> Result<SignedRequest, SignatureError> {
        SignedRequest::parse(&RequestParts {
            method: &self.method,
            path_and_query: &self.path,
            base: &BASE,
            headers: &self.headers,
            body: &self.body,
        })
    }

    fn check(&self, pem: &str, at: OffsetDateTime) -> Result<(), SignatureError> {
        verify(&self.parse()?, pem, at)
    }

    fn checked(&self) -> Result<(), SignatureError> {
        self.check(&KEYS.rsa_public_pem, now())
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a value"));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("text")
    }
}

fn target() -> Url {
    BASE.join(PATH).expect("a URL")
}

fn cavage() -> Request {
    let digest = body_digest(BODY);
    Request::new(
        sign_cavage(&key(), &Method::POST, &target(), now(), Some(&digest)).expect("signed"),
    )
}

fn rfc9421(key: &SigningKey) -> Request {
    let digest = body_digest(BODY);
    Request::new(sign_rfc9421(key, &Method::POST, &target(), now(), Some(&digest)).expect("signed"))
}

/// Signs any text with the other implementation.
fn sign_elsewhere(message: &str) -> String {
    let private = RsaPrivateKey::from_pkcs8_der(KEYS.rsa_private.expose()).expect("a key");
    STANDARD.encode(
        OtherKey::<Sha256>::new(private)
            .sign(message.as_bytes())
            .to_bytes(),
    )
}

fn verified_elsewhere(message: &str, signature: &str) -> bool {
    let public = RsaPublicKey::from_public_key_pem(&KEYS.rsa_public_pem).expect("a key");
    let signature = STANDARD.decode(signature).expect("base64");
    VerifyingKey::<Sha256>::new(public)
        .verify(
            message.as_bytes(),
            &Signature::try_from(signature.as_slice()).expect("a signature"),
        )
        .is_ok()
}

/// A cavage POST put together and signed elsewhere: `lines` are what is signed, `parameters`
/// stand between keyId and signature.
fn cavage_elsewhere(covered: &str, lines: &[&str], parameters: &str) -> Request {
    let signature = sign_elsewhere(&lines.join("\n"));
    cavage().set(
        "signature",
        &format!("keyId=\"{KEY_ID}\",{parameters}headers=\"{covered}\",signature=\"{signature}\""),
    )
}
