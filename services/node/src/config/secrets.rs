//! Secrets: read from files where a `_file` key says so, generated once into the data folder in
//! development, never printed.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use tidegate_model::Secret;

use super::{Config, Profile};

/// A secret shorter than this can be guessed or was typed by hand: 32 hexadecimal characters
/// are 128 bits.
const SHORTEST: usize = 32;

/// Words of example configurations, in any case.
const PLACEHOLDERS: [&str; 5] = ["changeme", "change-me", "placeholder", "example", "secret"];

/// Whether a secret is missing, short, or was copied from an example.
pub(super) fn is_placeholder(secret: &str) -> bool {
    let lower = secret.to_ascii_lowercase();
    secret.len() < SHORTEST || PLACEHOLDERS.iter().any(|word| lower.contains(word))
}

/// Passwords that servers come with or that examples are written with, as a whole.
const KNOWN_PASSWORDS: [&str; 9] = [
    "guest", "password", "postgres", "tidegate", "rabbitmq", "redis", "admin", "root", "test",
];

/// Whether a password is one of those that are tried first.
pub(super) fn is_known_password(password: &str) -> bool {
    let lower = password.to_ascii_lowercase();
    KNOWN_PASSWORDS.contains(&lower.as_str())
        || PLACEHOLDERS.iter().any(|word| lower.contains(word))
}

/// Replaces each secret by the content of its file, where one is named.
pub(super) fn read_files(config: &mut Config) -> anyhow::Result<()> {
    let pairs = [
        (
            "database.url",
            &mut config.database.url,
            &config.database.url_file,
            "embedded",
        ),
        (
            "queue.url",
            &mut config.queue.url,
            &config.queue.url_file,
            "table",
        ),
        (
            "timelines.url",
            &mut config.timelines.url,
            &config.timelines.url_file,
            "memory",
        ),
        (
            "mail.url",
            &mut config.mail.url,
            &config.mail.url_file,
            "folder",
        ),
        (
            "rpc.token",
            &mut config.rpc.token,
            &config.rpc.token_file,
            "",
        ),
        (
            "secrets.key_encryption_key",
            &mut config.secrets.key_encryption_key,
            &config.secrets.key_encryption_key_file,
            "",
        ),
    ];
    for (key, value, file, default) in pairs {
        if file.as_os_str().is_empty() {
            continue;
        }
        if value.expose() != default {
            bail!("{key} and {key}_file are both set: remove one of them");
        }
        *value = Secret::new(read(file).with_context(|| format!("{key}_file"))?);
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let text = text.trim();
    if text.is_empty() {
        bail!("{} is empty", file.display());
    }
    Ok(text.to_owned())
}

/// In development, secrets that were not set are made once and kept in the data folder.
pub(super) fn fill_in(config: &mut Config) -> anyhow::Result<()> {
    if config.profile != Profile::Development {
        return Ok(());
    }
    let folder = config.data_dir.join("secrets");
    for (name, value) in [
        ("key_encryption_key", &mut config.secrets.key_encryption_key),
        ("rpc_token", &mut config.rpc.token),
    ] {
        if value.expose().is_empty() {
            *value = Secret::new(generated(&folder, name)?);
        }
    }
    Ok(())
}

fn generated(folder: &Path, name: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    // Only this folder is closed: the private PostgreSQL may have to pass through the one above.
    folder
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        })
        .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    // Written under another name and linked into place, so that of two processes that start
    // together one wins and neither ever sees half a secret.
    let draft = folder.join(format!("{name}.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .with_context(|| format!("{} cannot be written", draft.display()))?;
    file.write_all(hex::encode(rand::random::<[u8; 32]>()).as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, &path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("{} cannot be made", path.display()))
        }
        _ => read(&path),
    }
}
