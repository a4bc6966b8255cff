//! What a signature must cover, and that nothing it covers may change.

use super::*;

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
