//! `tidegate admin account`: accounts that need no sign-up page.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use rand::Rng;
use rand::distr::Alphanumeric;
use tidegate_api::accounts_admin::{self, AdminAccount};
use tidegate_model::Secret;

use crate::cli::{Account, NewAccount};
use crate::config::Config;
use crate::wiring::{self, Database};

/// Letters and digits of a made-up password: 24 of 62 are more than 140 bits.
const PASSWORD_CHARS: usize = 24;

/// A longer password file is some other file.
const PASSWORD_FILE_LIMIT: u64 = 4096;

pub(super) async fn execute(config: &Config, command: Account) -> anyhow::Result<()> {
    let database = Database::visit(config).await?;
    database
        .during(async |pool| {
            ready(pool).await?;
            let (deps, options) = wiring::api_for_commands(config, pool)?;
            match command {
                Account::Create(new) => {
                    let (password, made_up) = password(new.password_file.as_deref())?;
                    let account = admin_account(&new, &password);
                    let account = accounts_admin::create(&deps, &options, account).await?;
                    println!(
                        "Made the account @{}@{}.",
                        account.username, config.instance.domain
                    );
                    if made_up {
                        println!("Password: {}", password.expose());
                    }
                    if !new.confirmed && options.confirm_email {
                        println!("It can log in once the link in the mail was followed.");
                    }
                }
                Account::Confirm { username } => {
                    accounts_admin::confirm(&deps, &username).await?;
                    println!("@{username} is confirmed.");
                }
                Account::SetRole { username, role } => {
                    accounts_admin::set_role(&deps, &username, role.as_str()).await?;
                    println!("@{username} is now: {}.", role.as_str());
                }
            }
            Ok(())
        })
        .await
}

fn admin_account(new: &NewAccount, password: &Secret<String>) -> AdminAccount {
    AdminAccount {
        username: new.username.clone(),
        email: new.email.clone(),
        password: password.clone(),
        role: new.role.as_str().to_owned(),
        confirmed: new.confirmed,
    }
}

async fn ready(pool: &sqlx::PgPool) -> anyhow::Result<()> {
    if tidegate_store::pending_migrations(pool).await? > 0 {
        tidegate_store::migrate(pool).await?;
    }
    Ok(())
}

/// The password, and whether it was made up here.
fn password(file: Option<&Path>) -> anyhow::Result<(Secret<String>, bool)> {
    let Some(path) = file else {
        let made_up = rand::rng()
            .sample_iter(Alphanumeric)
            .take(PASSWORD_CHARS)
            .map(char::from)
            .collect();
        return Ok((Secret::new(made_up), true));
    };
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .take(PASSWORD_FILE_LIMIT)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(PASSWORD_FILE_LIMIT).read_to_string(&mut text))
    };
    read.with_context(|| format!("--password-file {} cannot be read", path.display()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("--password-file {} is empty", path.display());
    }
    Ok((Secret::new(password.to_owned()), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_files_content_without_the_end_of_line() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("password");
        std::fs::write(&file, " with spaces \n").expect("written");
        let (password, made_up) = password(Some(&file)).expect("read");
        assert_eq!(
            (password.expose().as_str(), made_up),
            (" with spaces ", false)
        );
        std::fs::write(&file, "\n").expect("written");
        assert!(super::password(Some(&file)).is_err());
        assert!(super::password(Some(&dir.path().join("none"))).is_err());
    }

    #[test]
    fn made_up_passwords_differ() {
        let (one, made_up) = password(None).expect("made up");
        let (other, _) = password(None).expect("made up");
        assert!(made_up && one != other);
        assert_eq!(one.expose().len(), PASSWORD_CHARS);
    }
}
