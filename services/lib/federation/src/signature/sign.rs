//! Signing what we send. Runs on the delivery service's bounded pool, never on async threads:
//! an RSA-2048 signature takes about 0.3 ms.

use super::{
    SignatureError,
    digest::{content_digest_header, digest_header},
    target::Target,
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, Method, header};
use std::{fmt, sync::Arc};
use time::OffsetDateTime;
use url::Url;

/// A parsed private key and its public name. Clones share the key: parsing costs more than
/// signing.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    key_id: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.0.key_id)
    }
}

impl SigningKey {
    /// An RSA key from PKCS#8 DER.
    pub fn rsa(key_id: impl Into<String>, pkcs8: &[u8]) -> Result<Self, SignatureError> {
        let pair = RsaKeyPair::from_pkcs8(pkcs8)
            .map_err(|_| SignatureError::Signing("not an RSA key in PKCS#8"))?;
        Self::new(key_id.into(), Pair::Rsa(pair))
    }

    /// An Ed25519 key from PKCS#8 DER.
    pub fn ed25519(key_id: impl Into<String>, pkcs8: &[u8]) -> Result<Self, SignatureError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
            .map_err(|_| SignatureError::Signing("not an Ed25519 key in PKCS#8"))?;
        Self::new(key_id.into(), Pair::Ed25519(pair))
    }

    fn new(key_id: String, pair: Pair) -> Result<Self, SignatureError> {
        let quotable = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if key_id.is_empty() || !key_id.bytes().all(quotable) {
            return Err(SignatureError::Signing("the key id cannot be quoted"));
        }
        Ok(Self(Arc::new(Inner { key_id, pair })))
    }

    /// The public name of the key.
    pub fn key_id(&self) -> &str {
        &self.0.key_id
    }

    fn rfc9421_algorithm(&self) -> &'static str {
        match self.0.pair {
            Pair::Rsa(_) => "rsa-v1_5-sha256",
            Pair::Ed25519(_) => "ed25519",
        }
    }

    /// Base64 of the signature over `message`.
    fn sign(&self, message: &[u8]) -> Result<String, SignatureError> {
        match &self.0.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .map_err(|_| SignatureError::Signing("the RSA operation failed"))?;
                Ok(STANDARD.encode(signature))
            }
            Pair::Ed25519(pair) => Ok(STANDARD.encode(pair.sign(message))),
        }
    }
}

/// Signs by draft-cavage with `rsa-sha256`. `body` is the base64 SHA-256 of the body
/// ([`super::body_digest`]), absent for a GET. Returns the headers to set: `Host`, `Date`,
/// `Digest` (with a body) and `Signature`. Ed25519 keys are refused: nobody reads them here.
pub fn sign_cavage(
    key: &SigningKey,
    method: &Method,
    url: &Url,
    date: OffsetDateTime,
    body: Option<&str>,
) -> Result<Vec<(HeaderName, String)>, SignatureError> {
    if !matches!(key.0.pair, Pair::Rsa(_)) {
        return Err(SignatureError::Algorithm);
    }
    let target = Target::of(url)?;
    let date = httpdate::fmt_http_date(date.into());
    let mut covered = "(request-target) host date".to_owned();
    let mut message = format!(
        "(request-target): {} {}\nhost: {}\ndate: {date}",
        method.as_str().to_ascii_lowercase(),
        target.request_target(),
        target.authority,
    );
    let mut headers = vec![(header::HOST, target.authority), (header::DATE, date)];
    if let Some(digest) = body {
        let digest = digest_header(digest);
        covered.push_str(" digest");
        message.push_str("\ndigest: ");
        message.push_str(&digest);
        headers.push((HeaderName::from_static("digest"), digest));
    }
    let signature = key.sign(message.as_bytes())?;
    headers.push((
        HeaderName::from_static("signature"),
        format!(
            "keyId=\"{}\",algorithm=\"rsa-sha256\",headers=\"{covered}\",signature=\"{signature}\"",
            key.key_id(),
        ),
    ));
    Ok(headers)
}

/// Signs by RFC 9421 with the key's own algorithm. Returns the headers to set: `Host`, `Date`,
/// `Content-Digest` (with a body), `Signature-Input` and `Signature`.
pub fn sign_rfc9421(
    key: &SigningKey,
    method: &Method,
    url: &Url,
    date: OffsetDateTime,
    body: Option<&str>,
) -> Result<Vec<(HeaderName, String)>, SignatureError> {
    let target = Target::of(url)?;
    let mut covered = "\"@method\" \"@target-uri\"".to_owned();
    let mut message = format!(
        "\"@method\": {}\n\"@target-uri\": {}\n",
        method.as_str(),
        target.uri(),
    );
    let mut headers = vec![
        (header::HOST, target.authority),
        (header::DATE, httpdate::fmt_http_date(date.into())),
    ];
    if let Some(digest) = body {
        let digest = content_digest_header(digest);
        covered.push_str(" \"content-digest\"");
        message.push_str("\"content-digest\": ");
        message.push_str(&digest);
        message.push('\n');
        headers.push((HeaderName::from_static("content-digest"), digest));
    }
    let parameters = format!(
        "({covered});created={};keyid=\"{}\";alg=\"{}\"",
        date.unix_timestamp(),
        key.key_id(),
        key.rfc9421_algorithm(),
    );
    message.push_str("\"@signature-params\": ");
    message.push_str(&parameters);
    let signature = key.sign(message.as_bytes())?;
    headers.push((
        HeaderName::from_static("signature-input"),
        format!("sig1={parameters}"),
    ));
    headers.push((
        HeaderName::from_static("signature"),
        format!("sig1=:{signature}:"),
    ));
    Ok(headers)
}
