//! The least that a delivery can cost: sign, POST, nothing else. What Tidegate's cost is held
//! against in the same run (design section 6). Same libraries, same headers, one process, no
//! queue, no database, no order, no memory of what happened.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context, ensure};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Client, Url, header};
use tokio::{sync::Semaphore, task::JoinSet};

/// What to send.
#[derive(Debug, Clone)]
pub struct BareOptions {
    /// Where all names lead.
    pub address: SocketAddr,
    /// Hosts are `h0.<suffix>`, `h1.<suffix>` ...
    pub suffix: String,
    /// How many of them.
    pub hosts: usize,
    /// Activities, each to every host.
    pub activities: usize,
    /// Requests under way at most.
    pub in_flight: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
}

/// What it took.
#[derive(Debug, Clone, serde::Serialize)]
pub struct BareResult {
    /// Requests that were answered with 2xx.
    pub delivered: usize,
    /// Of the whole run, in seconds.
    pub seconds: f64,
    /// CPU seconds of this process from the first signature to the last answer.
    pub cpu_seconds: f64,
}

/// Sends everything once to warm the connections up, then measures the same again.
pub async fn run(options: &BareOptions) -> anyhow::Result<BareResult> {
    let key = Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).context("a key")?);
    ensure!(
        !key.public_key().as_ref().is_empty(),
        "a key without a public half"
    );
    let mut client = Client::builder().no_proxy().pool_max_idle_per_host(16);
    for host in 0..options.hosts {
        client = client.resolve(&format!("h{host}.{}", options.suffix), options.address);
    }
    let client = client.build()?;
    send_all(options, &client, &key, 1, "warm").await?;
    let (cpu, start) = (cpu_seconds()?, Instant::now());
    let delivered = send_all(options, &client, &key, options.activities, "bare").await?;
    Ok(BareResult {
        delivered,
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds()? - cpu,
    })
}

async fn send_all(
    options: &BareOptions,
    client: &Client,
    key: &Arc<RsaKeyPair>,
    activities: usize,
    name: &str,
) -> anyhow::Result<usize> {
    let places = Arc::new(Semaphore::new(options.in_flight));
    let mut running = JoinSet::new();
    let mut delivered = 0;
    for activity in 0..activities {
        let body = Arc::new(body(options.body_bytes, &format!("{name}-{activity}")));
        let hash = STANDARD.encode(digest(&SHA256, body.as_bytes()));
        for host in 0..options.hosts {
            let place = Arc::clone(&places).acquire_owned().await?;
            let url = Url::parse(&format!("http://h{host}.{}/inbox", options.suffix))?;
            let (client, key, body, hash) = (
                client.clone(),
                Arc::clone(key),
                Arc::clone(&body),
                hash.clone(),
            );
            running.spawn(async move {
                let sent = post(&client, &key, url, &body, &hash).await;
                drop(place);
                sent
            });
            while let Some(ended) = running.try_join_next() {
                delivered += usize::from(ended??);
            }
        }
    }
    while let Some(ended) = running.join_next().await {
        delivered += usize::from(ended??);
    }
    Ok(delivered)
}

async fn post(
    client: &Client,
    key: &RsaKeyPair,
    url: Url,
    body: &str,
    hash: &str,
) -> anyhow::Result<bool> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let digest = format!("SHA-256={hash}");
    let text = format!(
        "(request-target): post {}\nhost: {host}\ndate: {date}\ndigest: {digest}",
        url.path()
    );
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .ok()
    .context("cannot sign")?;
    let signature = format!(
        "keyId=\"http://bare.test/users/bare#main-key\",algorithm=\"rsa-sha256\",\
         headers=\"(request-target) host date digest\",signature=\"{}\"",
        STANDARD.encode(signature)
    );
    let answer = client
        .post(url)
        .header(header::HOST, host)
        .header(header::DATE, date)
        .header("digest", digest)
        .header("signature", signature)
        .header(header::CONTENT_TYPE, "application/activity+json")
        .body(body.to_owned())
        .send()
        .await?;
    let is_taken = answer.status().is_success();
    answer.bytes().await?;
    Ok(is_taken)
}

/// A Create of a Note of about this size.
fn body(bytes: usize, name: &str) -> String {
    let around = serde_json::json!({
        "@context": "https://www.w3.org/ns/activitystreams",
        "id": format!("http://bare.test/activities/{name}"), "type": "Create",
        "actor": "http://bare.test/users/bare",
        "object": {"type": "Note", "id": format!("http://bare.test/notes/{name}"), "content": ""},
    });
    let text = "x".repeat(bytes.saturating_sub(around.to_string().len()));
    let mut activity = around;
    activity["object"]["content"] = text.into();
    activity.to_string()
}

/// Time that the threads of this process were on a core; none ends while it is measured.
fn cpu_seconds() -> anyhow::Result<f64> {
    let mut nanos = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let on_cpu = text.split_whitespace().next().unwrap_or("0");
        nanos += on_cpu.parse::<f64>()?;
    }
    Ok(nanos / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_size_asked_for() {
        assert_eq!(body(2_048, "a").len(), 2_048);
    }

    #[tokio::test]
    async fn everything_is_sent_and_taken() {
        use crate::{HostBehaviour, SignaturePolicy, Sim, SimConfig};
        let sim = Sim::start(SimConfig::default()).await.expect("starts");
        for host in 0..3 {
            let host = format!("h{host}.bare.test");
            sim.add_actor(&host, "u0", true);
            sim.set_behaviour(
                &host,
                HostBehaviour {
                    signatures: SignaturePolicy::Sample { one_in: 0 },
                    ..HostBehaviour::default()
                },
            );
        }
        let options = BareOptions {
            address: sim.address(),
            suffix: "bare.test".to_owned(),
            hosts: 3,
            activities: 4,
            in_flight: 2,
            body_bytes: 2_048,
        };
        assert_eq!(run(&options).await.expect("runs").delivered, 12);
        assert_eq!(sim.ledger().effect_count(), 15);
    }
}
