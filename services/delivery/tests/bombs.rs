//! Attack C8: answers that are small on the wire and huge in memory, or lie about their length.
//! In a binary of its own, because it watches the memory of the whole process.

mod common;

use std::io::Write;
use std::time::Duration;

use common::raw::RawHost;
use common::{Plan, Rig};
use tidegate_delivery::{EgressError, ensure_instance_actor};

/// What a bomb becomes when somebody unpacks it whole.
const UNPACKED: usize = 64 << 20;

/// What this process may grow by while it meets one: the windows of the unpackers and the limit
/// of one body, many times, and still well below a bomb.
const ROOM: u64 = 32 << 20;

/// Fills it with zeros, a piece at a time so that the bomb is never in this process either.
fn fill(mut packer: impl Write) {
    let piece = vec![0; 64 << 10];
    for _ in 0..UNPACKED / piece.len() {
        packer.write_all(&piece).expect("packs");
    }
    packer.flush().expect("packs");
}

fn gzip() -> Vec<u8> {
    let mut packed = Vec::new();
    let mut packer = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
    fill(&mut packer);
    packer.finish().expect("packs");
    packed
}

/// A bomb in a bomb.
fn nested(bomb: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut packer = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
    packer.write_all(bomb).expect("packs");
    packer.finish().expect("packs");
    packed
}

fn br() -> Vec<u8> {
    let mut packed = Vec::new();
    fill(brotli::CompressorWriter::new(&mut packed, 64 << 10, 1, 20));
    packed
}

/// An answer with this body, packed like this, that says it is so long.
fn answer(status: &str, encoding: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/activity+json\r\n\
         content-encoding: {encoding}\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// The most that this process has had in memory since [`forget_peak`], in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let kilobytes: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number");
    kilobytes * 1024
}

fn grown(before: u64) -> u64 {
    peak().saturating_sub(before)
}

/// Starts the peak anew from what is in memory now.
fn forget_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process do so");
    peak()
}

async fn rig() -> Rig {
    let rig = Rig::new().await.patient(Duration::from_secs(20));
    ensure_instance_actor(rig.pool(), &rig.deps.vault, &rig.deps.instance)
        .await
        .expect("the instance actor");
    rig
}

/// One test, so that nothing else of this binary is in memory at the same time.
#[tokio::test]
async fn what_unpacks_to_more_than_a_document_stops_at_the_limit_and_takes_no_room() {
    let mut rig = rig().await;
    let (gzip, br) = (gzip(), br());
    assert!(
        gzip.len() < 1 << 20 && br.len() < 1 << 20,
        "small on the wire"
    );
    // Longer than a document may be, but far shorter than it says.
    let plain = vec![b' '; 2 << 20];
    let ok = "200 OK";
    let taken = "202 Accepted";
    let answers = [
        ("gzip", answer(ok, "gzip", gzip.len(), &gzip)),
        ("br", answer(ok, "br", br.len(), &br)),
        ("lie", answer(ok, "identity", 100 << 30, &plain)),
        // Cut where it says that it ends, this is no document.
        (
            "short",
            answer(ok, "identity", 9, b"{\"id\":\"x\", \"type\":\"Person\"}"),
        ),
        (
            "nested",
            answer(ok, "gzip, gzip", nested(&gzip).len(), &nested(&gzip)),
        ),
        // Which nobody here unpacks.
        ("zstd", answer(ok, "zstd", gzip.len(), &gzip)),
        ("post-gzip", answer(taken, "gzip", gzip.len(), &gzip)),
        ("post-br", answer(taken, "br", br.len(), &br)),
        ("post-lie", answer(taken, "identity", 100 << 30, &plain)),
    ];
    for (name, answer) in answers {
        let host = RawHost::saying(answer).await;
        rig.lead(&format!("{name}.bomb.test"), host.address);
    }
    rig.start();
    let delivery = rig.delivery();
    let before = forget_peak();
    for name in ["gzip", "br", "lie"] {
        let url = format!("http://{name}.bomb.test/users/x");
        let got = delivery.way_out().fetch_object(&url).await;
        assert_eq!(got, Err(EgressError::TooLarge), "{name}");
        assert!(grown(before) < ROOM, "{name}: {} more", grown(before));
    }
    for name in ["short", "nested", "zstd"] {
        let url = format!("http://{name}.bomb.test/users/x");
        let got = delivery.way_out().fetch_object(&url).await;
        assert!(got.is_err(), "{name}: {got:?}");
        assert!(grown(before) < ROOM, "{name}: {} more", grown(before));
    }
    let inboxes =
        ["post-gzip", "post-br", "post-lie"].map(|name| format!("http://{name}.bomb.test/inbox"));
    let inboxes: Vec<&str> = inboxes.iter().map(String::as_str).collect();
    let id = rig.send(&Plan::new("Create", "k", 1, &inboxes)).await;
    for inbox in inboxes {
        // It said that it took it, whatever it says after that.
        rig.until(id, inbox, "delivered").await;
        assert!(grown(before) < ROOM, "{inbox}: {} more", grown(before));
    }
}
