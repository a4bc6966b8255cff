//! "No host holds more than a quarter of a shard's prefetch: its surplus is parked(slow) and
//! replayed as its window allows" (design section 6).

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::raw::{RawHost, TAKEN, read_request};
use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::Instant;

const SILENT: &str = "http://a.silent.test/inbox";
const WELL: &str = "http://well.sim.test/inbox";

/// Rows of the shard in memory, and a quarter of them.
const PREFETCH: usize = 40;
const SHARE: i64 = 10;

/// Hosts that take requests and answer none of them until they are told to; and how many they took.
async fn silent(rig: &mut Rig) -> (watch::Sender<bool>, Arc<AtomicUsize>) {
    let (speak, may_speak) = watch::channel(false);
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let host = RawHost::start(Arc::new(move |mut stream, _| {
        let (mut may_speak, counter) = (may_speak.clone(), Arc::clone(&counter));
        Box::pin(async move {
            while read_request(&mut stream).await {
                counter.fetch_add(1, Ordering::SeqCst);
                let told = may_speak.wait_for(|may| *may).await.is_ok();
                if !told || stream.write_all(TAKEN).await.is_err() {
                    return;
                }
            }
        })
    }))
    .await;
    rig.lead("silent.test", host.address);
    (speak, taken)
}

#[tokio::test]
async fn a_host_has_a_quarter_of_the_prefetch_and_the_rest_waits_for_its_window() {
    let mut rig = Rig::new().await.patient(Duration::from_mins(5));
    rig.options.prefetch_inboxes = PREFETCH;
    let (speak, _) = silent(&mut rig).await;
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    rig.start();
    for n in 0..30 {
        let key = format!("k{n}");
        rig.send(&Plan::new("Create", &key, 1, &[SILENT])).await;
    }
    let parked = "select count(*) from deliveries where state = 'parked'
                    and reason in ('slow', 'behind') and attempts = 0 and host = 'a.silent.test'";
    rig.until_number(parked, 30 - SHARE).await;
    let slow = "select count(*) from deliveries where reason = 'slow'";
    assert_eq!(rig.number(slow).await, 1, "the first above its share");
    let held = "select count(*) from deliveries where state = 'queued'";
    assert_eq!(rig.number(held).await, SHARE);
    // The messages of what is parked are gone, and others have the room.
    let well = rig.send(&Plan::new("Create", "well", 1, &[WELL])).await;
    rig.until(well, WELL, "delivered").await;
    assert_eq!(rig.number(held).await, SHARE);

    speak.send(true).expect("the host lives");
    let delivered = "select count(*) from deliveries
                     where host = 'a.silent.test' and state = 'delivered' and attempts = 1";
    rig.until_number(delivered, 30).await;
    rig.until_number("select count(*) from hosts where backlog", 0)
        .await;
}

#[tokio::test]
async fn due_rows_of_a_slow_host_do_not_hide_those_of_others() {
    let mut rig = Rig::new().await.patient(Duration::from_mins(1));
    rig.shards(1).await;
    let slow = HostBehaviour::inbox(Script::always(Fault::Hang { millis: 60_000 }));
    rig.sim.add_host("slow.sim.test", slow);
    rig.sim.add_actor("slow.sim.test", "bob", true);
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    rig.sim.add_actor("well.sim.test", "bob", true);
    let (slow, well) = ("http://slow.sim.test/inbox", "http://well.sim.test/inbox");
    for n in 0..150 {
        let key = format!("k{n}");
        rig.plan(&Plan::new("Create", &key, 1, &[slow])).await;
    }
    rig.run(
        "update deliveries set state = 'parked', reason = 'status_500',
                               not_before = now() - interval '1 minute'",
    )
    .await;
    let id = rig.plan(&Plan::new("Create", "other", 1, &[well])).await;
    sqlx::query(
        "update deliveries set state = 'parked', reason = 'status_500', not_before = now()
         where activity_id = $1",
    )
    .bind(id)
    .execute(rig.pool())
    .await
    .expect("due");
    rig.start();
    rig.until(id, well, "delivered").await;
    let waiting = rig.number("select count(*) from deliveries where state = 'parked'");
    assert_eq!(waiting.await, 150, "the others wait for an answer");
}

/// "Prefetch is counted in inboxes": a message may stand for a hundred of them.
#[tokio::test]
async fn what_is_in_hand_is_counted_in_inboxes_and_not_in_messages() {
    const MESSAGES: usize = 5;
    const INBOXES: usize = 20;
    let mut rig = Rig::new().await.patient(Duration::from_mins(5));
    rig.shards(1).await;
    rig.options.prefetch_inboxes = PREFETCH;
    let (speak, taken) = silent(&mut rig).await;
    for message in 0..MESSAGES {
        // Hosts of its own each: no window and no share stands in the way.
        let urls: Vec<String> = (0..INBOXES)
            .map(|n| format!("http://h{message}-{n}.silent.test/inbox"))
            .collect();
        let inboxes: Vec<&str> = urls.iter().map(String::as_str).collect();
        let key = format!("k{message}");
        rig.send(&Plan::new("Create", &key, 1, &inboxes)).await;
    }
    rig.start();
    let deadline = Instant::now() + PATIENCE;
    while taken.load(Ordering::SeqCst) < PREFETCH {
        assert!(Instant::now() < deadline, "too few are sent");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(taken.load(Ordering::SeqCst), PREFETCH);
    speak.send(true).expect("the hosts live");
    let delivered = "select count(*) from deliveries where state = 'delivered'";
    rig.until_number(delivered, (MESSAGES * INBOXES) as i64)
        .await;
}
