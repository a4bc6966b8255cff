//! RSA keys of simulated actors: a small pool, filled on demand, because making one takes a
//! tenth of a second and thousands of actors can share a few.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1v15::{Signature, SigningKey, VerifyingKey},
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding},
    signature::{SignatureEncoding, Signer, Verifier},
    traits::PublicKeyParts,
};
use sha2::Sha256;

/// What Mastodon makes for every account.
const KEY_BITS: usize = 2048;

/// The largest foreign key we verify with; larger ones are a way to burn our time.
const LARGEST_KEY_BYTES: usize = 8192 / 8;

/// A private key and the PEM text of its public half.
pub struct SimKey {
    signing: SigningKey<Sha256>,
    public_pem: String,
}

impl std::fmt::Debug for SimKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SimKey")
    }
}

impl SimKey {
    /// Makes a new key; takes about 0.1 s of processor time.
    pub fn generate() -> Self {
        let private = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS)
            .expect("2048 is a size that RSA knows");
        let public_pem = private
            .to_public_key()
            .to_public_key_pem(LineEnding::LF)
            .expect("a key just made can be written down");
        Self {
            signing: SigningKey::new(private),
            public_pem,
        }
    }

    /// Reads a key from its PKCS#8 PEM text.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let private = RsaPrivateKey::from_pkcs8_pem(pem).ok()?;
        let public_pem = private
            .to_public_key()
            .to_public_key_pem(LineEnding::LF)
            .ok()?;
        Some(Self {
            signing: SigningKey::new(private),
            public_pem,
        })
    }

    /// The private key as PKCS#8 PEM, to be kept over a restart.
    pub fn private_pem(&self) -> String {
        let private: &RsaPrivateKey = self.signing.as_ref();
        let pem = private
            .to_pkcs8_pem(LineEnding::LF)
            .expect("a key in use can be written down");
        pem.as_str().to_owned()
    }

    /// PKCS#1 v1.5 signature with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.signing.sign(message).to_vec()
    }

    /// SPKI PEM of the public half.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }
}

/// A fixed number of keys, each made when first used.
#[derive(Debug)]
pub struct KeyPool {
    slots: Vec<OnceLock<Arc<SimKey>>>,
    next: AtomicUsize,
}

impl KeyPool {
    /// A pool of `size` keys (at least one), none made yet.
    pub fn new(size: usize) -> Self {
        let slots = (0..size.max(1)).map(|_| OnceLock::new()).collect();
        Self {
            slots,
            next: AtomicUsize::new(0),
        }
    }

    /// A pool of keys that are there already.
    pub fn of(keys: Vec<Arc<SimKey>>) -> Self {
        let slots = keys.into_iter().map(OnceLock::from).collect();
        Self {
            slots,
            next: AtomicUsize::new(0),
        }
    }

    /// The slot of a new actor; the first `size` actors have different keys.
    pub fn assign(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len()
    }

    /// The key in a slot if it has been made.
    pub fn ready(&self, slot: usize) -> Option<Arc<SimKey>> {
        self.slots[slot % self.slots.len()].get().cloned()
    }

    /// The key in a slot, made now if nobody needed it before.
    pub fn get(&self, slot: usize) -> Arc<SimKey> {
        let slot = &self.slots[slot % self.slots.len()];
        Arc::clone(slot.get_or_init(|| Arc::new(SimKey::generate())))
    }
}

/// Somebody's public key, read once: reading takes longer than using it.
#[derive(Debug, Clone)]
pub struct PublicKey(VerifyingKey<Sha256>);

impl PublicKey {
    /// Reads SPKI PEM.
    pub fn from_pem(pem: &str) -> Result<Self, &'static str> {
        let key = RsaPublicKey::from_public_key_pem(pem).map_err(|_| "unreadable key")?;
        if key.size() > LARGEST_KEY_BYTES {
            return Err("key too large");
        }
        Ok(Self(VerifyingKey::new(key)))
    }

    /// Whether `signature` over `message` was made by the owner of this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::try_from(signature)
            .is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let pool = KeyPool::new(2);
        let (one, two) = (pool.get(pool.assign()), pool.get(pool.assign()));
        let public = |key: &SimKey| PublicKey::from_pem(key.public_pem()).expect("just made");
        let signature = one.sign(b"message");
        assert!(public(&one).verifies(b"message", &signature));
        assert!(!public(&one).verifies(b"massage", &signature));
        assert!(!public(&two).verifies(b"message", &signature));
        assert!(!public(&one).verifies(b"message", b"short"));
        let again = SimKey::from_pem(&one.private_pem()).expect("written and read");
        assert_eq!(again.sign(b"message"), signature);
        assert!(PublicKey::from_pem("no key").is_err());
    }
}
