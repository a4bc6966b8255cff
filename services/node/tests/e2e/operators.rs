//! An operator's day: a host is paused and resumed, a delivery dies and is replayed, by command
//! and by API, over gRPC between real processes.

use anyhow::ensure;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tidegate_loadtest::{Fault, HostBehaviour, Script};

use crate::client::{Client, eventually, text};
use crate::cluster::{Cluster, Mode};

const ALPHA: &str = "alpha.sim.test";
const BETA: &str = "beta.sim.test";

/// Gives a user the role of an owner, and their token the scopes of an operator.
async fn promote(cluster: &Cluster, user: &Client) -> anyhow::Result<()> {
    let pool = &cluster.database()?.pool;
    let username = user.username.as_str();
    cluster
        .command(&["admin", "account", "set-role", username, "owner"])
        .await?;
    sqlx::query("update tokens set scopes = scopes || '{admin:read,admin:write}'::text[]")
        .execute(pool)
        .await?;
    eventually("the role to be felt", async || {
        let path = "/api/tidegate/v1/admin/hosts";
        let (status, _) = user.call(Method::GET, path, None, &[]).await?;
        Ok(status == StatusCode::OK)
    })
    .await
}

/// Pauses a host, and posts until something waits for it; the number of the last post.
async fn pause(cluster: &Cluster, ada: &Client) -> anyhow::Result<String> {
    let said = cluster
        .command(&["admin", "hosts", "pause", ALPHA, "--because", "it moves"])
        .await?;
    ensure!(said.contains("waits until it is resumed"), "{said}");
    let mut last = String::new();
    eventually("the pause to be felt", async || {
        let post = ada.say("who hears this?", "public").await?;
        text(&post, "id")?.clone_into(&mut last);
        let list = ["admin", "deliveries", "list", "--host", ALPHA];
        Ok(cluster.command(&list).await?.contains("paused"))
    })
    .await?;
    Ok(last)
}

async fn a_host_is_paused_and_resumed(cluster: &Cluster, ada: &Client) -> anyhow::Result<()> {
    let id = pause(cluster, ada).await?;
    let listed = cluster.command(&["admin", "hosts", "list"]).await?;
    ensure!(listed.contains("ok, paused"), "{listed}");
    ensure!(listed.contains(" of "), "no total: {listed}");
    let shown = cluster.command(&["admin", "hosts", "show", ALPHA]).await?;
    ensure!(shown.contains("it moves"), "{shown}");
    let path = format!("/api/tidegate/v1/statuses/{id}/delivery");
    eventually("the author to see it", async || {
        let seen = ada.get(&path).await?;
        let host = &seen["hosts"][0];
        Ok(host["host"] == ALPHA && host["reason"] == "paused")
    })
    .await?;
    let paused = ada
        .get("/api/tidegate/v1/admin/hosts?paused=true&backlog=true")
        .await?;
    ensure!(paused[0]["host"] == ALPHA, "{paused}");
    ensure!(paused[0]["paused_reason"] == "it moves", "{paused}");
    let path = format!("/api/tidegate/v1/admin/hosts/{ALPHA}/resume");
    let resumed = ada.post(&path, json!({"comment": "it is back"})).await?;
    ensure!(resumed["host"]["paused_at"].is_null(), "{resumed}");
    let path = format!("/api/tidegate/v1/statuses/{id}/delivery");
    eventually("everything to be sent", async || {
        let seen = ada.get(&path).await?;
        Ok(seen["hosts_total"] == 0 && seen["totals"]["delivered"] == 2)
    })
    .await
}

