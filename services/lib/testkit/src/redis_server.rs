//! Redis: one shared by all tests, each with a key prefix of its own, and private ones to kill.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use crate::{Certificates, home};

/// A Redis server.
#[derive(Debug)]
pub struct Redis {
    /// `redis://...`.
    pub url: String,
    /// Only when it is this test's own.
    private: Option<Instance>,
}

#[derive(Debug)]
struct Instance {
    folder: PathBuf,
    port: u16,
}

impl Redis {
    /// The server that all test processes share. Use keys below [`Redis::prefix`].
    pub async fn shared() -> Self {
        static SHARED: OnceCell<String> = OnceCell::const_new();
        let url = SHARED
            .get_or_init(|| async {
                if let Ok(url) = std::env::var("TIDEGATE_TEST_REDIS") {
                    return url;
                }
                let port = tokio::task::spawn_blocking(ensure_running)
                    .await
                    .expect("the starting thread does not panic")
                    .expect("Redis for tests starts");
                url_of(port)
            })
            .await;
        Self {
            url: url.clone(),
            private: None,
        }
    }

    /// A server of this test's own; it ends with the value.
    pub async fn private() -> Self {
        tokio::task::spawn_blocking(|| -> Result<Self> {
            let instance = Instance {
                folder: home::private_folder("redis")?,
                port: home::free_port()?,
            };
            start(&instance.folder, instance.port, &[])?;
            Ok(Self {
                url: url_of(instance.port),
                private: Some(instance),
            })
        })
        .await
        .expect("the starting thread does not panic")
        .expect("a private Redis starts")
    }

    /// The same, which speaks TLS only.
    pub async fn private_with_tls(certificates: &Certificates) -> Self {
        let tls = [
            ("--tls-cert-file", certificates.server()),
            ("--tls-key-file", certificates.key()),
            ("--tls-ca-cert-file", certificates.authority()),
        ];
        tokio::task::spawn_blocking(move || -> Result<Self> {
            let instance = Instance {
                folder: home::private_folder("redis")?,
                port: home::free_port()?,
            };
            let mut arguments: Vec<OsString> = vec!["--tls-auth-clients".into(), "no".into()];
            for (name, file) in tls {
                arguments.extend([name.into(), file.into()]);
            }
            start(&instance.folder, instance.port, &arguments)?;
            Ok(Self {
                url: format!("rediss://127.0.0.1:{}/0", instance.port),
                private: Some(instance),
            })
        })
        .await
        .expect("the starting thread does not panic")
        .expect("a private Redis with TLS starts")
    }

    /// A key prefix that no other test has.
    pub fn prefix(&self) -> String {
        format!("test_{}:", home::unique())
    }

    /// Ends a private server as a crash would; everything in it is lost.
    pub fn kill9(&self) {
        let instance = self.instance();
        if let Some(pid) = home::read_number(&instance.folder.join("pid")) {
            home::end(pid, Signal::SIGKILL, Duration::from_secs(10)).expect("Redis dies");
        }
    }

    /// Starts a killed private server on the same port.
    pub fn start(&self) {
        let instance = self.instance();
        start(&instance.folder, instance.port, &[]).expect("a private Redis starts again");
    }

    /// Stops the shared server. Blocks.
    pub fn stop_shared() -> Result<()> {
        let _lock = home::lock("redis")?;
        let folder = home::folder()?.join("redis");
        if let Some((pid, _)) = running(&folder) {
            home::end(pid, Signal::SIGTERM, Duration::from_secs(10))?;
        }
        Ok(())
    }

    fn instance(&self) -> &Instance {
        self.private
            .as_ref()
            .expect("only a private server may be killed")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(instance) = &self.private {
            if let Some(pid) = home::read_number(&instance.folder.join("pid")) {
                let _gone = home::end(pid, Signal::SIGKILL, Duration::from_secs(10));
            }
            let _gone = fs::remove_dir_all(&instance.folder);
        }
    }
}

fn url_of(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/0")
}

fn ensure_running() -> Result<u16> {
    let _lock = home::lock("redis")?;
    let folder = home::folder()?.join("redis");
    if let Some((_, port)) = running(&folder) {
        return Ok(port);
    }
    fs::create_dir_all(&folder)?;
    let port = home::free_port()?;
    start(&folder, port, &[])?;
    Ok(port)
}

fn running(folder: &Path) -> Option<(i32, u16)> {
    let pid = home::read_number(&folder.join("pid"))?;
    let port = home::read_number(&folder.join("port"))?;
    (home::is_alive(pid) && home::answers(port)).then_some((pid, port))
}

/// No persistence: what Redis holds can be rebuilt, and tests rely on a kill losing it.
/// With arguments about TLS the port speaks that and nothing else.
fn start(folder: &Path, port: u16, tls: &[OsString]) -> Result<()> {
    let program = home::find_program("Redis", &["/usr/bin/redis-server"])?;
    let log = folder.join("log");
    let port_text = port.to_string();
    let ports = if tls.is_empty() {
        vec!["--port", &port_text]
    } else {
        vec!["--port", "0", "--tls-port", &port_text]
    };
    home::run(
        Command::new(program)
            .args(ports)
            .args(["--bind", "127.0.0.1"])
            .args(tls)
            .args(["--save", "", "--appendonly", "no", "--daemonize", "yes"])
            .arg("--dir")
            .arg(folder)
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .arg("--logfile")
            .arg(&log)
            .stdin(Stdio::null()),
    )?;
    fs::write(folder.join("port"), port.to_string())?;
    home::wait_until("Redis to answer", Duration::from_secs(10), || {
        Ok(home::answers(port) && folder.join("pid").exists())
    })
    .with_context(|| format!("see {}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_killed_private_server_comes_back_empty_on_its_port() {
        let server = Redis::private().await;
        let client = redis::Client::open(server.url.as_str()).expect("a URL");
        let mut connection = client.get_connection().expect("connects");
        redis::cmd("SET")
            .arg("k")
            .arg("v")
            .exec(&mut connection)
            .expect("writes");
        server.kill9();
        assert!(client.get_connection().is_err());
        server.start();
        let mut connection = client.get_connection().expect("connects again");
        let value: Option<String> = redis::cmd("GET")
            .arg("k")
            .query(&mut connection)
            .expect("reads");
        assert_eq!(value, None);
    }
}
