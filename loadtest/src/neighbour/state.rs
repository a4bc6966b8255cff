//! What the neighbour remembers over a restart: its key and its followers.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::world::Recipient;

/// The content of the state file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// PKCS#8 PEM of the key of all accounts.
    pub(super) key_pem: String,
    /// User name to followers.
    pub(super) followers: BTreeMap<String, BTreeMap<String, Recipient>>,
}

/// Where it is kept.
#[derive(Debug)]
pub(super) struct StateFile(PathBuf);

impl StateFile {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The state, or an empty one if there is no file yet.
    pub(super) fn load(&self) -> anyhow::Result<State> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(State::default());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", self.0.display()));
            }
        };
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is not a neighbour's state; move it away to start afresh",
                self.0.display()
            )
        })
    }

    /// Writes a whole new file beside the old one and puts it in its place, so that a crash
    /// leaves either. It holds a private key: only the owner may read it.
    pub(super) fn save(&self, state: &State) -> anyhow::Result<()> {
        let beside = self.0.with_extension("new");
        let write = || -> std::io::Result<()> {
            if let Some(folder) = self.0.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(&serde_json::to_vec_pretty(state)?)?;
            file.sync_all()?;
            fs::rename(&beside, &self.0)
        };
        write().with_context(|| format!("cannot write {}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_nonsense_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/neighbour.json");
        let file = StateFile::at(&path);
        assert_eq!(file.load().expect("nothing yet"), State::default());
        let mut state = State {
            key_pem: "pem".to_owned(),
            ..State::default()
        };
        let recipient = Recipient {
            inbox: "http://a.test/in".to_owned(),
            shared_inbox: None,
        };
        let followers = BTreeMap::from([("http://a.test/u".to_owned(), recipient)]);
        state.followers.insert("mog".to_owned(), followers);
        file.save(&state).expect("written");
        assert_eq!(file.load().expect("read"), state);
        fs::write(&path, "{").expect("written");
        let error = file.load().expect_err("nonsense").to_string();
        assert!(
            error.contains("neighbour.json") && error.contains("move it away"),
            "{error}"
        );
    }
}
