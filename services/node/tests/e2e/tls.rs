//! RabbitMQ and Redis over TLS, with certificates of a private authority.

use anyhow::ensure;
use tidegate_testkit::{Certificates, Postgres, RabbitMq, Redis};

use crate::cluster::{Cluster, Mode, Stores};
use crate::stories;

/// Lets the doctor run beside the processes whose settings it has.
const FREE_PORTS: [(&str, &str); 3] = [
    ("TIDEGATE_HTTP__LISTEN", "127.0.0.1:0"),
    ("TIDEGATE_METRICS__LISTEN", "127.0.0.1:0"),
    ("TIDEGATE_RPC__LISTEN", "127.0.0.1:0"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_post_travels_over_tls_to_who_is_trusted_and_to_nobody_else() -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    let authority = certificates.authority().display().to_string();
    let database = Postgres::shared().await.fresh_database().await;
    let redis = Redis::private_with_tls(&certificates).await;
    let (_broker, broker_url) = RabbitMq::private_with_tls(&certificates).await;
    let stores = Stores {
        database: database.url.clone(),
        queue: broker_url.clone(),
        queue_prefix: "tls".to_owned(),
        timelines: redis.url.clone(),
        timelines_prefix: "tls".to_owned(),
    };
    let trust = [
        ("TIDEGATE_QUEUE__EXTRA_CA_FILES", authority.as_str()),
        ("TIDEGATE_TIMELINES__EXTRA_CA_FILES", authority.as_str()),
    ];
    let cluster = Cluster::start_on(Mode::Split, &stores, &trust).await?;
    if let Err(error) = stories::a_post_travels(&cluster).await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }

    let examine = async |extra: &[(&str, &str)]| {
        let settings: Vec<_> = FREE_PORTS.iter().chain(extra).copied().collect();
        match cluster.command_with(&["doctor"], &settings).await {
            Ok(said) => said,
            Err(error) => format!("{error:#}"),
        }
    };
    let said = examine(&[]).await;
    for part in ["ok    queue", "ok    timelines"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    // Without the authority neither server is believed, and both certificates are told of.
    let said = examine(&trust.map(|(key, _)| (key, ""))).await;
    for part in ["SICK  queue", "SICK  timelines"] {
        let line = said.lines().find(|line| line.contains(part));
        ensure!(
            line.is_some_and(|line| line.contains("certificate")),
            "{part}: {said}"
        );
    }
    // Nor does either port speak in clear.
    let plain_redis = redis.url.replace("rediss://", "redis://");
    let plain_broker = broker_url.replace("amqps://", "amqp://");
    let said = examine(&[
        ("TIDEGATE_QUEUE__URL", &plain_broker),
        ("TIDEGATE_TIMELINES__URL", &plain_redis),
    ])
    .await;
    for part in ["SICK  queue", "SICK  timelines"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    cluster.finish().await
}
