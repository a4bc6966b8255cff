//! Both schemes both ways, against an implementation that is not ours, and against attacks.

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

#[test]
fn what_we_sign_by_cavage_verifies_elsewhere() {
    let request = cavage();
    let header = request.header("signature");
    let (_, signature) = header.rsplit_once("signature=\"").expect("a signature");
    let message = format!(
        "(request-target): post {PATH}\nhost: us.test\ndate: Tue, 14 Nov 2023 22:13:20 GMT\n\
         digest: SHA-256={}",
        body_digest(BODY)
    );
    assert!(verified_elsewhere(
        &message,
        signature.trim_end_matches('"')
    ));
    assert!(header.contains("headers=\"(request-target) host date digest\""));
}

#[test]
fn what_we_sign_by_rfc9421_verifies_elsewhere() {
    let request = rfc9421(&key());
    let message = format!(
        "\"@method\": POST\n\"@target-uri\": https://us.test{PATH}\n\
         \"content-digest\": sha-256=:{}:\n\
         \"@signature-params\": (\"@method\" \"@target-uri\" \"content-digest\");\
         created=1700000000;keyid=\"{KEY_ID}\";alg=\"rsa-v1_5-sha256\"",
        body_digest(BODY)
    );
    let signature = request.header("signature");
    let signature = signature
        .strip_prefix("sig1=:")
        .and_then(|s| s.strip_suffix(':'));
    assert!(verified_elsewhere(
        &message,
        signature.expect("a signature")
    ));
}

#[test]
fn what_we_sign_we_believe() {
    assert_eq!(cavage().checked(), Ok(()));
    assert_eq!(rfc9421(&key()).checked(), Ok(()));
    assert_eq!(rfc9421(&ed25519_key()).check(&ed25519_pem(), now()), Ok(()));
    assert_eq!(cavage().parse().expect("parsed").key_id(), KEY_ID);
    assert_eq!(cavage().parse().expect("parsed").scheme(), Scheme::Cavage);
    assert_eq!(
        rfc9421(&key()).parse().expect("parsed").scheme(),
        Scheme::Rfc9421
    );
}

#[test]
fn a_get_needs_no_digest() {
    for headers in [
        sign_cavage(&key(), &Method::GET, &target(), now(), None),
        sign_rfc9421(&key(), &Method::GET, &target(), now(), None),
    ] {
        let mut request = Request::new(headers.expect("signed"));
        request.method = Method::GET;
        request.body.clear();
        assert_eq!(request.checked(), Ok(()));
        // With a body it does.
        request.body = BODY.to_vec();
        assert!(matches!(
            request.parse(),
            Err(SignatureError::NotCovered(_))
        ));
    }
}

#[test]
fn what_is_signed_elsewhere_we_believe() {
    let digest = format!("digest: SHA-256={}", body_digest(BODY));
    let date = "date: Tue, 14 Nov 2023 22:13:20 GMT";
    let target = format!("(request-target): post {PATH}");
    let covered = "(request-target) host date digest";
    for algorithm in ["", "algorithm=\"hs2019\",", "algorithm=\"rsa-sha256\", "] {
        let lines = [target.as_str(), "host: us.test", date, &digest];
        assert_eq!(
            cavage_elsewhere(covered, &lines, algorithm).checked(),
            Ok(())
        );
    }
    // Without the query, as older servers sign.
    let lines = [
        "(request-target): post /users/ada/inbox",
        "host: us.test",
        date,
        &digest,
    ];
    assert_eq!(cavage_elsewhere(covered, &lines, "").checked(), Ok(()));
    // With (created) and more headers.
    let covered = "(request-target) (created) host digest content-type";
    let lines = [
        target.as_str(),
        "(created): 1700000000",
        "host: us.test",
        &digest,
        "content-type: application/activity+json",
    ];
    let request = cavage_elsewhere(covered, &lines, "algorithm=\"hs2019\",created=1700000000,")
        .set("content-type", "application/activity+json");
    assert_eq!(request.checked(), Ok(()));
    assert!(request.set("content-type", "text/plain").checked().is_err());
    // (created) under an algorithm that knows no such thing.
    let request = cavage_elsewhere(
        covered,
        &lines,
        "algorithm=\"rsa-sha256\",created=1700000000,",
    );
    assert!(matches!(request.parse(), Err(SignatureError::Malformed(_))));
}

