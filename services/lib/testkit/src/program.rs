//! Our own programs, as a machine runs them on which nobody set anything up.

use std::ffi::OsStr;
use std::process::Command;

/// What starts the program at `path` without the settings of whoever runs the tests: they would
/// lead it to somebody's own database.
pub fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command
}
