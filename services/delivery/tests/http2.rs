//! Attack C10 over HTTP/2: frames without end, from a server with a sound certificate.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::Plan;
use common::raw::RawHost;
use common::tls::{Authority, server, trusting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

const WELL: &str = "https://well.good.test/inbox";

/// A frame of this type on a stream.
fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// A server that answers with settings and then sends `start` once and `flood` for ever.
async fn flooding(config: rustls::ServerConfig, start: Vec<u8>, flood: Vec<u8>) -> RawHost {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (start, flood) = (Arc::new(start), Arc::new(flood));
    RawHost::start(Arc::new(move |stream, _| {
        let acceptor = acceptor.clone();
        let (start, flood) = (Arc::clone(&start), Arc::clone(&flood));
        Box::pin(async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let _gone = stream.write_all(&frame(4, 0, &[])).await;
            let mut received = [0; 16 * 1024];
            let _length = stream.read(&mut received).await;
            let _gone = stream.write_all(&start).await;
            // What comes is not read: it fits into the socket's buffer until the end.
            while stream.write_all(&flood).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
    }))
    .await
}

#[tokio::test]
async fn floods_of_frames_are_ended_in_time_and_hurt_nobody_else() {
    // A header field without indexing: name and value of one byte each.
    let field = [0x00, 0x01, b'x', 0x01, b'y'].repeat(3_000);
    let floods = [
        ("continuation", frame(1, 1, &field), frame(9, 1, &field)),
        ("pings", Vec::new(), frame(6, 0, &[0; 8]).repeat(100)),
        (
            "settings",
            Vec::new(),
            frame(4, 0, &[0, 3, 0, 0, 0, 9]).repeat(100),
        ),
        ("resets", Vec::new(), frame(3, 1, &[0, 0, 0, 8]).repeat(100)),
        ("empty", Vec::new(), frame(0, 1, &[]).repeat(100)),
    ];
    let authority = Authority::new("the one that is trusted");
    let (mut rig, _folder) = trusting(&authority).await;
    rig.options.retry_ladder = vec![Duration::from_hours(1); 4];
    let (well, _) = RawHost::with_tls(server(authority.certify("well.good.test", |_| {}))).await;
    rig.lead("good.test", well.address);
    for (name, start, flood) in &floods {
        let host = format!("{name}.bad.test");
        let mut config = server(authority.certify(&host, |_| {}));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let bad = flooding(config, start.clone(), flood.clone()).await;
        rig.lead(&host, bad.address);
    }
    rig.start();
    for (name, ..) in &floods {
        let inbox = format!("https://{name}.bad.test/inbox");
        let plan = Plan::new("Create", name, 1, &[&inbox, WELL]);
        let id = rig.send(&plan).await;
        rig.until(id, WELL, "delivered").await;
        let row = rig.until(id, &inbox, "parked").await;
        let reason = row.reason.as_deref().unwrap_or_default();
        assert!(matches!(reason, "broken" | "timeout"), "{name}: {row:?}");
    }
}
