//! Attack C17: a certificate or protocol that is not sound gets nothing, by kind, and there is no
//! switch that changes this. The handshakes are real.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::raw::{RawHost, metric};
use common::tls::{Authority, Identity, server, trusting};
use common::{Plan, Rig};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn self_signed(name: &str) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.der().clone(), key)
}

/// The same certificate, said to be signed with SHA-1.
fn with_sha1((certificate, key): Identity) -> Identity {
    const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    let mut der = certificate.to_vec();
    let mut places = 0;
    for start in 0..der.len() - SHA256_WITH_RSA.len() {
        if der[start..].starts_with(SHA256_WITH_RSA) {
            der[start + SHA256_WITH_RSA.len() - 1] = 0x05;
            places += 1;
        }
    }
    assert_eq!(places, 2, "inside what is signed and beside it");
    (CertificateDer::from(der), key)
}

/// Sends to the host and to a sound one: the host fails with this class, the other gets its own.
async fn is_refused(rig: &Rig, name: &str, class: &str, well: &str) {
    let inbox = format!("https://{name}.bad.test/inbox");
    let counter = format!(r#"tidegate_delivery_attempts_total{{answer="{class}",lane="bulk"}}"#);
    let before = metric(&counter);
    let id = rig
        .send(&Plan::new("Create", name, 1, &[&inbox, well]))
        .await;
    rig.until(id, well, "delivered").await;
    let row = rig.until(id, &inbox, "parked").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("host"), 1),
        "{name}"
    );
    rig.until_error(id, &inbox, class).await;
    assert!(
        metric(&counter) > before,
        "{name} is not counted as {class}"
    );
}

#[tokio::test]
async fn certificates_that_are_not_sound_get_nothing() {
    const WELL: &str = "https://well.good.test/inbox";
    let authority = Authority::new("the one that is trusted");
    let (mut rig, _folder) = trusting(&authority).await;
    let days = |days: i64| OffsetDateTime::now_utc() + time::Duration::days(days);
    let (well, taken) =
        RawHost::with_tls(server(authority.certify("well.good.test", |_| {}))).await;
    rig.lead("good.test", well.address);
    let cases = [
        (
            "expired",
            "tls_expired",
            authority.certify("expired.bad.test", |params| {
                (params.not_before, params.not_after) = (days(-9), days(-1));
            }),
        ),
        (
            "early",
            "tls_not_yet_valid",
            authority.certify("early.bad.test", |params| {
                (params.not_before, params.not_after) = (days(1), days(9));
            }),
        ),
        (
            "name",
            "tls_name",
            authority.certify("other.bad.test", |_| {}),
        ),
        ("self", "tls_issuer", self_signed("self.bad.test")),
        (
            "stranger",
            "tls_issuer",
            Authority::new("a stranger").certify("stranger.bad.test", |_| {}),
        ),
        (
            "sha1",
            "tls_certificate",
            with_sha1(authority.certify("sha1.bad.test", |_| {})),
        ),
    ];
    let mut hosts = Vec::new();
    for (name, class, identity) in cases {
        let (host, requests) = RawHost::with_tls(server(identity)).await;
        rig.lead(&format!("{name}.bad.test"), host.address);
        hosts.push((name, class, host, requests));
    }
    rig.start();
    for (name, class, host, requests) in hosts {
        is_refused(&rig, name, class, WELL).await;
        assert_eq!(host.connections.load(Ordering::SeqCst), 1, "{name}");
        assert_eq!(requests.load(Ordering::SeqCst), 0, "{name} saw a request");
    }
    assert_eq!(taken.load(Ordering::SeqCst), 6);
}

/// A server that speaks nothing newer than TLS 1.0: it answers a hello with its own.
fn hello_of_tls_1_0() -> Vec<u8> {
    let mut hello = vec![0x03, 0x01];
    hello.extend([7; 32]);
    // No session, RSA with AES-128-CBC-SHA, no compression.
    hello.extend([0x00, 0x00, 0x2f, 0x00]);
    let length = hello.len() as u8;
    let mut record = vec![0x16, 0x03, 0x01, 0x00, length + 4, 0x02, 0x00, 0x00, length];
    record.extend(hello);
    record
}

#[tokio::test]
async fn protocols_of_yesterday_and_no_tls_at_all_get_nothing() {
    const WELL: &str = "https://well.good.test/inbox";
    let authority = Authority::new("the one that is trusted");
    let (mut rig, _folder) = trusting(&authority).await;
    let (well, _) = RawHost::with_tls(server(authority.certify("well.good.test", |_| {}))).await;
    rig.lead("good.test", well.address);
    let alert = vec![0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46];
    let plain = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec();
    let cases = [
        ("old", "tls_version", hello_of_tls_1_0()),
        ("alert", "tls_version", alert),
        ("plain", "tls", plain),
    ];
    for (name, _, answer) in &cases {
        let answer = answer.clone();
        let host = RawHost::start(Arc::new(move |mut stream, _| {
            let answer = answer.clone();
            Box::pin(async move {
                let mut hello = [0; 4096];
                let _length = stream.read(&mut hello).await;
                let _gone = stream.write_all(&answer).await;
                // Until the other side has read it.
                let _end = stream.read(&mut hello).await;
            })
        }))
        .await;
        rig.lead(&format!("{name}.bad.test"), host.address);
    }
    rig.start();
    for (name, class, _) in &cases {
        is_refused(&rig, name, class, WELL).await;
    }
}

/// C7: the port is open and nothing comes. The time for the connection ends it, before the time
/// for the whole request, and nobody else waits.
#[tokio::test]
async fn a_handshake_that_never_comes_ends_in_time_and_holds_up_nobody() {
    const WELL: &str = "https://well.good.test/inbox";
    let authority = Authority::new("the one that is trusted");
    let (mut rig, _folder) = trusting(&authority).await;
    let (well, _) = RawHost::with_tls(server(authority.certify("well.good.test", |_| {}))).await;
    rig.lead("good.test", well.address);
    let silent = RawHost::start(Arc::new(|stream, _| {
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
    }))
    .await;
    rig.lead("silent.bad.test", silent.address);
    rig.start();
    let inbox = "https://silent.bad.test/inbox";
    let id = rig
        .send(&Plan::new("Create", "silent", 1, &[inbox, WELL]))
        .await;
    rig.until(id, WELL, "delivered").await;
    rig.until_error(id, inbox, "connect_timeout").await;
    assert_eq!(silent.connections.load(Ordering::SeqCst), 1);
}
