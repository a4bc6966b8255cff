//! Stores that will not do, and accounts that are not there: one clear error each that says what
//! to do, and nothing changed.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tidegate_testkit::{Postgres, RabbitMq, contents, differences, program};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, eventually};
use crate::cluster::{Cluster, Mode};

/// Says that a start hangs, not how fast it should fail.
const HANGS_AFTER: Duration = Duration::from_mins(2);

/// Runs a node that must end by itself; its exit code and what it printed.
async fn run(settings: &[(&str, &str)]) -> anyhow::Result<(Option<i32>, String)> {
    let folder = tempfile::tempdir()?;
    let running = tokio::process::Command::from(program(env!("CARGO_BIN_EXE_tidegate")))
        .arg("run")
        .env("TIDEGATE_DATA_DIR", folder.path())
        .env("TIDEGATE_HTTP__LISTEN", "127.0.0.1:0")
        .env("TIDEGATE_METRICS__LISTEN", "127.0.0.1:0")
        .envs(settings.iter().copied())
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(HANGS_AFTER, running)
        .await
        .context("it neither runs nor ends")??;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok((output.status.code(), said))
}

/// The one line that says why.
fn why(said: &str) -> anyhow::Result<&str> {
    ensure!(!said.contains("panicked"), "{said}");
    let mut lines = said.lines().filter(|line| line.starts_with("tidegate: "));
    let line = lines.next().with_context(|| said.to_owned())?;
    ensure!(lines.next().is_none(), "more than one error: {said}");
    Ok(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_ends_the_start_with_what_to_type() -> anyhow::Result<()> {
    let place = RabbitMq::shared().await.vhost().await;
    place.forbid_guest();
    let wrong_password = place.url.replace("guest:guest@", "guest:hunter2@");
    for (url, advice) in [
        (place.url.as_str(), "rabbitmqctl set_permissions"),
        (wrong_password.as_str(), "rabbitmqctl change_password"),
    ] {
        // Each start makes a key-encryption key of its own, and the first one's is the database's.
        let database = Postgres::shared().await.fresh_database().await;
        let (code, said) = run(&[
            ("TIDEGATE_DATABASE__URL", &database.url),
            ("TIDEGATE_QUEUE__URL", url),
        ])
        .await?;
        ensure!(code == Some(1), "{code:?}: {said}");
        let why = why(&said)?;
        ensure!(why.contains("queue.url") && why.contains(advice), "{why}");
        ensure!(!said.contains("hunter2"), "{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_postgresql_by_url_is_one_clear_error() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(be_postgresql_12(stream));
        }
    });
    let url = format!("postgres://tidegate:hunter2@{address}/tidegate");
    let (code, said) = run(&[("TIDEGATE_DATABASE__URL", &url)]).await?;
    serving.abort();
    ensure!(code == Some(1), "{code:?}: {said}");
    let why = why(&said)?;
    ensure!(
        why.contains("PostgreSQL 12") && why.contains("at least 15") && why.contains("upgrade"),
        "{why}"
    );
    ensure!(!said.contains("hunter2"), "{said}");
    Ok(())
}

/// As much of the protocol as it takes to be asked for the version: every query is answered with
/// one row of one number.
async fn be_postgresql_12(mut stream: TcpStream) -> anyhow::Result<()> {
    const VERSION: i32 = 120_022;
    const SSL_REQUEST: i32 = 80_877_103;
    const INT4: i32 = 23;
    loop {
        let length = usize::try_from(stream.read_i32().await?)?;
        let mut startup = vec![0; length - 4];
        stream.read_exact(&mut startup).await?;
        if startup[..4] != SSL_REQUEST.to_be_bytes() {
            break;
        }
        stream.write_all(b"N").await?;
    }
    let ready = || message(b'Z', b"I");
    let mut greeting = message(b'R', &0_i32.to_be_bytes());
    greeting.extend(message(b'S', b"server_version\x0012.22\0"));
    greeting.extend(message(b'K', &[0; 8]));
    greeting.extend(ready());
    stream.write_all(&greeting).await?;

    let mut described = b"\0\x01number\0".to_vec();
    for part in [
        &[0; 6][..],
        &INT4.to_be_bytes(),
        &[0, 4],
        &[255; 4],
        &[0, 1],
    ] {
        described.extend_from_slice(part);
    }
    let mut row = vec![0, 1, 0, 0, 0, 4];
    row.extend(VERSION.to_be_bytes());
    loop {
        let kind = stream.read_u8().await?;
        let length = usize::try_from(stream.read_i32().await?)?;
        let mut body = vec![0; length - 4];
        stream.read_exact(&mut body).await?;
        let answer = match kind {
            b'P' => message(b'1', b""),
            b'D' if body[0] == b'S' => [message(b't', &[0, 0]), message(b'T', &described)].concat(),
            b'D' => message(b'T', &described),
            b'B' => message(b'2', b""),
            b'E' => [message(b'D', &row), message(b'C', b"SELECT 1\0")].concat(),
            b'C' => message(b'3', b""),
            b'S' => ready(),
            b'X' => return Ok(()),
            _ => Vec::new(),
        };
        stream.write_all(&answer).await?;
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    let mut message = vec![kind];
    message.extend(length.to_be_bytes());
    message.extend_from_slice(body);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_confirmed_by_hand_and_an_unknown_one_is_named() -> anyhow::Result<()> {
    let settings = [("TIDEGATE_REGISTRATIONS__CONFIRM_EMAIL", "true")];
    let cluster = Cluster::start(Mode::Embedded, &settings).await?;
    let ada = Client::register(&cluster.base, "ada").await?;
    let bob = Client::register(&cluster.base, "bob").await?;
    let who = async |client: &Client| -> anyhow::Result<(StatusCode, Value)> {
        let path = "/api/v1/accounts/verify_credentials";
        client.call(Method::GET, path, None, &[]).await
    };
    for client in [&ada, &bob] {
        let (status, said) = who(client).await?;
        ensure!(status == StatusCode::FORBIDDEN, "{status}: {said}");
    }

    let people = async || -> anyhow::Result<_> {
        let pool = &cluster.database()?.pool;
        let mut all = contents(pool).await;
        // The node goes on working: only what a command about accounts could change counts.
        all.retain(|table, _| {
            ["users", "accounts", "tokens", "settings"].contains(&table.as_str())
        });
        ensure!(all.len() == 4, "{all:?}");
        Ok(all)
    };
    let before = people().await?;
    let refused = cluster
        .command(&["admin", "account", "confirm", "nobody"])
        .await;
    let refused = format!("{:#}", refused.err().context("nobody was confirmed")?);
    ensure!(
        refused.contains("nobody") && !refused.contains("panicked"),
        "{refused}"
    );
    let changed = differences(&before, &people().await?);
    ensure!(changed.is_empty(), "{changed:?}");

    let said = cluster
        .command(&["admin", "account", "confirm", "ada"])
        .await?;
    ensure!(said.contains("@ada is confirmed"), "{said}");
    eventually("ada to be let in", async || {
        Ok(who(&ada).await?.0 == StatusCode::OK)
    })
    .await?;
    // Nobody else was.
    ensure!(who(&bob).await?.0 == StatusCode::FORBIDDEN);
    cluster.finish().await
}
