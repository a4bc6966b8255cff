//! Private keys at rest: encrypted with one key of the instance, which lives outside the
//! database. Losing the database alone gives nobody a signing key (P16).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Why a key could not be encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The stored bytes were not made with this key-encryption key, or are damaged.
    #[error(
        "a private key cannot be decrypted: is secrets.key_encryption_key the one it was stored with?"
    )]
    Decrypt,
    /// The crypto library refused.
    #[error("a private key cannot be encrypted")]
    Encrypt,
}

/// Encrypts and decrypts private keys. Cheap to clone.
#[derive(Clone)]
pub struct KeyVault {
    key: Arc<LessSafeKey>,
}

struct AesKeyLength;

impl KeyType for AesKeyLength {
    fn len(&self) -> usize {
        32
    }
}

impl KeyVault {
    /// A vault whose key is derived from `secret`, which should hold 32 random bytes or more.
    pub fn new(secret: &[u8]) -> Self {
        let derived = Salt::new(HKDF_SHA256, b"tidegate").extract(secret);
        let mut bytes = Zeroizing::new([0_u8; 32]);
        derived
            .expand(&[b"account keys v1"], AesKeyLength)
            .and_then(|okm| okm.fill(&mut bytes[..]))
            .expect("32 bytes are within what HKDF-SHA256 can give");
        let key =
            UnboundKey::new(&AES_256_GCM, &bytes[..]).expect("AES-256 takes a key of 32 bytes");
        Self {
            key: Arc::new(LessSafeKey::new(key)),
        }
    }

    /// Encrypts `plain` for the row of `account_id`; the result decrypts only for that row.
    pub fn encrypt(&self, account_id: i64, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce_bytes: [u8; NONCE_LEN] = rand::random();
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce_bytes),
                Aad::from(account_id.to_be_bytes()),
                &mut sealed,
            )
            .map_err(|_| VaultError::Encrypt)?;
        let mut out = nonce_bytes.to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    /// Decrypts what [`Self::encrypt`] made for the same account.
    pub fn decrypt(
        &self,
        account_id: i64,
        stored: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (nonce, sealed) = stored
            .split_at_checked(NONCE_LEN)
            .ok_or(VaultError::Decrypt)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Decrypt)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(account_id.to_be_bytes()), &mut buffer)
            .map_err(|_| VaultError::Decrypt)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_only_for_its_account_and_with_the_right_secret() {
        let vault = KeyVault::new(b"one secret of thirty-two bytes!!");
        let stored = vault.encrypt(7, b"private").expect("encrypts");
        assert_eq!(
            &vault.decrypt(7, &stored).expect("decrypts")[..],
            b"private"
        );
        assert!(vault.decrypt(8, &stored).is_err());
        assert!(KeyVault::new(b"another").decrypt(7, &stored).is_err());
        assert!(vault.decrypt(7, &stored[..5]).is_err());
    }
}
