//! Where test servers live, and the small things that starting any of them needs.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What to type when a server is missing; the end of every such message.
const INSTALL: &str = "deploy/scripts/install-servers installs it";

/// The folder of the shared servers: ignored by git, kept between runs.
pub(crate) fn folder() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(3)
        .context("the test kit lies three folders below the workspace")?;
    let folder = root.join(".tidegate").join("test");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

/// A new folder for a private instance. Its name tells whose it is, so that what a killed test
/// left behind can be swept away.
pub(crate) fn private_folder(kind: &str) -> Result<PathBuf> {
    sweep()?;
    let folder = folder()?.join(format!("private-{kind}-{}", unique()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// `<process id>_<number>`: different in every test of every process.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}_{number}", std::process::id())
}

/// The process id in a name made with [`unique`].
pub(crate) fn owner(name: &str) -> Option<i32> {
    let (rest, _number) = name.rsplit_once('_')?;
    let digits = rest.rsplit(['-', '_']).next()?;
    digits.parse().ok()
}

/// A lock between test processes, held until dropped. Blocks; call it off the async threads.
pub(crate) fn lock(name: &str) -> Result<File> {
    let file = File::create(folder()?.join(format!("{name}.lock")))?;
    file.lock()?;
    Ok(file)
}

/// The first of `places` that exists, or a failure that says how to get it.
pub(crate) fn find_program(what: &str, places: &[&str]) -> Result<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let name = Path::new(places[0]).file_name().unwrap_or_default();
    let found = places
        .iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&on_path).map(|folder| folder.join(name)))
        .find(|path| path.is_file());
    found.with_context(|| format!("{what} is not installed: {INSTALL}"))
}

/// A port of 127.0.0.1 that nobody listens on just now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

pub(crate) fn answers(port: u16) -> bool {
    answers_at(Ipv4Addr::LOCALHOST, port)
}

pub(crate) fn answers_at(address: Ipv4Addr, port: u16) -> bool {
    let address = SocketAddr::from((address, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

pub(crate) fn read_number<T: std::str::FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

pub(crate) fn is_alive(pid: i32) -> bool {
    // EPERM also means that it exists; a zombie does not count.
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = state.rsplit_once(')').map_or("", |(_, rest)| rest);
    !after_name.is_empty() && !after_name.trim_start().starts_with('Z')
}

/// Sends a signal and waits until the process is gone.
pub(crate) fn end(pid: i32, signal: Signal, patience: Duration) -> Result<()> {
    if is_alive(pid) {
        kill(Pid::from_raw(pid), signal)?;
    }
    wait_until("a server to end", patience, || Ok(!is_alive(pid)))
}

pub(crate) fn wait_until(
    what: &str,
    patience: Duration,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    while !done()? {
        ensure!(
            start.elapsed() < patience,
            "waited {patience:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Runs a command to its end; what it printed is in the error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("running {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{:?} failed: {}{}",
            command,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Ends private servers whose test process is gone, and removes their folders.
fn sweep() -> Result<()> {
    for entry in fs::read_dir(folder()?)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let orphaned = name.starts_with("private-") && owner(&name).is_some_and(|p| !is_alive(p));
        if !orphaned {
            continue;
        }
        let folder = entry.path();
        if let Some(pid) = read_number::<i32>(&folder.join("pid"))
            && started_in(pid, &folder)
        {
            end(pid, Signal::SIGKILL, Duration::from_secs(10))?;
        }
        if let Some(port) = read_number(&folder.join("epmd_port")) {
            crate::rabbitmq::end_epmd(port);
        }
        let _removed_by_another = fs::remove_dir_all(&folder);
    }
    Ok(())
}

/// Whether a process was started with this folder in its arguments or environment; a process id
/// may have been given to somebody else meanwhile.
fn started_in(pid: i32, folder: &Path) -> bool {
    let folder = folder.to_string_lossy();
    ["cmdline", "environ"].iter().any(|file| {
        fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(folder.as_ref()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_it_is() {
        let mine = std::process::id().cast_signed();
        assert_eq!(owner(&format!("private-redis-{}", unique())), Some(mine));
        assert_eq!(owner(&format!("test_{}", unique())), Some(mine));
        assert_eq!(owner("postgres"), None);
        assert!(is_alive(mine));
    }

    #[test]
    fn a_missing_server_names_the_cure() {
        let error = find_program("Nonesuch", &["/nowhere/nonesuch"]).expect_err("absent");
        assert!(error.to_string().contains("deploy/scripts/install-servers"));
    }
}
