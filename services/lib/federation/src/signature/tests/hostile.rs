//! Games with time, keys and broken headers (attacks A5, A6).

use super::*;

#[test]
fn time_is_a_window_of_sixty_five_minutes() {
    for request in [cavage(), rfc9421(&key())] {
        let at = |offset: Duration| request.check(&KEYS.rsa_public_pem, now() + offset);
        for near in [
            Duration::minutes(65),
            Duration::minutes(-65),
            Duration::ZERO,
        ] {
            assert_eq!(at(near), Ok(()), "{near}");
        }
        for far in [
            Duration::minutes(66),
            Duration::minutes(-66),
            Duration::hours(13),
            Duration::days(1),
            Duration::days(-1),
        ] {
            assert_eq!(at(far), Err(SignatureError::Window), "{far}");
        }
        let parsed = request.parse().expect("parsed");
        let narrow = Duration::minutes(1);
        assert_eq!(
            verify_within(
                &parsed,
                &KEYS.rsa_public_pem,
                now() + Duration::minutes(2),
                narrow
            ),
            Err(SignatureError::Window)
        );
    }
}

#[test]
fn date_games_are_refused() {
    let mut twice = cavage();
    let date: HeaderValue = "Tue, 14 Nov 2023 22:13:20 GMT".parse().expect("a value");
    twice.headers.append("date", date);
    assert!(matches!(twice.parse(), Err(SignatureError::Malformed(_))));
    for date in ["", "yesterday", "1700000000", "2023-11-14T22:13:20Z"] {
        let parsed = cavage().set("date", date).parse();
        assert!(
            matches!(parsed, Err(SignatureError::Malformed(_))),
            "{date}"
        );
    }
    let covered = "(request-target) (created) host digest";
    for times in [
        "created=1700000000,expires=1699999999,",
        "created=-1,",
        "created=\"\",",
        "created=99999999999999999999,",
        "",
    ] {
        let parsed = cavage_elsewhere(covered, &["x"], times).parse();
        assert!(
            matches!(parsed, Err(SignatureError::Malformed(_))),
            "{times}"
        );
    }
    for times in [
        "created=1700000000;expires=1699999999",
        "created=\"1700000000\"",
        "created=-5",
        "created=1.5",
        "created=1;created=1",
    ] {
        let input = format!(
            "sig1=(\"@method\" \"@target-uri\" \"content-digest\");{times};keyid=\"{KEY_ID}\""
        );
        let parsed = rfc9421(&key()).set("signature-input", &input).parse();
        assert!(
            matches!(parsed, Err(SignatureError::Malformed(_))),
            "{times}"
        );
    }
}

#[test]
fn an_expired_signature_is_refused() {
    let mut parsed = rfc9421(&key()).parse().expect("parsed");
    parsed.expires = Some(now().unix_timestamp() - 66 * 60);
    assert_eq!(
        verify(&parsed, &KEYS.rsa_public_pem, now()),
        Err(SignatureError::Window)
    );
    parsed.expires = Some(i64::MAX);
    assert_eq!(verify(&parsed, &KEYS.rsa_public_pem, now()), Ok(()));
}

proptest! {
    /// Senders let signatures expire within seconds, and clocks differ by more: `expires` alone
    /// refuses no delivery, only the time of signing does.
    #[test]
    fn within_the_window_no_expiry_refuses_a_delivery(
        signed_before in 0..=3_900_i64,
        lifetime in 0..=100_000_i64,
    ) {
        let mut parsed = cavage().parse().expect("parsed");
        let signed = now().unix_timestamp() - signed_before;
        parsed.signed_at = vec![signed];
        parsed.expires = Some(signed + lifetime);
        prop_assert_eq!(parsed.check_time(now(), DEFAULT_WINDOW), Ok(()));
    }
}

#[test]
fn another_key_or_kind_of_key_is_refused() {
    let other = generate().expect("pairs").rsa_public_pem;
    for request in [cavage(), rfc9421(&key())] {
        assert_eq!(request.check(&other, now()), Err(SignatureError::Invalid));
        assert_eq!(
            request.check(&ed25519_pem(), now()),
            Err(SignatureError::Algorithm)
        );
        assert!(matches!(
            request.check("nonsense", now()),
            Err(SignatureError::Key(_))
        ));
    }
    let crossed = rfc9421(&ed25519_key());
    assert_eq!(crossed.checked(), Err(SignatureError::Algorithm));
    assert_eq!(
        sign_cavage(&ed25519_key(), &Method::GET, &target(), now(), None),
        Err(SignatureError::Algorithm)
    );
}

#[test]
fn broken_headers_are_refused() {
    assert_eq!(
        cavage().without("signature").parse(),
        Err(SignatureError::Missing)
    );
    let good = cavage();
    let good = good.header("signature");
    let endless = format!("{good},x=\"{}\"", "y".repeat(10_000));
    for header in [
        "",
        "keyId",
        "keyId=\"x",
        "keyId=\"x\" algorithm=\"y\"",
        &format!("{good},keyId=\"z\""),
        &format!("{good},x=1,x=2"),
        &format!("{good},"),
        &good.replace("(request-target) host", "(request-target) host host"),
        &good.replace("host date", "host  date"),
        &good.replace("host date", "host Date date"),
        &good.replace("host date", "host (evil) date"),
        &good.replace("signature=\"", "signature=\"!"),
        &good.replace(KEY_ID, ""),
        &endless,
    ] {
        let parsed = cavage().set("signature", header).parse();
        assert!(
            matches!(parsed, Err(SignatureError::Malformed(_))),
            "{header}"
        );
    }
    let parsed = cavage().set("signature", &good.replace("rsa-sha256", "hmac-sha256"));
    assert_eq!(parsed.parse(), Err(SignatureError::Algorithm));
    let mut twice = cavage();
    twice
        .headers
        .append("signature", "x=1".parse().expect("a value"));
    assert!(twice.parse().is_err());
}

#[test]
fn broken_rfc9421_headers_are_refused() {
    let good = rfc9421(&key());
    let input = good.header("signature-input");
    for header in [
        "",
        "sig1",
        "sig1=1",
        "sig2=(\"@method\")",
        &input.replace("\"@method\"", "\"@method\" \"@method\""),
        &input.replace("\"@method\"", "\"@method\";req"),
        &input.replace("\"@method\"", "@method"),
        &input.replace("\"@method\"", "\"@method\" \"@status\""),
        &input.replace("\"@method\"", "\"@method\" \"absent\""),
        &input.replace("keyid=\"", "x=\""),
        &input.replace("keyid=\"", "keyid=\"y\";keyid=\""),
        &format!("{input}, {input}"),
        &format!("{input}, b=(), c=(), d=(), e=()"),
    ] {
        let parsed = rfc9421(&key()).set("signature-input", header).parse();
        assert!(parsed.is_err(), "{header}");
    }
    let parsed = good.clone().set(
        "signature-input",
        &input.replace("rsa-v1_5-sha256", "hmac-sha256"),
    );
    assert_eq!(parsed.parse(), Err(SignatureError::Algorithm));
    assert!(good.clone().without("signature").parse().is_err());
    assert!(good.clone().set("signature", "sig1=:!:").parse().is_err());
    assert!(good.set("signature", "other=:AAAA:").parse().is_err());
}
