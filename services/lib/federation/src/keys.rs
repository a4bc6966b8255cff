//! Key pairs of local actors, and the public keys of everybody else.
//!
//! Private halves leave here as PKCS#8 bytes for `store` to encrypt; they are parsed once into
//! a [`crate::signature::SigningKey`].

use crate::base58;
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair as RsaKeyPair, KeySize, PublicEncryptingKey},
    signature::{
        ED25519, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tidegate_model::Secret;

/// Ed25519 keys in SPKI are this prefix (RFC 8410) and the 32 bytes.
const ED25519_SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The varint of multicodec `ed25519-pub` (0xed).
const ED25519_MULTICODEC: [u8; 2] = [0xed, 0x01];

/// The longest PEM read: an RSA key of 8,192 bits takes about 1,500 characters.
const MAX_PEM_BYTES: usize = 4_096;

/// Moduli below 2,048 bits can be factored by the determined; above 8,192 bits a verification
/// costs a sender nothing and us milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Why a key could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither an SPKI nor a PKCS#1 public key in PEM.
    #[error("not a public key in PEM")]
    Malformed,
    /// A kind or size of key that is not taken.
    #[error("unsupported kind or size of key")]
    Unsupported,
    /// The operating system's randomness or memory failed.
    #[error("the key pair could not be made")]
    Generation,
}

/// The two key pairs of a new local actor.
#[derive(Debug, Clone)]
pub struct KeyPairs {
    /// RSA-2048 private key, PKCS#8 DER.
    pub rsa_private: Secret<Vec<u8>>,
    /// Its public half, SPKI PEM: what `publicKeyPem` shows.
    pub rsa_public_pem: String,
    /// Ed25519 private key, PKCS#8 DER.
    pub ed25519_private: Secret<Vec<u8>>,
    /// Its public half, multibase (base58btc) of multicodec: what `publicKeyMultibase` shows.
    pub ed25519_public: String,
}

/// Makes an RSA-2048 and an Ed25519 pair. Takes some 50 to 300 ms of CPU: call it on a
/// blocking pool.
pub fn generate() -> Result<KeyPairs, KeyError> {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generation)?;
    let rsa_private =
        AsDer::<Pkcs8V1Der<'static>>::as_der(&rsa).map_err(|_| KeyError::Generation)?;
    let rsa_public = AsDer::<PublicKeyX509Der<'static>>::as_der(rsa.public_key())
        .map_err(|_| KeyError::Generation)?;
    let ed25519 = Ed25519KeyPair::generate().map_err(|_| KeyError::Generation)?;
    let ed25519_private = ed25519.to_pkcs8v1().map_err(|_| KeyError::Generation)?;
    Ok(KeyPairs {
        rsa_private: Secret::new(rsa_private.as_ref().to_vec()),
        rsa_public_pem: pem("PUBLIC KEY", rsa_public.as_ref()),
        ed25519_private: Secret::new(ed25519_private.as_ref().to_vec()),
        ed25519_public: multibase(ed25519.public_key().as_ref()),
    })
}

/// Somebody's public key, read and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA of 2,048 to 8,192 bits, as SPKI DER.
    Rsa(Vec<u8>),
    /// Ed25519.
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// Reads SPKI (`PUBLIC KEY`) or PKCS#1 (`RSA PUBLIC KEY`) PEM. Line lengths, line endings
    /// and blanks around do not matter: documents carry them in every form.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = pem_body(text).ok_or(KeyError::Malformed)?;
        if let Some(key) = der.strip_prefix(&ED25519_SPKI_PREFIX) {
            return key
                .try_into()
                .map(Self::Ed25519)
                .map_err(|_| KeyError::Malformed);
        }
        let key = aws_lc_rs::rsa::PublicKey::from_der(&der).map_err(|_| KeyError::Malformed)?;
        let spki =
            AsDer::<PublicKeyX509Der<'static>>::as_der(&key).map_err(|_| KeyError::Malformed)?;
        // Only the encrypting view of a key tells its size; it refuses the same extremes.
        let bits = PublicEncryptingKey::from_der(spki.as_ref())
            .map_err(|_| KeyError::Unsupported)?
            .key_size_bits();
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::Unsupported);
        }
        Ok(Self::Rsa(spki.as_ref().to_vec()))
    }

    /// Reads a `publicKeyMultibase` (base58btc of an Ed25519 multicodec).
    pub fn from_multibase(text: &str) -> Result<Self, KeyError> {
        let bytes = text
            .strip_prefix('z')
            .and_then(base58::decode)
            .ok_or(KeyError::Malformed)?;
        let key = bytes
            .strip_prefix(&ED25519_MULTICODEC)
            .ok_or(KeyError::Unsupported)?;
        key.try_into()
            .map(Self::Ed25519)
            .map_err(|_| KeyError::Malformed)
    }

    /// The key as SPKI PEM, whatever it was read from.
    pub fn to_pem(&self) -> String {
        match self {
            Self::Rsa(spki) => pem("PUBLIC KEY", spki),
            Self::Ed25519(key) => pem("PUBLIC KEY", &[&ED25519_SPKI_PREFIX[..], key].concat()),
        }
    }

    /// Whether `signature` over `message` was made with the private half: RSASSA-PKCS1-v1_5
    /// with SHA-256, or Ed25519.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(spki) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        }
        .is_ok()
    }
}

