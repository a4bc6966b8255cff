//! One tidegate process under test: started, watched until it is ready, ended softly or hard.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidegate_testkit::program;

/// How long a start may take: it migrates, and may create a database.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A running process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    metrics_port: u16,
}

impl Process {
    /// Starts the binary with these arguments and settings and returns at once. `name` is the
    /// name of its log in `folder`.
    pub(crate) fn spawn(
        name: &str,
        folder: &Path,
        arguments: &[&str],
        settings: &[(String, String)],
        metrics_port: u16,
    ) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let child = program(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments)
            .envs(settings.iter().map(|(key, value)| (key, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("the binary did not start")?;
        Ok(Self {
            child,
            log,
            metrics_port,
        })
    }

    /// Waits until the process says that it is ready.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{}/health/ready", self.metrics_port);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Ok(answer) = reqwest::get(&url).await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the process ended with {status}: {}", self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("not ready within {START_LIMIT:?}: {}", self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill9(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP: it stands still until [`Self::resume`].
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        Ok(kill(self.pid(), Signal::SIGSTOP)?)
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        Ok(kill(self.pid(), Signal::SIGCONT)?)
    }

    /// Any other signal; does not wait.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// SIGTERM, and waits for its end; also returns the end of its log.
    pub(crate) async fn terminate(mut self) -> anyhow::Result<(ExitStatus, String)> {
        kill(self.pid(), Signal::SIGTERM)?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, self.log_tail()));
            }
            if Instant::now() > deadline {
                bail!("it did not end after SIGTERM: {}", self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether it is gone by itself.
    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What `/metrics` says now.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics_port);
        Ok(reqwest::get(&url).await?.error_for_status()?.text().await?)
    }

    /// The end of its log, for messages of failed tests.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone after `kill9` and `terminate`.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
