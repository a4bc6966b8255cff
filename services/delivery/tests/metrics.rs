//! Planted faults move their metrics. One test, because metrics belong to the process.

mod common;

use std::time::Duration;

use common::raw::metric;
use common::{PATIENCE, Plan, Rig};
use tidegate_delivery::maintain_partitions;
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use time::OffsetDateTime;

/// Waits until a metric has this value.
async fn until(name: &str, holds: impl Fn(f64) -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds(metric(name)) {
        let value = metric(name);
        assert!(tokio::time::Instant::now() < deadline, "{name} is {value}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a metric that counts whole things has this value.
fn is(value: f64, wanted: f64) -> bool {
    (value - wanted).abs() < 0.5
}

async fn run(rig: &Rig, statement: &'static str) {
    sqlx::query(statement)
        .execute(rig.pool())
        .await
        .expect("the statement runs");
}

fn shown() -> String {
    String::from_utf8(tidegate_telemetry::render()).expect("text")
}

/// Lines of the one metric that names hosts.
fn worst() -> Vec<String> {
    let start = "tidegate_delivery_worst_host_waiting_rows{";
    let lines = shown();
    let lines = lines.lines().filter(|line| line.starts_with(start));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_planted_fault_shows() {
    let mut rig = Rig::new().await.patient(Duration::from_secs(10));
    rig.options.measure_interval = Duration::from_millis(50);
    rig.options.probe_first = Duration::from_hours(1);
    rig.options.republish_after = Duration::from_millis(200);
    rig.options.reconcile_interval = Duration::from_millis(100);
    // Today's partition is there before the first row, as on any day but the first.
    let now = OffsetDateTime::now_utc();
    maintain_partitions(rig.pool(), now, Duration::from_hours(24))
        .await
        .expect("partitions");
    rig.start();
    until("tidegate_delivery_shards_owned", |shards| is(shards, 2.0)).await;
    everything_is_there_at_zero();
    answers_and_windows(&rig).await;
    a_lost_message(&rig).await;
    what_is_queued(&rig).await;
    what_is_under_way(&rig).await;
    probes_and_backlogs(&rig).await;
    hosts_by_state(&rig).await;
    the_worst_hosts(&rig).await;
}

fn everything_is_there_at_zero() {
    let text = shown();
    for line in [
        r#"tidegate_delivery_attempts_total{answer="tls_expired",lane="now"} 0"#,
        r#"tidegate_delivery_attempts_total{answer="429",lane="slow"} 0"#,
        r#"tidegate_delivery_outcomes_total{lane="bulk",outcome="dead"} 0"#,
        r#"tidegate_delivery_lag_seconds_count{lane="now"} 0"#,
        r#"tidegate_delivery_request_seconds_count{lane="bulk"} 0"#,
        r#"tidegate_delivery_in_flight{lane="bulk"} 0"#,
        r#"tidegate_delivery_oldest_queued_age_seconds{lane="slow"} 0"#,
        r#"tidegate_delivery_hosts{state="failing"} 0"#,
        r#"tidegate_delivery_hosts_by_window{window="1"} 0"#,
        r#"tidegate_delivery_rows{state="parked"} 0"#,
        r#"tidegate_delivery_probes_total{outcome="back"} 0"#,
        r#"tidegate_delivery_replayed_total{kind="backlog"} 0"#,
        r#"tidegate_delivery_republished_events_total{message="plan"} 0"#,
        "tidegate_delivery_republished_total 0",
        "tidegate_delivery_panics_total 0",
        "tidegate_delivery_own_outage 0",
        "tidegate_delivery_clock_skew_seconds 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line}");
    }
}

async fn answers_and_windows(rig: &Rig) {
    let refusing = Script::always(Fault::Status { code: 403 });
    rig.sim
        .add_host("no.sim.test", HostBehaviour::inbox(refusing));
    rig.sim.add_host("yes.sim.test", HostBehaviour::default());
    let (no, yes) = ("http://no.sim.test/inbox", "http://yes.sim.test/inbox");
    let id = rig.send(&Plan::new("Create", "k", 1, &[no, yes])).await;
    rig.until(id, no, "dead").await;
    rig.until(id, yes, "delivered").await;
    for (name, at_least) in [
        // The second is the other signature.
        (
            r#"tidegate_delivery_attempts_total{answer="4xx",lane="bulk"}"#,
            2.0,
        ),
        (
            r#"tidegate_delivery_attempts_total{answer="2xx",lane="bulk"}"#,
            1.0,
        ),
        (
            r#"tidegate_delivery_outcomes_total{lane="bulk",outcome="dead"}"#,
            1.0,
        ),
        (r#"tidegate_delivery_lag_seconds_count{lane="bulk"}"#, 1.0),
        (
            r#"tidegate_delivery_request_seconds_count{lane="bulk"}"#,
            3.0,
        ),
        (r#"tidegate_delivery_hosts_by_window{window="2"}"#, 2.0),
        (r#"tidegate_delivery_rows{state="dead"}"#, 1.0),
        (r#"tidegate_delivery_rows{state="delivered"}"#, 1.0),
    ] {
        until(name, |value| value >= at_least).await;
    }
}

/// A row that nobody takes grows old.
async fn what_is_queued(rig: &Rig) {
    run(
        rig,
        "insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq, state,
                                 published_at)
         values (2, 2, 'old.test', 99, 'slow', 'q', 1, 'queued', now() - interval '500 seconds')",
    )
    .await;
    until(
        r#"tidegate_delivery_oldest_queued_age_seconds{lane="slow"}"#,
        |age| (499.0..700.0).contains(&age),
    )
    .await;
    until(r#"tidegate_delivery_rows{state="queued"}"#, |rows| {
        rows >= 1.0
    })
    .await;
    run(rig, "delete from deliveries where host = 'old.test'").await;
    until(
        r#"tidegate_delivery_oldest_queued_age_seconds{lane="slow"}"#,
        |age| is(age, 0.0),
    )
    .await;
}

async fn what_is_under_way(rig: &Rig) {
    let slow = HostBehaviour::slow(Duration::from_secs(2));
    rig.sim.add_host("slow.sim.test", slow);
    let inbox = "http://slow.sim.test/inbox";
    let plan = Plan {
        lane: tidegate_model::Lane::Now,
        ..Plan::new("Create", "slow", 1, &[inbox])
    };
    let id = rig.send(&plan).await;
    let under_way = r#"tidegate_delivery_in_flight{lane="now"}"#;
    until(under_way, |requests| is(requests, 1.0)).await;
    rig.until(id, inbox, "delivered").await;
    until(under_way, |requests| is(requests, 0.0)).await;
    // From the commit to the answer: the two seconds are in it.
    let lag = metric(r#"tidegate_delivery_lag_seconds_sum{lane="now"}"#);
    assert!(lag >= 2.0, "{lag}");
}

/// A host fails, is probed by hand, and its backlog is sent.
async fn probes_and_backlogs(rig: &Rig) {
    let moody = Script::first(5, Fault::Status { code: 500 });
    rig.sim
        .add_host("moody.sim.test", HostBehaviour::inbox(moody));
    let inbox = "http://moody.sim.test/inbox";
    for n in 0..8 {
        let key = format!("moody{n}");
        rig.send(&Plan::new("Create", &key, 1, &[inbox])).await;
    }
    let failing = r#"tidegate_delivery_hosts{state="failing"}"#;
    until(failing, |hosts| is(hosts, 1.0)).await;
    until(r#"tidegate_delivery_rows{state="parked"}"#, |rows| {
        rows >= 1.0
    })
    .await;
    rig.steer("next_probe_at = now()").await;
    for name in [
        r#"tidegate_delivery_probes_total{outcome="back"}"#,
        r#"tidegate_delivery_replayed_total{kind="backlog"}"#,
    ] {
        until(name, |times| times >= 1.0).await;
    }
    let delivered = "select count(*) from deliveries
                     where host = 'moody.sim.test' and state = 'delivered'";
    rig.until_number(delivered, 8).await;
    until(failing, |hosts| is(hosts, 0.0)).await;
}

/// The message is gone: the row is published again.
async fn a_lost_message(rig: &Rig) {
    let inbox = "http://yes.sim.test/inbox";
    // An operator's pause of the host keeps it where it is once it is published again.
    let plan = Plan {
        lane: tidegate_model::Lane::Now,
        ..Plan::new("Create", "lost", 1, &[inbox])
    };
    let id = rig.plan(&plan).await;
    sqlx::query(
        "update deliveries set published_at = now() - interval '1 hour', republish_count = 8
         where activity_id = $1",
    )
    .bind(id)
    .execute(rig.pool())
    .await
    .expect("old");
    until("tidegate_delivery_republished_total", |times| times >= 1.0).await;
    rig.until(id, inbox, "delivered").await;
}

async fn hosts_by_state(rig: &Rig) {
    // No shard of this process: nobody tries them.
    run(
        rig,
        "insert into hosts (host, shard, state, paused_at)
         select 'f' || n || '.test', 99, 'failing', null::timestamptz from generate_series(1, 3) n
         union all select 'u.test', 99, 'unavailable', null
         union all select 'p.test', 99, 'failing', now()",
    )
    .await;
    for (state, hosts) in [("failing", 3.0), ("unavailable", 1.0), ("paused", 1.0)] {
        let name = format!(r#"tidegate_delivery_hosts{{state="{state}"}}"#);
        until(&name, |found| is(found, hosts)).await;
    }
    until(r#"tidegate_delivery_hosts{state="ok"}"#, |found| {
        found >= 1.0
    })
    .await;
}

/// Twenty at most, the worst, escaped, and gone when they have nothing waiting any more.
async fn the_worst_hosts(rig: &Rig) {
    run(
        rig,
        "insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq, state,
                                 not_before)
         select 1, 1000 * n + m, case when n = 30 then 'odd\"\\' else 'w' || n || '.test' end, 99,
                'bulk', 'w', 1, 'parked', now() + interval '1 day'
         from generate_series(1, 30) n, generate_series(1, n) m",
    )
    .await;
    run(
        rig,
        "insert into hosts (host, shard, last_success_at)
         values ('w29.test', 99, now() - interval '1 hour')",
    )
    .await;
    let nine_and_twenty = r#"tidegate_delivery_worst_host_waiting_rows{host="w29.test"}"#;
    until(nine_and_twenty, |rows| is(rows, 29.0)).await;
    let silent = r#"tidegate_delivery_worst_host_silent_seconds{host="w29.test"}"#;
    until(silent, |seconds| (3_590.0..3_700.0).contains(&seconds)).await;
    let lines = worst();
    assert_eq!(lines.len(), 20, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains(r#"host="odd\"\\"} 30"#))
    );
    assert!(
        !lines.iter().any(|line| line.contains("w10.test")),
        "{lines:?}"
    );
    run(
        rig,
        "delete from deliveries where host like 'w%' or host like 'odd%'",
    )
    .await;
    until(nine_and_twenty, |rows| is(rows, 0.0)).await;
    assert_eq!(worst(), Vec::<String>::new());
}
