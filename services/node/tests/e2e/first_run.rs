//! The first run: nothing is set up. A stranger signs up, confirms the address with the link in
//! the mail folder, follows the neighbour next door, writes to it, and is answered.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tidegate_loadtest::neighbour::{Neighbour, NeighbourConfig};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, eventually, text};
use crate::process::{Process, free_port};

const NEIGHBOUR: &str = "neighbour.test";

/// How often the neighbour looks whom to answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The confirmation page's address, from the one mail there is.
fn mailed_link(folder: &Path) -> anyhow::Result<String> {
    let mails: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    let mail = mails.first().context("no mail yet")?;
    let mail = std::fs::read_to_string(mail.path())?;
    // Quoted-printable: soft line breaks, and the equals sign itself.
    let mail = mail
        .replace("=\r\n", "")
        .replace("=\n", "")
        .replace("=3D", "=");
    let start = mail.find("http://").context("no link")?;
    let link = mail[start..].split_whitespace().next().context("no link")?;
    Ok(link.to_owned())
}

/// Starts the node as `tidegate run` does without a word of configuration, but for the ports; its
/// links follow the first.
fn start(folder: &Path, http: u16, next_door: u16) -> anyhow::Result<Process> {
    let metrics = free_port()?;
    let settings = [
        (
            "TIDEGATE_DATA_DIR",
            folder.join("data").display().to_string(),
        ),
        ("TIDEGATE_HTTP__LISTEN", format!("127.0.0.1:{http}")),
        ("TIDEGATE_METRICS__LISTEN", format!("127.0.0.1:{metrics}")),
        (
            "TIDEGATE_EGRESS__HOST_MAP",
            format!("{NEIGHBOUR}=127.0.0.1:{next_door}"),
        ),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value));
    Process::spawn("node", folder, &["run"], &settings, metrics)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_signs_up_and_is_answered_by_the_neighbour() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    // The private PostgreSQL of root runs as another user.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let (http, next_door) = (free_port()?, free_port()?);
    let base = format!("http://localhost:{http}");
    let mut node = start(folder.path(), http, next_door)?;
    node.ready().await?;
    // What somebody in front of a terminal is told.
    let said = std::fs::read_to_string(folder.path().join("node.log"))?;
    for line in [
        format!("Tidegate is ready at {base}"),
        format!("sign up at {base}/auth/sign_up"),
        "admin account create --username NAME".to_owned(),
        format!(
            "Mails land in {}",
            folder.path().join("data/mail").display()
        ),
    ] {
        anyhow::ensure!(said.contains(&line), "not a word of \"{line}\": {said}");
    }
    let neighbour = Neighbour::start(&NeighbourConfig {
        listen: ([127, 0, 0, 1], next_door).into(),
        tidegate: base.parse()?,
        name: NEIGHBOUR.to_owned(),
        resolve: [].into(),
        state: None,
    })
    .await?;
    let stop = CancellationToken::new();
    let living = tokio::spawn({
        let stopped = stop.clone().cancelled_owned();
        async move { neighbour.live(PAUSE, stopped).await }
    });

    let mut ada = Client::register(&base, "ada").await?;
    let early = ada.arrive().await;
    assert!(early.is_err(), "the address is not confirmed yet");
    let mails = folder.path().join("data/mail");
    eventually("the mail", async || mailed_link(&mails).map(|_| true)).await?;
    let page = reqwest::get(mailed_link(&mails)?).await?;
    assert!(page.status().is_success(), "{page:?}");
    ada.arrive().await?;

    let handle = format!("keeper@{NEIGHBOUR}");
    ada.follow(&handle).await?;
    ada.say(
        &format!("Hello keeper, how is the weather? @{handle}"),
        "public",
    )
    .await?;
    eventually("the neighbour's answer in the home timeline", async || {
        let home = ada.get("/api/v1/timelines/home").await?;
        let posts = home.as_array().context("a list")?;
        Ok(posts.iter().any(|post| {
            text(&post["account"], "acct").is_ok_and(|acct| acct == handle)
                && post["mentions"][0]["username"] == "ada"
        }))
    })
    .await?;
    stop.cancel();
    living.await?;
    let (status, log) = node.terminate().await?;
    assert_eq!(status.code(), Some(0), "after SIGTERM: {log}");
    Ok(())
}
