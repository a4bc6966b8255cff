//! What the operator may set.

use std::path::PathBuf;

use tidegate_model::Secret;

/// Options of the fanout role.
#[derive(Debug, Clone)]
pub struct FanoutOptions {
    /// How mail leaves.
    pub mail: MailOptions,
    /// How many messages of each kind are handled side by side.
    pub concurrency: Concurrency,
    /// Bounds of rebuilds.
    pub rebuilds: RebuildOptions,
    /// How far the time of a foreign signature may be from when it came, either way; the same as
    /// the api role's, which let it in.
    pub signature_window: time::Duration,
}

impl Default for FanoutOptions {
    fn default() -> Self {
        Self {
            mail: MailOptions::default(),
            concurrency: Concurrency::default(),
            rebuilds: RebuildOptions::default(),
            signature_window: tidegate_federation::signature::DEFAULT_WINDOW,
        }
    }
}

/// Messages in hand per replica and queue.
#[derive(Debug, Clone, Copy)]
pub struct Concurrency {
    /// Posts. Short: a few statements and appends each.
    pub fanout: u16,
    /// Ranges. Four fill the store's pipeline; more would only make small posts wait.
    pub ranges: u16,
    /// Plans. Each keeps one connection busy with batches of a thousand rows.
    pub plan: u16,
    /// Activities taken in. More than the others, because they wait for remote servers.
    pub inbound: u16,
    /// Mails. Providers limit connections to a few.
    pub mail: u16,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self {
            fanout: 8,
            ranges: 4,
            plan: 4,
            inbound: 16,
            mail: 2,
        }
    }
}

/// How mail leaves.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// The sender, for example `Tidegate <noreply@example.org>`.
    pub from: String,
    /// Where it goes.
    pub route: MailRoute,
    /// PEM files of certificate authorities that are trusted beside the system's when mail goes
    /// to a server.
    pub extra_ca_files: Vec<PathBuf>,
}

/// Where mail goes.
#[derive(Debug, Clone)]
pub enum MailRoute {
    /// One `.eml` file per mail in this folder, which is made when it is missing.
    Folder(PathBuf),
    /// `smtp://` or `smtps://` with user and password, as `lettre` reads it.
    Smtp(Secret<String>),
}

impl Default for MailOptions {
    fn default() -> Self {
        Self {
            from: "Tidegate <noreply@localhost>".to_owned(),
            route: MailRoute::Folder(PathBuf::from("mail")),
            extra_ca_files: Vec::new(),
        }
    }
}

/// Bounds of rebuilds.
#[derive(Debug, Clone, Copy)]
pub struct RebuildOptions {
    /// Rebuilds that run at once: each reads up to 400 posts of every followed account, so that
    /// a wave of returning people must not take the whole database.
    pub at_once: usize,
    /// Rebuilds that run or wait; beyond it a caller is told to come again.
    pub waiting: usize,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self {
            at_once: 4,
            waiting: 10_000,
        }
    }
}