#[test]
fn a_swapped_body_is_refused() {
    for request in [cavage(), rfc9421(&key())] {
        let mut swapped = request.clone();
        swapped.body = br#"{"type":"Block"}"#.to_vec();
        assert_eq!(swapped.parse(), Err(SignatureError::Digest));
        // With a digest to match: the signature is over the other one.
        let digest = body_digest(&swapped.body);
        let swapped = swapped
            .set("digest", &format!("SHA-256={digest}"))
            .set("content-digest", &format!("sha-256=:{digest}:"));
        assert_eq!(swapped.checked(), Err(SignatureError::Invalid));
        let bare = request.without("digest").without("content-digest");
        assert!(matches!(bare.parse(), Err(SignatureError::Malformed(_))));
    }
}

#[test]
fn what_must_be_covered_must_be_covered() {
    let digest = format!("digest: SHA-256={}", body_digest(BODY));
    let target = format!("(request-target): post {PATH}");
    let all = [
        ("(request-target)", target.as_str()),
        ("host", "host: us.test"),
        ("date", "date: Tue, 14 Nov 2023 22:13:20 GMT"),
        ("digest", digest.as_str()),
    ];
    for missing in 0..all.len() {
        let kept: Vec<_> = (0..all.len())
            .filter(|&n| n != missing)
            .map(|n| all[n])
            .collect();
        let covered: Vec<&str> = kept.iter().map(|one| one.0).collect();
        let lines: Vec<&str> = kept.iter().map(|one| one.1).collect();
        assert_eq!(
            cavage_elsewhere(&covered.join(" "), &lines, "").parse(),
            Err(SignatureError::NotCovered(all[missing].0))
        );
    }
}

#[test]
fn rfc9421_must_cover_as_much() {
    for (components, verdict) in [
        ("\"@method\" \"@target-uri\" \"content-digest\"", None),
        (
            "\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\"",
            None,
        ),
        (
            "\"@method\" \"host\" \"@request-target\" \"content-digest\"",
            None,
        ),
        ("\"@target-uri\" \"content-digest\"", Some("@method")),
        ("\"@method\" \"content-digest\"", Some("@target-uri")),
        (
            "\"@method\" \"@authority\" \"@path\" \"content-digest\"",
            Some("@target-uri"),
        ),
        (
            "\"@method\" \"@path\" \"@query\" \"content-digest\"",
            Some("@target-uri"),
        ),
        ("\"@method\" \"@target-uri\"", Some("content-digest")),
        (
            "\"@method\" \"@target-uri\" \"digest\"",
            Some("content-digest"),
        ),
    ] {
        let input = format!("sig1=({components});created=1700000000;keyid=\"{KEY_ID}\"");
        let parsed = rfc9421(&key()).set("signature-input", &input).parse();
        match verdict {
            None => assert!(parsed.is_ok(), "{components}"),
            Some(what) => assert_eq!(parsed, Err(SignatureError::NotCovered(what))),
        }
    }
    let timeless =
        format!("sig1=(\"@method\" \"@target-uri\" \"content-digest\");keyid=\"{KEY_ID}\"");
    assert_eq!(
        rfc9421(&key()).set("signature-input", &timeless).parse(),
        Err(SignatureError::NotCovered("created"))
    );
}

#[test]
fn a_replay_elsewhere_is_refused() {
    for request in [cavage(), rfc9421(&key())] {
        let mut other = request.clone();
        other.path = "/users/bob/inbox?x=1".to_owned();
        assert_eq!(other.checked(), Err(SignatureError::Invalid));
        let mut other = request.clone();
        other.path = "/users/ada/inbox?x=2".to_owned();
        assert_eq!(other.checked(), Err(SignatureError::Invalid));
        let mut other = request.clone();
        other.method = Method::PUT;
        assert_eq!(other.checked(), Err(SignatureError::Invalid));
    }
    // Signed for another host, and shown to us under either name.
    let url = Url::parse("https://p.test/users/ada/inbox?x=1").expect("a URL");
    let digest = body_digest(BODY);
    for host in ["p.test", "us.test"] {
        for headers in [
            sign_cavage(&key(), &Method::POST, &url, now(), Some(&digest)),
            sign_rfc9421(&key(), &Method::POST, &url, now(), Some(&digest)),
        ] {
            let request = Request::new(headers.expect("signed")).set("host", host);
            assert_eq!(request.checked(), Err(SignatureError::Invalid));
        }
    }
}

#[test]
fn a_proxy_may_rewrite_the_host() {
    for request in [cavage(), rfc9421(&key())] {
        assert_eq!(
            request.clone().set("host", "10.0.0.7:3000").checked(),
            Ok(())
        );
        assert_eq!(request.without("host").checked(), Ok(()));
    }
}

