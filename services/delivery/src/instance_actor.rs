//! The actor that speaks for the instance and signs its fetches.

use sqlx::PgPool;
use tidegate_federation::keys;
use tidegate_model::{INSTANCE_ACTOR_USERNAME, Instance};
use tidegate_store::accounts::{self, Account, NewLocalAccount};
use tidegate_store::{KeyVault, StoreError};

/// Returns the instance actor, making it on the first start. Safe when several processes start
/// at once: one of them wins, the others read what it wrote. An error when its key was stored with
/// another key-encryption key than that of `vault`: then nobody's could be read, and every
/// delivery would wait.
pub async fn ensure_instance_actor(
    pool: &PgPool,
    vault: &KeyVault,
    instance: &Instance,
) -> anyhow::Result<Account> {
    let uri = instance.instance_actor();
    if let Some(account) = accounts::by_uri(pool, &uri).await? {
        if let Some(keys) = accounts::keys_of(pool, account.id).await? {
            vault.decrypt(account.id, &keys.rsa_private)?;
        }
        return Ok(account);
    }
    let pairs = tokio::task::spawn_blocking(keys::generate).await??;
    let mut transaction = tidegate_store::begin(pool).await?;
    let id = accounts::next_id(&mut *transaction).await?;
    let new = NewLocalAccount {
        id,
        username: INSTANCE_ACTOR_USERNAME,
        actor_type: "Application",
        public_key_pem: &pairs.rsa_public_pem,
        rsa_private: &vault.encrypt(id, pairs.rsa_private.expose())?,
        ed25519_private: &vault.encrypt(id, pairs.ed25519_private.expose())?,
        ed25519_public: &pairs.ed25519_public,
    };
    match accounts::create_local(&mut transaction, instance, &new).await {
        Ok(account) => {
            transaction.commit().await?;
            Ok(account)
        }
        Err(StoreError::Conflict(_)) => {
            transaction.rollback().await?;
            accounts::by_uri(pool, &uri)
                .await?
                .ok_or_else(|| anyhow::anyhow!("the instance actor's name is taken by an account"))
        }
        Err(error) => Err(error.into()),
    }
}
