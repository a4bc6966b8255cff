//! Real clients: the command-line client toot and the library Mastodon.py, as people use them.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::cluster::{Cluster, Mode};

/// The password of the account that the clients sign in to.
const PASSWORD: &str = "correct horse battery";

/// The workspace.
pub(crate) fn root() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("the node lies two folders below the workspace")
}

/// A program of the clients' environment.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = root()?.join(".tidegate/clients/venv/bin").join(name);
    ensure!(
        path.is_file(),
        "{name} is not installed: deploy/scripts/install-clients installs it"
    );
    Ok(path)
}

async fn tell(mode: Mode, script: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let cluster = Cluster::start(mode, &[]).await?;
    let username = "ada";
    let client = cluster.user(username).await?;
    let neighbour = cluster.sim.add_actor("gull.sim.test", "gus", true);
    let output = tokio::process::Command::new(program("python")?)
        .arg(root()?.join("deploy/tests/clients").join(script))
        .args(arguments)
        .args([
            cluster.base.as_str(),
            &format!("{}@example.com", client.username),
            PASSWORD,
            &neighbour.handle(),
        ])
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "{script}: {}{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        cluster.logs()
    );
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn toot_logs_in_posts_reads_and_follows() -> anyhow::Result<()> {
    let toot = program("toot")?;
    let toot = toot.to_str().context("a readable path")?;
    tell(Mode::Embedded, "toot_story.py", &[toot]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mastodon_py_logs_in_posts_reads_and_follows() -> anyhow::Result<()> {
    tell(Mode::Split, "mastodon_py_story.py", &[]).await
}
