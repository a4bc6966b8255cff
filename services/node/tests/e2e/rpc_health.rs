//! `grpc.health.v1.Health`, as orchestrators ask it: without a token, on the port of the calls
//! between roles.

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::eventually;
use crate::cluster::{Cluster, Mode};

async fn check(channel: &Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel.clone()).check(request).await;
    answer
        .map(|answer| answer.into_inner().status())
        .map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_serves_until_it_stops_and_says_so_while_it_drains() -> anyhow::Result<()> {
    // Longer than the test takes: what ends the draining is the second signal.
    let drain = [("TIDEGATE_SHUTDOWN__DRAIN", "10m")];
    let mut cluster = Cluster::start(Mode::Split, &drain).await?;
    let roles = ["fanout", "delivery"];
    for role in roles {
        let index = cluster.nodes.iter().position(|node| node.role == role);
        let index = index.context("a process of the role")?;
        let url = format!("http://127.0.0.1:{}", cluster.nodes[index].rpc_port);
        let channel = Channel::from_shared(url)?.connect().await?;
        ensure!(check(&channel, "").await == Ok(ServingStatus::Serving));
        ensure!(check(&channel, "no.such.Service").await == Err(Code::NotFound));

        let process = cluster.take(index)?;
        process.signal(Signal::SIGTERM)?;
        eventually("the word that it stops", async || {
            Ok(check(&channel, "").await == Ok(ServingStatus::NotServing))
        })
        .await?;
        // A second signal ends the draining at once.
        let (status, log) = process.terminate().await?;
        ensure!(status.code() == Some(130), "{status}: {log}");
    }
    let api = cluster.take(0)?;
    api.kill9()
}
