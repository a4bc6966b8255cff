//! Which user the server runs as. PostgreSQL refuses to run as root, so root lends it to
//! `postgres`, or to `nobody` where that user does not exist.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, User, chown};
use tokio::process::Command;

/// The user that owns the cluster and runs the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: Uid,
    gid: Gid,
    /// Whether that is another user than ours.
    lent: bool,
}

impl Owner {
    /// Ourselves, or as root the first of the two users that exists.
    pub(super) fn choose() -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self {
                uid: Uid::effective(),
                gid: Gid::effective(),
                lent: false,
            });
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Self {
                    uid: user.uid,
                    gid: user.gid,
                    lent: true,
                });
            }
        }
        bail!(
            "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`: \
             run tidegate as an ordinary user"
        )
    }

    /// A command that will run as this user. Supplementary groups are dropped with the user.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = std::process::Command::new(program);
        if self.lent {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        // Our working folder may be closed to that user, which some of its programs dislike.
        command.current_dir("/");
        Command::from(command)
    }

    /// Gives a file or folder to this user.
    pub(super) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if self.lent {
            chown(path, Some(self.uid), Some(self.gid))
                .with_context(|| format!("{} cannot be given away", path.display()))?;
        }
        Ok(())
    }

    /// Whether this user can pass through every folder above and including `folder`.
    pub(super) fn reaches(&self, folder: &Path) -> bool {
        !self.lent
            || folder.ancestors().all(|folder| {
                let Ok(metadata) = folder.metadata() else {
                    // Not there yet: made later by us, open to pass through.
                    return true;
                };
                let bit = if metadata.uid() == self.uid.as_raw() {
                    0o100
                } else if metadata.gid() == self.gid.as_raw() {
                    0o010
                } else {
                    0o001
                };
                metadata.mode() & bit != 0
            })
    }
}
