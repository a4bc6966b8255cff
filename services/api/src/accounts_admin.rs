//! Accounts as the operator makes and changes them, from the command line.

use tidegate_federation::keys;
use tidegate_model::Secret;
use tidegate_store::{StoreError, accounts, accounts::Account};

use crate::{
    ApiDeps, ApiOptions,
    signup::{self, NewAccount, Problems, check_email, check_username, password},
};

/// Why the operator's wish was not met.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The name, address or password breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// There is no local account of this name.
    #[error("there is no local account of this name")]
    Unknown,
    /// The name or the address belongs to another account.
    #[error("the username or the e-mail address is taken")]
    Taken,
    /// The database.
    #[error(transparent)]
    Store(StoreError),
    /// Hashing or key making.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl From<StoreError> for AccountsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::Unknown,
            StoreError::Conflict(_) => Self::Taken,
            other => Self::Store(other),
        }
    }
}

/// An account for [`create`].
#[derive(Debug, Clone)]
pub struct AdminAccount {
    /// Letters, digits, underscores; reserved names are the operator's to give.
    pub username: String,
    /// Where mail goes.
    pub email: String,
    /// At least 8 characters.
    pub password: Secret<String>,
    /// `user`, `moderator`, `admin` or `owner`.
    pub role: String,
    /// Whether the address needs no confirmation.
    pub confirmed: bool,
}

/// The roles there are.
pub const ROLES: [&str; 4] = ["user", "moderator", "admin", "owner"];

/// Makes an account, whatever the registration mode.
pub async fn create(
    deps: &ApiDeps,
    options: &ApiOptions,
    new: AdminAccount,
) -> Result<Account, AccountsError> {
    let mut problems = Problems::default();
    for (field, checked) in [
        ("username", check_username(&new.username)),
        ("email", check_email(&new.email)),
    ] {
        if let Err(problem) = checked {
            problems.add(field, problem);
        }
    }
    if !problems.is_empty() {
        return Err(AccountsError::Invalid(problems.sentences().join("; ")));
    }
    if new.password.expose().chars().count() < 8 {
        return Err(AccountsError::Invalid(
            "the password needs 8 characters or more".to_owned(),
        ));
    }
    check_role(&new.role)?;
    let password = new.password.clone();
    let (password_hash, keys) = tokio::task::spawn_blocking(move || {
        let hash = password::hash(password.expose())
            .map_err(|error| anyhow::anyhow!("the password could not be hashed: {error}"))?;
        anyhow::Ok((hash, keys::generate().map_err(anyhow::Error::from)?))
    })
    .await
    .map_err(anyhow::Error::from)??;
    let created = signup::insert(
        deps,
        options,
        &NewAccount {
            username: &new.username,
            email: &new.email,
            password_hash: &password_hash,
            keys: &keys,
            role: &new.role,
            locale: "en",
            reason: None,
            app_id: None,
            confirmed: new.confirmed,
            approved: true,
        },
    )
    .await?;
    Ok(created.account)
}

/// Marks the address of a local account as confirmed, and the account as approved.
pub async fn confirm(deps: &ApiDeps, username: &str) -> Result<(), AccountsError> {
    let account = find(deps, username).await?;
    let changed = sqlx::query(
        "update users set confirmed_at = coalesce(confirmed_at, $2), approved = true
         where account_id = $1",
    )
    .bind(account.id)
    .bind(deps.clock.now())
    .execute(&deps.pool)
    .await
    .map_err(StoreError::from)?;
    one(changed.rows_affected())
}

/// Gives a local account a role.
pub async fn set_role(deps: &ApiDeps, username: &str, role: &str) -> Result<(), AccountsError> {
    check_role(role)?;
    let account = find(deps, username).await?;
    let changed = sqlx::query("update users set role = $2 where account_id = $1")
        .bind(account.id)
        .bind(role)
        .execute(&deps.pool)
        .await
        .map_err(StoreError::from)?;
    one(changed.rows_affected())
}

fn check_role(role: &str) -> Result<(), AccountsError> {
    if ROLES.contains(&role) {
        Ok(())
    } else {
        Err(AccountsError::Invalid(format!(
            "there is no role \"{role}\"; there are {}",
            ROLES.join(", ")
        )))
    }
}

async fn find(deps: &ApiDeps, username: &str) -> Result<Account, AccountsError> {
    accounts::by_handle(&deps.pool, username, None)
        .await?
        .ok_or(AccountsError::Unknown)
}

fn one(rows: u64) -> Result<(), AccountsError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(AccountsError::Unknown)
    }
}
