//! The database cluster on disk: where it is, how it is made, where its socket is.

use std::collections::hash_map::DefaultHasher;
use std::fs::DirBuilder;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::binaries::Binaries;
use super::owner::Owner;

/// The superuser of the cluster. Whoever reaches the socket is trusted; only the owner and root
/// can reach it.
const SUPERUSER: &str = "postgres";

/// Where a cluster of a root-owned node goes when the data folder is closed to the server's user
/// (below /root, for instance).
const SHARED_HOME: &str = "/var/lib/tidegate";

/// The places of one cluster.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    home: PathBuf,
    sockets: PathBuf,
}

impl Cluster {
    /// Decides on the places for `data_dir` and makes sure of the socket's folder.
    pub(super) fn locate(data_dir: &Path, owner: &Owner) -> anyhow::Result<Self> {
        let data_dir = data_dir
            .canonicalize()
            .with_context(|| format!("the data folder {}", data_dir.display()))?;
        let name = fingerprint(&data_dir);
        let home = if owner.reaches(&data_dir) {
            data_dir.join("database")
        } else {
            Path::new(SHARED_HOME).join(&name)
        };
        // A socket's path may have 107 bytes at most, which a data folder easily exceeds.
        let sockets = PathBuf::from(format!("/tmp/tidegate-{}-{name}", owner.uid));
        private_folder(&sockets, owner)?;
        Ok(Self { home, sockets })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.home.join("postgres.log")
    }

    pub(super) fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// Removes the socket's folder once nobody listens there; the next start makes it again.
    pub(super) fn forget_sockets(&self) {
        // Not empty means that somebody else uses it, and it stays.
        let _kept = std::fs::remove_dir(&self.sockets);
    }

    /// The version that made the cluster; `None` when there is no cluster yet.
    pub(super) fn version(&self) -> anyhow::Result<Option<u32>> {
        let path = self.data().join("PG_VERSION");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                Ok(Some(text.trim().parse().with_context(|| {
                    format!("{} holds no version", path.display())
                })?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{}", path.display())),
        }
    }

    /// The URL of one of its databases.
    pub(super) fn url(&self, database: &str) -> String {
        let folder = self.sockets.to_string_lossy().replace('/', "%2F");
        format!("postgres://{SUPERUSER}@localhost/{database}?host={folder}")
    }

    /// Makes the cluster. It is made beside its place and moved there when it is whole, so that
    /// an interruption leaves nothing that looks like a cluster.
    pub(super) async fn create_if_absent(
        &self,
        binaries: &Binaries,
        owner: &Owner,
    ) -> anyhow::Result<()> {
        if self.data().join("PG_VERSION").exists() {
            return Ok(());
        }
        tracing::info!(folder = %self.home.display(), version = binaries.major,
            "creating the private PostgreSQL");
        std::fs::create_dir_all(&self.home)
            .with_context(|| format!("{} cannot be made", self.home.display()))?;
        if self.home.starts_with(SHARED_HOME) {
            // Whatever our umask: others may pass through, not look.
            std::fs::set_permissions(SHARED_HOME, std::fs::Permissions::from_mode(0o711))?;
        }
        owner.give(&self.home)?;
        let draft = self.home.join("data.new");
        if draft.exists() {
            std::fs::remove_dir_all(&draft)?;
        }
        let output = owner
            .command(&binaries.initdb())
            .arg("--pgdata")
            .arg(&draft)
            .args(["--username", SUPERUSER])
            // Nothing listens on TCP; a second belt in case that is ever changed by hand.
            .args(["--auth-local=trust", "--auth-host=reject"])
            .args(["--no-locale", "--encoding=UTF8"])
            .output()
            .await
            .with_context(|| format!("{} cannot be run", binaries.initdb().display()))?;
        if !output.status.success() {
            bail!(
                "initdb could not make the database in {}: {}",
                draft.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        std::fs::rename(&draft, self.data())?;
        Ok(())
    }
}

/// A short name that differs between data folders.
fn fingerprint(path: &Path) -> String {
    // `DefaultHasher::new()` has fixed keys: the same in every process, which is all that is
    // needed; after a change of the standard library a new socket folder is made.
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}

/// Makes a folder that only its owner can enter, or makes sure that an existing one is that.
fn private_folder(path: &Path, owner: &Owner) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return owner.give(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
    }
    let metadata = path.symlink_metadata()?;
    let foreign = metadata.uid() != owner.uid.as_raw() && metadata.uid() != 0;
    if !metadata.is_dir() || foreign {
        bail!(
            "{} belongs to somebody else; remove it and start again",
            path.display()
        );
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    owner.give(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_short_names_of_their_own() {
        let one = fingerprint(Path::new("/a/very/long/path"));
        assert_eq!(one.len(), 8);
        assert_eq!(one, fingerprint(Path::new("/a/very/long/path")));
        assert_ne!(one, fingerprint(Path::new("/another")));
    }

    #[test]
    fn a_socket_folder_is_closed_to_others() {
        let parent = tempfile::tempdir().expect("a folder");
        let owner = Owner::choose().expect("a user");
        let path = parent.path().join("sockets");
        std::fs::create_dir(&path).expect("made");
        private_folder(&path, &owner).expect("ours");
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("made");
        assert!(private_folder(&link, &owner).is_err());
    }
}
