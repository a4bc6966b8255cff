//! What is true of the whole service is said by one process at a time. One test, because metrics
//! belong to the process.

mod common;

use std::time::Duration;

use common::raw::metric;
use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::HostBehaviour;
use tidegate_model::shard_of;
use tokio::time::Instant;

const OWNED: &str = "tidegate_delivery_shards_owned";
const FAILING: &str = r#"tidegate_delivery_hosts{state="failing"}"#;
const DELIVERED: &str = r#"tidegate_delivery_rows{state="delivered"}"#;

async fn until(name: &str, wanted: f64) {
    let deadline = Instant::now() + PATIENCE;
    while (metric(name) - wanted).abs() > 0.5 {
        let value = metric(name);
        assert!(Instant::now() < deadline, "{name} is {value}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A host of this shard among two.
fn host_of(shard: u32) -> String {
    let mut names = (0..).map(|n| format!("h{n}.sim.test"));
    let found = names.find(|name| shard_of(name, 2) == shard);
    found.expect("there are many names")
}

/// Queues a row whose message is gone.
async fn lost(rig: &Rig, shard: u32) -> (i64, String) {
    let host = host_of(shard);
    rig.sim.add_host(&host, HostBehaviour::default());
    let inbox = format!("http://{host}/inbox");
    let id = rig.plan(&Plan::new("Create", &host, 1, &[&inbox])).await;
    sqlx::query(
        "update deliveries set published_at = now() - interval '1 hour', created_at = now()
         where activity_id = $1",
    )
    .bind(id)
    .execute(rig.pool())
    .await
    .expect("old");
    (id, inbox)
}

#[tokio::test]
async fn who_has_the_first_shard_measures_for_all_and_each_looks_after_its_own() {
    let mut rig = Rig::new().await;
    rig.options.measure_interval = Duration::from_millis(50);
    rig.options.republish_after = Duration::from_millis(100);
    rig.options.reconcile_interval = Duration::from_millis(50);
    rig.run(
        "insert into shard_leases (shard, holder, expires_at)
         values (0, gen_random_uuid(), now() + interval '1 hour')",
    )
    .await;
    rig.run("insert into hosts (host, shard, state) values ('f.test', 99, 'failing')")
        .await;
    rig.start();
    until(OWNED, 1.0).await;
    let (theirs, their_inbox) = lost(&rig, 0).await;
    let (ours, our_inbox) = lost(&rig, 1).await;
    rig.until(ours, &our_inbox, "delivered").await;
    let republished = "select sum(republish_count)::bigint from deliveries
                       where host in (select host from deliveries where shard = 0)";
    assert_eq!(rig.number(republished).await, 0, "another's shard");
    assert!(metric(FAILING) < 0.5, "another measures");
    assert!(metric(DELIVERED) < 0.5, "another measures");

    rig.run("update shard_leases set expires_at = '-infinity' where shard = 0")
        .await;
    until(OWNED, 2.0).await;
    rig.until(theirs, &their_inbox, "delivered").await;
    until(FAILING, 1.0).await;
    until(DELIVERED, 2.0).await;

    // While the database is away, nobody knows.
    rig.run("alter table shard_leases rename to away").await;
    until(OWNED, 0.0).await;
    until(FAILING, 0.0).await;
    until(DELIVERED, 0.0).await;
    rig.run("alter table away rename to shard_leases").await;
    until(OWNED, 2.0).await;
    until(FAILING, 1.0).await;
}
