//! What operators rely on: metrics of every role, a ledger that notices, a second server that is
//! found, a broker that refuses.

use std::time::Duration;

use anyhow::ensure;
use tidegate_testkit::{RabbitMq, program};

use crate::client::{eventually, text};
use crate::cluster::{Cluster, Mode};

/// Within so long a second server must be found and used.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn every_role_shows_what_it_does() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Mode::Split, &[]).await?;
    let ada = cluster.user("ada").await?;
    let bo = cluster.sim.add_actor("alpha.sim.test", "bo", true);
    crate::stories::taken(cluster.sim.follow(&bo, &cluster.actor("ada")).await?)?;
    let follower = async || -> anyhow::Result<bool> {
        let path = format!("/api/v1/accounts/{}", ada.account_id);
        Ok(ada.get(&path).await?["followers_count"] == 1)
    };
    eventually("the follower", follower).await?;
    let post = ada.say("seen by the metrics", "public").await?;
    let create = format!("{}/activity", text(&post, "uri")?);
    let arrived = |ledger: &tidegate_loadtest::Ledger| {
        ledger
            .effects()
            .iter()
            .any(|arrival| *arrival.activity == *create)
    };
    ensure!(cluster.sim.ledger().wait_until(arrived, FOUND_WITHIN).await);
    let everywhere = [
        "tidegate_database_connections",
        "tidegate_outbox_oldest_age_seconds",
    ];
    let own = [
        ("api", "tidegate_api_requests_total"),
        ("fanout", "tidegate_queue_oldest_age_seconds"),
        ("delivery", "tidegate_delivery_attempts_total"),
        ("delivery", "tidegate_delivery_rows"),
    ];
    for index in 0..cluster.nodes.len() {
        let role = cluster.nodes[index].role;
        let metrics = cluster.process(index)?.metrics().await?;
        for name in everywhere.iter().chain(
            own.iter()
                .filter(|(of, _)| *of == role)
                .map(|(_, name)| name),
        ) {
            ensure!(
                metrics.contains(name),
                "{role} does not show {name}: {metrics}"
            );
        }
        // A remote host never becomes a label, but for the twenty that most waits for.
        let mut others = metrics
            .lines()
            .filter(|line| !line.contains("_worst_host_"));
        ensure!(
            !others.any(|line| line.contains("sim.test")),
            "{role} shows a remote host"
        );
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_delivery_is_noticed() -> anyhow::Result<()> {
    let cluster = Cluster::start(Mode::Embedded, &[]).await?;
    let ada = cluster.user("ada").await?;
    let bo = cluster.sim.add_actor("alpha.sim.test", "bo", true);
    crate::stories::taken(cluster.sim.follow(&bo, &cluster.actor("ada")).await?)?;
    eventually("the Accept", async || {
        Ok(!cluster.sim.ledger().activities("Accept").is_empty())
    })
    .await?;
    ada.say("counted", "public").await?;
    eventually("the post", async || {
        Ok(!cluster.sim.ledger().activities("Create").is_empty())
    })
    .await?;
    let pool = &cluster.database()?.pool;
    eventually("all outcomes", async || {
        let open: i64 =
            sqlx::query_scalar("select count(*) from deliveries where state <> 'delivered'")
                .fetch_one(pool)
                .await?;
        Ok(open == 0)
    })
    .await?;
    cluster.command(&["admin", "verify-deliveries"]).await?;
    let gone = sqlx::query(
        "delete from deliveries where activity_id = (select max(activity_id) from deliveries)",
    )
    .execute(pool)
    .await?;
    ensure!(gone.rows_affected() == 1);
    let verdict = cluster.command(&["admin", "verify-deliveries"]).await;
    ensure!(verdict.is_err(), "nobody noticed: {verdict:?}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_is_found_and_used() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Mode::SecondDelivery, &[]).await?;
    let ada = cluster.user("ada").await?;
    for name in ["one", "two"] {
        cluster.sim.add_actor("alpha.sim.test", name, true);
    }
    // The second one is known by name, but not there: calls go to the first.
    eventually("the first server to be used", async || {
        Ok(ada.find("one@alpha.sim.test").await.is_ok())
    })
    .await?;
    let second = cluster.nodes.len() - 1;
    cluster.spawn(second)?;
    cluster.process(second)?.ready().await?;
    let deadline = tokio::time::Instant::now() + FOUND_WITHIN;
    for n in 0.. {
        // Whether anybody of that name is there is no matter.
        let _nobody = ada.find(&format!("nobody{n}@alpha.sim.test")).await;
        let metrics = cluster.process(second)?.metrics().await?;
        let is_called = |line: &str| {
            line.starts_with("tidegate_rpc_requests_total{")
                && line.contains("Egress")
                && !line.ends_with(" 0")
        };
        if metrics.lines().any(is_called) {
            break;
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "nobody calls the second server: {metrics}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.take(second - 1)?.kill9()?;
    eventually("the second server to be used", async || {
        Ok(ada.find("two@alpha.sim.test").await.is_ok())
    })
    .await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_rights_is_one_clear_error() -> anyhow::Result<()> {
    let place = RabbitMq::shared().await.vhost().await;
    place.forbid_guest();
    let cluster = Cluster::start(Mode::Embedded, &[]).await?;
    let output = tokio::process::Command::from(program(env!("CARGO_BIN_EXE_tidegate")))
        .args(["doctor"])
        .env("TIDEGATE_DATABASE__URL", &cluster.database()?.url)
        .env("TIDEGATE_QUEUE__URL", &place.url)
        .env("TIDEGATE_DATA_DIR", cluster.folder().join("doctor"))
        .current_dir(cluster.folder())
        .output()
        .await?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        !output.status.success(),
        "the doctor found nothing wrong: {said}"
    );
    ensure!(
        said.contains("set_permissions"),
        "it does not say what to type: {said}"
    );
    ensure!(!said.contains("panicked"), "{said}");
    cluster.finish().await
}
