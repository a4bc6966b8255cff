//! The transaction that makes an account: actor, keys, person, confirmation and its mail.

use tidegate_federation::keys::KeyPairs;
use tidegate_store::{
    StoreError,
    accounts::{self, Account, NewLocalAccount},
};

use super::confirmation;
use crate::{ApiDeps, state::ApiOptions};

/// A local account to insert. Names and addresses were checked before.
pub(crate) struct NewAccount<'a> {
    pub(crate) username: &'a str,
    pub(crate) email: &'a str,
    pub(crate) password_hash: &'a str,
    pub(crate) keys: &'a KeyPairs,
    pub(crate) role: &'a str,
    pub(crate) locale: &'a str,
    pub(crate) reason: Option<&'a str>,
    pub(crate) app_id: Option<i64>,
    pub(crate) confirmed: bool,
    pub(crate) approved: bool,
}

/// An account that was made.
#[derive(Debug, Clone)]
pub(crate) struct Created {
    /// Row of `users`.
    pub(crate) user_id: i64,
    /// The actor.
    pub(crate) account: Account,
    /// Whether it may be used without a mail.
    pub(crate) confirmed: bool,
    /// Whether it may be used without an operator.
    pub(crate) approved: bool,
}

/// Makes the account in one transaction: all of it, or nothing.
pub(crate) async fn insert(
    deps: &ApiDeps,
    options: &ApiOptions,
    new: &NewAccount<'_>,
) -> Result<Created, StoreError> {
    let id = accounts::next_id(&deps.pool).await?;
    let seal = |private: &[u8]| {
        deps.vault
            .encrypt(id, private)
            .map_err(|error| StoreError::Database(sqlx::Error::Encode(error.into())))
    };
    let rsa_private = seal(new.keys.rsa_private.expose())?;
    let ed25519_private = seal(new.keys.ed25519_private.expose())?;
    let now = deps.clock.now();
    let mut transaction = tidegate_store::begin(&deps.pool).await?;
    let account = accounts::create_local(
        &mut transaction,
        &deps.instance,
        &NewLocalAccount {
            id,
            username: new.username,
            actor_type: "Person",
            public_key_pem: &new.keys.rsa_public_pem,
            rsa_private: &rsa_private,
            ed25519_private: &ed25519_private,
            ed25519_public: &new.keys.ed25519_public,
        },
    )
    .await?;
    let user_id: i64 = sqlx::query_scalar(
        "insert into users (account_id, email, password_hash, role, locale, sign_up_reason,
                            created_by_app_id, confirmed_at, approved)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id",
    )
    .bind(account.id)
    .bind(new.email)
    .bind(new.password_hash)
    .bind(new.role)
    .bind(new.locale)
    .bind(new.reason)
    .bind(new.app_id)
    .bind(new.confirmed.then_some(now))
    .bind(new.approved)
    .fetch_one(&mut *transaction)
    .await?;
    if !new.confirmed {
        confirmation::ask(&mut transaction, deps, options, user_id, new.email).await?;
    }
    transaction.commit().await?;
    deps.outbox.wake();
    Ok(Created {
        user_id,
        account,
        confirmed: new.confirmed,
        approved: new.approved,
    })
}