async fn a_delivery_dies_and_is_replayed(cluster: &Cluster, ada: &Client) -> anyhow::Result<()> {
    let refuse = Script::always(Fault::Status { code: 403 });
    cluster
        .sim
        .set_behaviour(BETA, HostBehaviour::inbox(refuse));
    let post = ada.say("not for everybody", "public").await?;
    let id = text(&post, "id")?;
    eventually("the death", async || {
        let list = ["admin", "deliveries", "list", "--state", "dead"];
        let listed = cluster.command(&list).await?;
        Ok(listed.contains("status_403") && listed.contains("1 dead"))
    })
    .await?;
    let of_post = cluster
        .command(&["admin", "deliveries", "status", id])
        .await?;
    ensure!(of_post.contains("refused"), "{of_post}");
    let rows = ada
        .get("/api/tidegate/v1/admin/deliveries?state=dead&actor=ada")
        .await?;
    ensure!(rows[0]["last_status"] == 403, "{rows}");
    cluster.sim.set_behaviour(BETA, HostBehaviour::default());
    let replay = ["admin", "deliveries", "replay", "--reason", "status_403"];
    let said = cluster.command(&replay).await?;
    ensure!(
        said.starts_with("1 deliveries are to be sent again"),
        "{said}"
    );
    eventually("the replay", async || {
        let list = ["admin", "deliveries", "list", "--status", id];
        Ok(cluster.command(&list).await?.contains("2 delivered"))
    })
    .await
}

/// The same acts from the command line.
async fn what_died_is_purged_and_a_host_is_steered(
    cluster: &Cluster,
    ada: &Client,
) -> anyhow::Result<()> {
    let refuse = Script::always(Fault::Status { code: 403 });
    cluster
        .sim
        .set_behaviour(BETA, HostBehaviour::inbox(refuse));
    let post = ada.say("for nobody there", "public").await?;
    let id = text(&post, "id")?;
    let list = ["admin", "deliveries", "list", "--status", id];
    eventually("the death", async || {
        Ok(cluster.command(&list).await?.contains("1 dead"))
    })
    .await?;
    let purge = ["admin", "deliveries", "purge", "--reason", "status_403"];
    let said = cluster.command(&purge).await?;
    ensure!(said.starts_with("1 "), "{said}");
    let listed = cluster.command(&list).await?;
    ensure!(listed.contains("1 cancelled"), "{listed}");
    cluster.sim.set_behaviour(BETA, HostBehaviour::default());
    let tried = cluster.command(&["admin", "hosts", "probe", BETA]).await?;
    ensure!(tried.contains("nothing to probe"), "{tried}");
    cluster.command(&["admin", "hosts", "pause", BETA]).await?;
    let resumed = cluster.command(&["admin", "hosts", "resume", BETA]).await?;
    ensure!(resumed.contains("is resumed"), "{resumed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_and_steers() -> anyhow::Result<()> {
    let cluster = Cluster::start(Mode::Split, &[]).await?;
    let ada = cluster.user("ada").await?;
    for (host, name) in [(ALPHA, "bo"), (BETA, "cy")] {
        let follower = cluster.sim.add_actor(host, name, true);
        let sent = cluster.sim.follow(&follower, &cluster.actor("ada")).await?;
        crate::stories::taken(sent)?;
    }
    eventually("both followers", async || {
        let path = format!("/api/v1/accounts/{}", ada.account_id);
        Ok(ada.get(&path).await?["followers_count"] == 2)
    })
    .await?;
    promote(&cluster, &ada).await?;
    a_host_is_paused_and_resumed(&cluster, &ada).await?;
    a_delivery_dies_and_is_replayed(&cluster, &ada).await?;
    what_died_is_purged_and_a_host_is_steered(&cluster, &ada).await?;
    let everything = cluster.command(&["admin", "deliveries", "purge"]).await;
    let refused = everything.expect_err("nobody said --all").to_string();
    ensure!(refused.contains("--all"), "{refused}");
    let path = "/api/tidegate/v1/admin/deliveries/purge";
    let purged = ada.post(path, json!({"all": true})).await?;
    ensure!(
        purged["finished"] == true && purged["moved"] == 0,
        "{purged}"
    );
    let acts: Vec<(String, bool)> =
        sqlx::query_as("select act, account_id is null from operator_acts order by id")
            .fetch_all(&cluster.database()?.pool)
            .await?;
    let acts: Vec<(&str, bool)> = acts.iter().map(|(act, by)| (act.as_str(), *by)).collect();
    ensure!(
        acts == [
            ("pause", true),
            ("resume", false),
            ("replay", true),
            ("purge", true),
            ("pause", true),
            ("resume", true),
            ("purge", false)
        ],
        "{acts:?}"
    );
    cluster.command(&["admin", "verify-deliveries"]).await?;
    cluster.finish().await
}
