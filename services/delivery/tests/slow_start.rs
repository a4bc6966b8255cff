//! "When it is back the backlog drains in order with a slow start" (design section 6).

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::raw::{RawHost, TAKEN, read_request};
use common::tls::{Authority, server, trusting};
use common::{PATIENCE, Plan, Rig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

const INBOX: &str = "https://moody.bad.test/inbox";
const FAILING: &str = "select count(*) from hosts where state = 'failing'";
const DELIVERED: &str = "select count(*) from deliveries where state = 'delivered'";

/// What the host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Takes everything.
    Well,
    /// Speaks no TLS any more, which counts against it at once.
    Broken,
    /// Answers one request and is silent from then on.
    Once,
}

/// A host with moods, and how many requests it leaves without an answer.
async fn moody(rig: &mut Rig, authority: &Authority) -> (watch::Sender<Mood>, Arc<AtomicUsize>) {
    let identity = authority.certify("moody.bad.test", |_| {});
    let acceptor = TlsAcceptor::from(Arc::new(server(identity)));
    let (change, mood) = watch::channel(Mood::Well);
    let (answered, unanswered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let waiting = Arc::clone(&unanswered);
    let host = RawHost::start(Arc::new(move |mut stream, _| {
        let (acceptor, mut mood) = (acceptor.clone(), mood.clone());
        let (answered, waiting) = (Arc::clone(&answered), Arc::clone(&waiting));
        Box::pin(async move {
            if *mood.borrow() == Mood::Broken {
                let _hello = stream.read(&mut [0; 4_096]).await;
                let _gone = stream.write_all(b"no TLS here\r\n").await;
                let _end = stream.read(&mut [0; 4_096]).await;
                return;
            }
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            while read_request(&mut stream).await {
                let now = *mood.borrow();
                if now == Mood::Broken {
                    return;
                }
                if now == Mood::Once && answered.fetch_add(1, Ordering::SeqCst) > 0 {
                    waiting.fetch_add(1, Ordering::SeqCst);
                    let is_well = mood.wait_for(|mood| *mood == Mood::Well).await.is_ok();
                    waiting.fetch_sub(1, Ordering::SeqCst);
                    if !is_well {
                        return;
                    }
                }
                if stream.write_all(TAKEN).await.is_err() {
                    return;
                }
            }
        })
    }))
    .await;
    rig.lead("moody.bad.test", host.address);
    (change, unanswered)
}

#[tokio::test]
async fn a_host_that_is_back_is_sent_one_at_a_time_at_first() {
    let authority = Authority::new("the one that is trusted");
    let (rig, _folder) = trusting(&authority).await;
    let mut rig = rig.patient(Duration::from_mins(5));
    let (change, unanswered) = moody(&mut rig, &authority).await;
    rig.start();
    // Answers open its window, well beyond one.
    for n in 0..40 {
        let key = format!("before{n}");
        rig.send(&Plan::new("Create", &key, 1, &[INBOX])).await;
    }
    rig.until_number(DELIVERED, 40).await;
    change.send(Mood::Broken).expect("the host lives");
    for n in 0..10 {
        let key = format!("while{n}");
        rig.send(&Plan::new("Create", &key, 1, &[INBOX])).await;
    }
    rig.until_number(FAILING, 1).await;
    let waiting = "select count(*) from deliveries where state = 'parked'";
    rig.until_number(waiting, 10).await;

    change.send(Mood::Once).expect("the host lives");
    rig.steer("next_probe_at = now()").await;
    rig.until_number(DELIVERED, 41).await;
    let deadline = Instant::now() + PATIENCE;
    while unanswered.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the backlog is not sent");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(unanswered.load(Ordering::SeqCst), 1, "not all at once");
    change.send(Mood::Well).expect("the host lives");
    rig.until_number(DELIVERED, 50).await;
}
