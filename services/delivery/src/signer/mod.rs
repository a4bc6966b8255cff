//! Signing what goes out: parsed keys in a bounded cache, private-key operations on a few threads
//! of their own, never on the threads that drive connections.

mod desk;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use moka::future::Cache;
use sqlx::PgPool;
use tidegate_federation::signature::{SignatureError, SigningKey, sign_cavage, sign_rfc9421};
use tidegate_model::{Clock, Lane};
use tidegate_store::{KeyVault, StoreError, VaultError, accounts};
use url::Url;

use self::desk::Desk;
use crate::metrics::SIGNATURES;

/// Parsed keys that are kept: an instance with this many people posting at once signs without
/// the database. About 3 kB each.
const KEPT_KEYS: u64 = 10_000;

/// How long a parsed key is kept, so that a replaced key is out of use soon.
const KEY_TIME: Duration = Duration::from_mins(10);

/// Which of the two signature schemes a host takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// draft-cavage with `rsa-sha256`: what everybody reads.
    Cavage,
    /// RFC 9421.
    Rfc9421,
}

impl Scheme {
    /// As the database and the metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cavage => "cavage",
            Self::Rfc9421 => "rfc9421",
        }
    }

    /// The scheme of this spelling; anything else is the one that everybody reads.
    pub fn parse(text: &str) -> Self {
        if text == Self::Rfc9421.as_str() {
            Self::Rfc9421
        } else {
            Self::Cavage
        }
    }

    /// The one to try when this one was refused.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Cavage => Self::Rfc9421,
            Self::Rfc9421 => Self::Cavage,
        }
    }
}

/// Why something was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The account has no keys: it is not a local one, or is gone.
    #[error("the account has no keys")]
    NoKeys,
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key was stored with another key-encryption key.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The key or URL cannot be used.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Signs on behalf of local accounts. Clones share keys and threads.
#[derive(Clone)]
pub struct Signer {
    pool: PgPool,
    vault: KeyVault,
    clock: Clock,
    keys: Cache<i64, SigningKey>,
    desk: Desk,
}

impl Signer {
    /// A signer with the keys in the database of `pool`.
    pub fn new(pool: PgPool, vault: KeyVault, clock: Clock) -> Self {
        // One per core: an RSA signature is nothing but computing.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            pool,
            vault,
            clock,
            keys: Cache::builder()
                .max_capacity(KEPT_KEYS)
                .time_to_live(KEY_TIME)
                .build(),
            desk: Desk::new(cores),
        }
    }

    /// The headers that make this request one of `account_id`'s. `digest` is the base64 SHA-256
    /// of the body, if there is one. `Host` is left to the HTTP library. What goes in the lane
    /// `now` is signed first.
    pub async fn sign(
        &self,
        account_id: i64,
        lane: Lane,
        scheme: Scheme,
        method: Method,
        url: &Url,
        digest: Option<Arc<str>>,
    ) -> Result<HeaderMap, SignError> {
        let key = self.key(account_id).await?;
        let (url, now) = (url.clone(), self.clock.now());
        let signing = self.desk.run(lane == Lane::Now, move || {
            let digest = digest.as_deref();
            match scheme {
                Scheme::Cavage => sign_cavage(&key, &method, &url, now, digest),
                Scheme::Rfc9421 => sign_rfc9421(&key, &method, &url, now, digest),
            }
        });
        let ended = SignatureError::Signing("the signing thread ended");
        let signed = signing.await.ok_or(ended)??;
        SIGNATURES.with_label_values(&[scheme.as_str()]).inc();
        let mut headers = HeaderMap::with_capacity(signed.len());
        for (name, value) in signed {
            if name != header::HOST {
                let value = HeaderValue::try_from(value)
                    .map_err(|_| SignatureError::Signing("a header cannot be written"))?;
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }

    async fn key(&self, account_id: i64) -> Result<SigningKey, SignError> {
        if let Some(key) = self.keys.get(&account_id).await {
            return Ok(key);
        }
        let stored = accounts::keys_of(&self.pool, account_id)
            .await?
            .ok_or(SignError::NoKeys)?;
        let private = self.vault.decrypt(account_id, &stored.rsa_private)?;
        let key = SigningKey::rsa(stored.key_id, &private)?;
        self.keys.insert(account_id, key.clone()).await;
        Ok(key)
    }
}
