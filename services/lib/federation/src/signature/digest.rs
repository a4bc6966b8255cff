//! `Digest` (RFC 3230 spelling, as the fediverse uses it) and `Content-Digest` (RFC 9530).

use super::{SignatureError, sf};
use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Base64 of the SHA-256 of a body: computed once per activity, used for every inbox.
pub fn body_digest(body: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, body))
}

/// The value of a `Digest` header.
pub(super) fn digest_header(digest: &str) -> String {
    format!("SHA-256={digest}")
}

/// The value of a `Content-Digest` header.
pub(super) fn content_digest_header(digest: &str) -> String {
    format!("sha-256=:{digest}:")
}

/// Checks a `Digest` header: one SHA-256 of exactly this body, and no known algorithm beside
/// it that says otherwise.
pub(super) fn check_digest(header: &str, body: &[u8]) -> Result<(), SignatureError> {
    let mut sha256 = false;
    for member in header.split(',') {
        let (algorithm, value) = member
            .trim()
            .split_once('=')
            .ok_or(SignatureError::Digest)?;
        let value = STANDARD.decode(value).map_err(|_| SignatureError::Digest);
        if algorithm.eq_ignore_ascii_case("sha-256") {
            if sha256 || value? != digest(&SHA256, body).as_ref() {
                return Err(SignatureError::Digest);
            }
            sha256 = true;
        } else if algorithm.eq_ignore_ascii_case("sha-512")
            && value? != digest(&SHA512, body).as_ref()
        {
            return Err(SignatureError::Digest);
        }
    }
    if sha256 {
        Ok(())
    } else {
        Err(SignatureError::Digest)
    }
}

/// Checks a `Content-Digest` header by the same rule.
pub(super) fn check_content_digest(header: &str, body: &[u8]) -> Result<(), SignatureError> {
    let members = sf::dictionary(header).ok_or(SignatureError::Malformed("Content-Digest"))?;
    let mut sha256 = false;
    for (name, member) in &members {
        let expected = match name.as_str() {
            "sha-256" => digest(&SHA256, body),
            "sha-512" => digest(&SHA512, body),
            _ => continue,
        };
        if member.bytes().as_deref() != Some(expected.as_ref()) {
            return Err(SignatureError::Digest);
        }
        sha256 |= name == "sha-256";
    }
    if sha256 {
        Ok(())
    } else {
        Err(SignatureError::Digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "hello" as `openssl dgst` prints it.
    const HELLO: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    const HELLO_512: &str =
        "m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==";

    #[test]
    fn the_digest_is_that_of_openssl() {
        assert_eq!(body_digest(b"hello"), HELLO);
    }

    #[test]
    fn a_right_digest_is_taken_in_both_spellings() {
        assert_eq!(check_digest(&digest_header(HELLO), b"hello"), Ok(()));
        assert_eq!(check_digest(&format!("sha-256={HELLO}"), b"hello"), Ok(()));
        assert_eq!(
            check_content_digest(&content_digest_header(HELLO), b"hello"),
            Ok(())
        );
        let both = format!("sha-512=:{HELLO_512}:, sha-256=:{HELLO}:");
        assert_eq!(check_content_digest(&both, b"hello"), Ok(()));
    }

    #[test]
    fn a_wrong_digest_is_refused() {
        for header in [
            digest_header(HELLO).as_str(),
            "",
            "SHA-256",
            "SHA-256=",
            "SHA-256=!!!",
            "MD5=XUFAKrxLKna5cZ2REBfFkg==",
        ] {
            assert_eq!(
                check_digest(header, b"hellO"),
                Err(SignatureError::Digest),
                "{header}"
            );
        }
        assert_eq!(
            check_content_digest(&content_digest_header(HELLO), b"hellO"),
            Err(SignatureError::Digest)
        );
        assert!(check_content_digest("sha-256=1", b"hello").is_err());
        assert!(check_content_digest("md5=:AA==:", b"hello").is_err());
    }

    #[test]
    fn algorithms_that_disagree_are_refused() {
        let header = format!("SHA-512={HELLO},SHA-256={HELLO}");
        assert_eq!(check_digest(&header, b"hello"), Err(SignatureError::Digest));
        let header = format!("sha-256=:{HELLO}:, sha-512=:{HELLO}:");
        assert_eq!(
            check_content_digest(&header, b"hello"),
            Err(SignatureError::Digest)
        );
        let twice = format!("SHA-256={HELLO},sha-256={HELLO}");
        assert_eq!(check_digest(&twice, b"hello"), Err(SignatureError::Digest));
    }
}
