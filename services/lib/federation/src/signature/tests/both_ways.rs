//! What we sign is believed elsewhere, and what is signed elsewhere is believed here.

use super::*;

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
