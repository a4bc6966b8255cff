//! `Digest` (RFC 3230) and `Content-Digest` (RFC 9530) of a body.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256, Sha512};

use super::{Refusal, fields};

/// Value of the older `Digest` header.
pub fn legacy(body: &[u8]) -> String {
    format!("SHA-256={}", STANDARD.encode(Sha256::digest(body)))
}

/// Value of `Content-Digest`.
pub fn content(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Checks a `Digest` header; it must hold SHA-256.
pub fn check_legacy(header: &str, body: &[u8]) -> Result<(), Refusal> {
    let expected = Sha256::digest(body);
    let mut found = false;
    for item in header.split(',') {
        let Some((name, value)) = item.trim().split_once('=') else {
            return Err(Refusal::Malformed("Digest"));
        };
        if !name.eq_ignore_ascii_case("sha-256") {
            continue;
        }
        found = true;
        if STANDARD.decode(value).ok().as_deref() != Some(expected.as_slice()) {
            return Err(Refusal::Digest);
        }
    }
    if found { Ok(()) } else { Err(Refusal::Digest) }
}

/// Checks a `Content-Digest` header: at least one known algorithm, and all known ones right.
pub fn check_content(header: &str, body: &[u8]) -> Result<(), Refusal> {
    let members = fields::dictionary(header).ok_or(Refusal::Malformed("Content-Digest"))?;
    let mut known = 0;
    for member in members {
        let claimed =
            fields::byte_sequence(member.value).ok_or(Refusal::Malformed("Content-Digest"))?;
        let expected = match member.key {
            "sha-256" => Sha256::digest(body).to_vec(),
            "sha-512" => Sha512::digest(body).to_vec(),
            _ => continue,
        };
        if claimed != expected {
            return Err(Refusal::Digest);
        }
        known += 1;
    }
    if known == 0 {
        Err(Refusal::Digest)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_digest_hold_for_their_body_only() {
        let body = b"{\"hello\": \"world\"}";
        assert_eq!(check_legacy(&legacy(body), body), Ok(()));
        assert_eq!(check_content(&content(body), body), Ok(()));
        assert_eq!(check_legacy(&legacy(body), b"other"), Err(Refusal::Digest));
        assert_eq!(
            check_content(&content(body), b"other"),
            Err(Refusal::Digest)
        );
    }

    #[test]
    fn rfc_9530_example_body_has_the_published_digest() {
        // The value printed in RFC 9421 appendix B.2 for this body (SHA-512).
        let header = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrI\
                      iYllu7BNNyealdVLvRwEmTHWXvJwew==:";
        assert_eq!(check_content(header, b"{\"hello\": \"world\"}"), Ok(()));
    }

    #[test]
    fn a_digest_without_a_known_algorithm_proves_nothing() {
        assert_eq!(check_legacy("MD5=abc", b"x"), Err(Refusal::Digest));
        assert_eq!(check_content("crc=:AAAA:", b"x"), Err(Refusal::Digest));
    }
}
