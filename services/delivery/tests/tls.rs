//! Attack C17: a certificate or protocol that is not sound gets nothing, by kind, and there is no
//! switch that changes this. The handshakes are real.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::raw::{RawHost, metric, read_request};
use common::tls::{Authority, Identity, server, trusting};
use common::{Plan, Rig};
use rcgen::{CertificateParams, DnType, KeyPair};
use rsa::RsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use rustls::pki_types::CertificateDer;
use sha1::Sha1;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

fn self_signed(name: &str) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.der().clone(), key)
}

/// The same certificate, signed by its authority with SHA-1: nothing else is wrong with it.
fn with_sha1((certificate, key): Identity, authority: &Authority) -> Identity {
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
    // A sequence of what is signed, the algorithm and the signature; the first begins behind the
    // four bytes of the outer head, with a length of two bytes, and the last is the end of all.
    assert_eq!(der[4..6], [0x30, 0x82]);
    let length = 4 + usize::from(u16::from_be_bytes([der[6], der[7]]));
    let private = RsaPrivateKey::from_pkcs8_der(&authority.key).expect("the authority's key");
    let signer = rsa::pkcs1v15::SigningKey::<Sha1>::new(private);
    let signature = signer.sign(&der[4..4 + length]).to_vec();
    let start = der.len() - signature.len();
    der[start..].copy_from_slice(&signature);
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
            with_sha1(authority.certify("sha1.bad.test", |_| {}), &authority),
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

/// What breaks after the handshake broke a request that may have arrived: it must not be taken
/// for one that never left, and the host is there.
#[tokio::test]
async fn tls_that_breaks_after_its_handshake_is_no_certificate_that_is_refused() {
    let inbox = "https://torn.bad.test/inbox";
    let authority = Authority::new("the one that is trusted");
    let (mut rig, _folder) = trusting(&authority).await;
    let identity = authority.certify("torn.bad.test", |_| {});
    let acceptor = TlsAcceptor::from(Arc::new(server(identity)));
    let torn = RawHost::start(Arc::new(move |stream, _| {
        let acceptor = acceptor.clone();
        Box::pin(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            if read_request(&mut stream).await {
                // A record of application data that no key of this connection made.
                let mut record = vec![0x17, 0x03, 0x03, 0x00, 0x20];
                record.extend([7; 32]);
                let (below, _) = stream.get_mut();
                let _gone = below.write_all(&record).await;
                let _end = below.read(&mut [0; 64]).await;
            }
        })
    }))
    .await;
    rig.lead("torn.bad.test", torn.address);
    rig.start();
    let id = rig.send(&Plan::new("Create", "torn", 1, &[inbox])).await;
    let row = rig.until(id, inbox, "dead").await;
    assert_eq!(row.reason.as_deref(), Some("exhausted"));
    assert_eq!(rig.last_error(id, inbox).await.as_deref(), Some("broken"));
    let touched = "select count(*) from deliveries where touched";
    assert_eq!(rig.number(touched).await, 1);
    let down = "select count(*) from hosts where state <> 'ok'";
    assert_eq!(rig.number(down).await, 0);
}
