//! "No host holds more than a quarter of a shard's prefetch: its surplus is parked(slow) and
//! replayed as its window allows" (design section 6).

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::raw::{RawHost, TAKEN, read_request};
use common::{Plan, Rig};
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

const SILENT: &str = "http://a.silent.test/inbox";
const WELL: &str = "http://well.sim.test/inbox";

/// Rows of the shard in memory, and a quarter of them.
const PREFETCH: usize = 40;
const SHARE: i64 = 10;

/// A host that takes requests and answers none of them until it is told to.
async fn silent(rig: &mut Rig) -> watch::Sender<bool> {
    let (speak, may_speak) = watch::channel(false);
    let host = RawHost::start(Arc::new(move |mut stream, _| {
        let mut may_speak = may_speak.clone();
        Box::pin(async move {
            while read_request(&mut stream).await {
                let told = may_speak.wait_for(|may| *may).await.is_ok();
                if !told || stream.write_all(TAKEN).await.is_err() {
                    return;
                }
            }
        })
    }))
    .await;
    rig.lead("silent.test", host.address);
    speak
}

#[tokio::test]
async fn a_host_has_a_quarter_of_the_prefetch_and_the_rest_waits_for_its_window() {
    let mut rig = Rig::new().await.patient(Duration::from_mins(5));
    rig.options.prefetch_inboxes = PREFETCH;
    let speak = silent(&mut rig).await;
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