#[test]
fn the_signature_that_covers_enough_counts() {
    let good = rfc9421(&key());
    let input = format!(
        "proxy=(\"@method\");created=1, {}",
        good.header("signature-input")
    );
    let signature = format!("proxy=:AAAA:, {}", good.header("signature"));
    let request = good
        .set("signature-input", &input)
        .set("signature", &signature);
    assert_eq!(request.checked(), Ok(()));
}

#[test]
fn the_ed25519_example_of_the_rfc_verifies() {
    // RFC 9421, appendix B.2.6, with the key of B.1.4.
    let pem = "-----BEGIN PUBLIC KEY-----\n\
               MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n\
               -----END PUBLIC KEY-----\n";
    let message = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
        \"@method\": POST\n\
        \"@path\": /foo\n\
        \"@authority\": example.com\n\
        \"content-type\": application/json\n\
        \"content-length\": 18\n\
        \"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \
        \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
    let signature = STANDARD
        .decode("wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==")
        .expect("base64");
    assert!(
        PublicKey::from_pem(pem)
            .expect("a key")
            .verifies(message.as_bytes(), &signature)
    );

    // Our own reading of the same request arrives at the same text.
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-length", "18"),
        (
            "signature-input",
            "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"",
        ),
    ] {
        headers.insert(name, value.parse().expect("a value"));
    }
    let base = Url::parse("https://example.com").expect("a URL");
    let request = RequestParts {
        method: &Method::POST,
        path_and_query: "/foo?param=Value&Pet=dog",
        base: &base,
        headers: &headers,
        body: b"",
    };
    assert_eq!(
        rfc9421::message_for_tests(&request).as_deref(),
        Some(message)
    );
}

#[test]
fn a_key_id_that_cannot_be_quoted_is_refused() {
    for id in ["", "a\"b", "a\nb", "a b", "a\\b"] {
        assert!(
            SigningKey::rsa(id, KEYS.rsa_private.expose()).is_err(),
            "{id}"
        );
    }
    assert!(SigningKey::rsa("x", b"nonsense").is_err());
    assert!(SigningKey::ed25519("x", KEYS.rsa_private.expose()).is_err());
    assert_eq!(format!("{:?}", key()), format!("SigningKey({KEY_ID:?})"));
}

/// Where a byte may be changed.
#[derive(Debug, Clone, Copy)]
enum Part {
    Path,
    Body,
    Header(&'static str),
}

fn changed(mut request: Request, part: Part, at: usize, bit: u8) -> Option<Request> {
    let flip = |bytes: &mut [u8]| {
        let at = at % bytes.len();
        bytes[at] ^= 1 << (bit % 7);
    };
    match part {
        Part::Path => {
            let mut bytes = request.path.clone().into_bytes();
            flip(&mut bytes);
            request.path = String::from_utf8(bytes).ok()?;
        }
        Part::Body => flip(&mut request.body),
        Part::Header(name) => {
            let mut bytes = request.headers.get(name)?.as_bytes().to_vec();
            flip(&mut bytes);
            request
                .headers
                .insert(name, HeaderValue::from_bytes(&bytes).ok()?);
        }
    }
    Some(request)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_changed_byte_of_what_is_covered_is_refused(
        scheme in 0..3_usize,
        part in prop_oneof![
            Just(Part::Path), Just(Part::Body), Just(Part::Header("date")),
            Just(Part::Header("digest")), Just(Part::Header("content-digest")),
        ],
        at in any::<usize>(),
        bit in any::<u8>(),
    ) {
        static SIGNED: LazyLock<[Request; 3]> =
            LazyLock::new(|| [cavage(), rfc9421(&key()), rfc9421(&ed25519_key())]);
        let pem = if scheme == 2 { ed25519_pem() } else { KEYS.rsa_public_pem.clone() };
        // RFC 9421 covers no Date here: its own `created` is its time.
        let uncovered = scheme > 0 && matches!(part, Part::Header("date"));
        if let Some(request) = changed(SIGNED[scheme].clone(), part, at, bit)
            && !uncovered
        {
            let verdict = request.check(&pem, now());
            // The name of the algorithm is compared without regard to case, but covered.
            prop_assert!(verdict.is_err(), "{part:?} {at} {bit}");
        }
    }

    #[test]
    fn no_signature_header_panics(
        signature in "[ -~]{0,120}",
        input in "(sig1=)?[ -~]{0,80}",
        both in any::<bool>(),
    ) {
        let mut request = cavage().set("signature", &signature);
        if both {
            request = request.set("signature-input", &input);
        }
        prop_assert!(request.checked().is_err());
    }
}