/// Multibase (base58btc) of an Ed25519 public key with its multicodec prefix.
fn multibase(key: &[u8]) -> String {
    format!(
        "z{}",
        base58::encode(&[&ED25519_MULTICODEC[..], key].concat())
    )
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    // RFC 7468: lines of 64 characters. Base64 is ASCII, so bytes are characters.
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

fn pem_body(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_PEM_BYTES {
        return None;
    }
    ["PUBLIC KEY", "RSA PUBLIC KEY"].iter().find_map(|label| {
        let body = text
            .trim()
            .strip_prefix(&format!("-----BEGIN {label}-----"))?
            .strip_suffix(&format!("-----END {label}-----"))?;
        let dense: String = body.split_ascii_whitespace().collect();
        STANDARD.decode(dense).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rsa::{
        RsaPrivateKey, RsaPublicKey,
        pkcs1::EncodeRsaPublicKey,
        pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey, LineEnding},
        traits::PublicKeyParts,
    };

    fn rsa_key(bits: usize) -> RsaPublicKey {
        RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits)
            .expect("a key")
            .to_public_key()
    }

    #[test]
    fn generated_pairs_are_read_by_an_independent_implementation() {
        let pairs = generate().expect("pairs");
        let private = RsaPrivateKey::from_pkcs8_der(pairs.rsa_private.expose()).expect("PKCS#8");
        let public = RsaPublicKey::from_public_key_pem(&pairs.rsa_public_pem).expect("SPKI");
        assert_eq!(private.to_public_key(), public);
        assert_eq!(public.size(), 256);
        assert!(pairs.ed25519_public.starts_with("z6Mk"));
        assert!(matches!(
            PublicKey::from_multibase(&pairs.ed25519_public),
            Ok(PublicKey::Ed25519(_))
        ));
        Ed25519KeyPair::from_pkcs8(pairs.ed25519_private.expose()).expect("PKCS#8");
    }

    #[test]
    fn printing_key_pairs_shows_no_private_key() {
        let shown = format!("{:?}", generate().expect("pairs"));
        assert_eq!(shown.matches("[secret]").count(), 2);
    }

    #[test]
    fn spki_and_pkcs1_are_one_key() {
        let key = rsa_key(2048);
        let spki = key.to_public_key_pem(LineEnding::CRLF).expect("PEM");
        let pkcs1 = key.to_pkcs1_pem(LineEnding::LF).expect("PEM");
        let read = PublicKey::from_pem(&spki).expect("SPKI");
        assert_eq!(PublicKey::from_pem(&pkcs1), Ok(read.clone()));
        assert_eq!(PublicKey::from_pem(&read.to_pem()), Ok(read));
    }

    #[test]
    fn a_key_on_one_line_is_read() {
        let spki = rsa_key(2048)
            .to_public_key_pem(LineEnding::LF)
            .expect("PEM");
        let body: String = spki.lines().filter(|line| !line.starts_with('-')).collect();
        let one_line = format!("\n-----BEGIN PUBLIC KEY-----{body}-----END PUBLIC KEY-----  ");
        assert_eq!(PublicKey::from_pem(&one_line), PublicKey::from_pem(&spki));
    }

    #[test]
    fn short_keys_are_refused() {
        for bits in [1024, 2047] {
            let pem = rsa_key(bits)
                .to_public_key_pem(LineEnding::LF)
                .expect("PEM");
            assert_eq!(
                PublicKey::from_pem(&pem),
                Err(KeyError::Unsupported),
                "{bits}"
            );
        }
    }

    #[test]
    fn an_endless_key_is_refused() {
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----",
            "A".repeat(MAX_PEM_BYTES)
        );
        assert_eq!(PublicKey::from_pem(&pem), Err(KeyError::Malformed));
    }

    #[test]
    fn ed25519_survives_pem_and_multibase() {
        let key = PublicKey::Ed25519([7; 32]);
        assert_eq!(PublicKey::from_pem(&key.to_pem()), Ok(key.clone()));
        assert_eq!(PublicKey::from_multibase(&multibase(&[7; 32])), Ok(key));
    }

    #[test]
    fn a_multibase_of_another_kind_is_refused() {
        let secp = format!(
            "z{}",
            base58::encode(&[&[0xe7, 0x01][..], &[1; 33]].concat())
        );
        assert_eq!(PublicKey::from_multibase(&secp), Err(KeyError::Unsupported));
        assert_eq!(PublicKey::from_multibase("u7QE"), Err(KeyError::Malformed));
    }

    proptest! {
        #[test]
        fn nothing_that_looks_like_a_key_panics(text in "(-----BEGIN (RSA )?PUBLIC KEY-----)?[A-Za-z0-9+/=\n]{0,200}(-----END PUBLIC KEY-----)?") {
            let _ = PublicKey::from_pem(&text);
            let _ = PublicKey::from_multibase(&text);
        }
    }
}
