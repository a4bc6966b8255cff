//! The waits of production, day for day, under a clock that the test moves: an activity's own
//! ladder, the probes of a host that is dead, and how long a pace is remembered.

mod common;

use std::time::Duration;

use common::hosts::{FLAKY, timeless};
use common::{PATIENCE, Plan, Rig};
use tidegate_delivery::DeliveryOptions;
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tidegate_model::{ManualClock, RETRY_LADDER};
use time::OffsetDateTime;
use tokio::time::Instant;

const INBOX: &str = "http://a.sim.test/inbox";

/// A role with the schedules of production and the hands of its clock.
async fn driven() -> (Rig, ManualClock) {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    let real = DeliveryOptions::default();
    rig.options.retry_ladder = real.retry_ladder;
    rig.options.probe_first = real.probe_first;
    rig.options.probe_longest = real.probe_longest;
    rig.options.greet_interval = real.greet_interval;
    let hands = rig.hands();
    (rig, hands)
}

/// Moves the clock to this time.
fn set(hands: &ManualClock, at: OffsetDateTime) {
    hands.advance(at - hands.clock().now());
}

/// When a row that was tried so often is tried again.
async fn due(rig: &Rig, id: i64, attempts: i32) -> OffsetDateTime {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found: Option<OffsetDateTime> = sqlx::query_scalar(
            "select not_before from deliveries
             where activity_id = $1 and state = 'parked' and attempts = $2",
        )
        .bind(id)
        .bind(attempts)
        .fetch_optional(rig.pool())
        .await
        .expect("a question")
        .flatten();
        if let Some(at) = found {
            return at;
        }
        let row = rig.row(id, INBOX).await;
        assert!(
            Instant::now() < deadline,
            "not {attempts} attempts: {row:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_activity_climbs_the_whole_ladder_and_no_step_is_early() {
    let (mut rig, hands) = driven().await;
    let broken = Script::always(Fault::Status { code: 500 });
    let broken = timeless(HostBehaviour::inbox(broken));
    rig.sim.add_host("a.sim.test", broken);
    rig.sim.add_actor("a.sim.test", "bob", true);
    rig.start();
    let id = rig.send(&Plan::new("Create", "k", 1, &[INBOX])).await;
    let mut shares = Vec::new();
    for (step, wait) in (1..).zip(RETRY_LADDER) {
        let at = due(&rig, id, step).await;
        let waits = (at - hands.clock().now()).as_seconds_f64();
        let wait = wait.as_secs_f64();
        assert!(
            (0.8 * wait..=1.2 * wait).contains(&waits),
            "step {step}: {waits} s"
        );
        shares.push(waits / wait);
        set(&hands, at - time::Duration::milliseconds(2));
        rig.look(&format!("before{step}")).await;
        assert_eq!(rig.row(id, INBOX).await.attempts, step, "too early");
        set(&hands, at + time::Duration::milliseconds(1));
    }
    let row = rig.until(id, INBOX, "dead").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("exhausted"), 7)
    );
    let is_spread = shares.iter().any(|share| (share - shares[0]).abs() > 1e-3);
    assert!(
        is_spread,
        "what failed together is tried together: {shares:?}"
    );
}

/// The breaker of the one host, as it is written down.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
struct Breaker {
    state: String,
    next_probe_at: Option<OffsetDateTime>,
    probe_interval: Option<f64>,
    last_probe_activity_id: Option<i64>,
    failed_days: Vec<time::Date>,
    attempts: i64,
}

/// Waits until it is another than before.
async fn breaker(rig: &Rig, before: Option<&Breaker>) -> Breaker {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // What is under way or not written down yet is left to end.
        let found: Option<Breaker> = sqlx::query_as(
            "select state, next_probe_at, probe_interval, last_probe_activity_id, failed_days,
                    (select sum(attempts) from deliveries where host = h.host)::bigint as attempts
             from hosts h
             where host = 'a.flaky.test' and state <> 'ok'
               and not exists (select 1 from deliveries where host = h.host and state = 'queued')",
        )
        .fetch_optional(rig.pool())
        .await
        .expect("a question");
        match found {
            Some(found)
                if before.is_none_or(|before| {
                    found.next_probe_at != before.next_probe_at && found.attempts > before.attempts
                }) =>
            {
                return found;
            }
            _ => assert!(Instant::now() < deadline, "it stays {before:?}: {found:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_dead_host_is_tried_by_the_schedule_and_given_up_after_seven_days() {
    const LONGEST: f64 = 6.0 * 3600.0;
    let (mut rig, hands) = driven().await;
    rig.nobody().await;
    rig.start();
    for n in 0..8 {
        let key = format!("k{n}");
        rig.send(&Plan::new("Create", &key, 1, &[FLAKY])).await;
    }
    let began = hands.clock().now();
    let mut last = breaker(&rig, None).await;
    let first = last.probe_interval.expect("a wait");
    assert!((48.0..=72.0).contains(&first), "{first} s to the first");
    let mut probes = 0;
    while last.state == "failing" {
        let at = last.next_probe_at.expect("a time");
        set(&hands, at - time::Duration::milliseconds(2));
        rig.look(&format!("before{probes}")).await;
        set(&hands, at + time::Duration::milliseconds(1));
        let next = breaker(&rig, Some(&last)).await;
        probes += 1;
        assert_eq!(next.attempts, last.attempts + 1, "one at a time");
        assert_ne!(next.last_probe_activity_id, last.last_probe_activity_id);
        let doubled = (last.probe_interval.expect("a wait") * 2.0).min(LONGEST);
        let wait = next.probe_interval.expect("a wait");
        assert!(
            (0.8 * doubled - 0.1..=(1.2 * doubled).min(LONGEST) + 0.1).contains(&wait),
            "probe {probes}: {wait} s after {last:?}"
        );
        assert!(next.failed_days.len() <= 7, "{next:?}");
        assert!(probes <= 46, "more than the schedule allows");
        last = next;
    }
    assert_eq!(last.state, "unavailable");
    assert_eq!(last.failed_days.len(), 7, "{last:?}");
    let took = hands.clock().now() - began;
    assert!(took > time::Duration::days(5), "seven dates: {took}");
    let dead = "select count(*) from deliveries where reason = 'unavailable' and state = 'dead'";
    rig.until_number(dead, 8).await;
    // A day until it is asked with a GET.
    let asked = last.next_probe_at.expect("a time") - hands.clock().now();
    assert_eq!(asked, time::Duration::DAY);
}

#[tokio::test]
async fn the_pace_of_a_429_is_kept_for_a_day_and_then_forgotten() {
    let (mut rig, hands) = driven().await;
    let refusing = Fault::TooManyRequests {
        retry_after: "1".to_owned(),
    };
    let once = timeless(HostBehaviour::inbox(Script::first(1, refusing)));
    rig.sim.add_host("a.sim.test", once);
    rig.sim.add_actor("a.sim.test", "bob", true);
    rig.start();
    let id = rig.send(&Plan::new("Create", "k", 1, &[INBOX])).await;
    due(&rig, id, 1).await;
    rig.until_number("select count(*) from hosts where rate > 0", 1)
        .await;
    let until: OffsetDateTime = sqlx::query_scalar("select rate_until from hosts where rate > 0")
        .fetch_one(rig.pool())
        .await
        .expect("a time");
    let kept = until - hands.clock().now();
    assert_eq!(kept, time::Duration::DAY);
    rig.stop().await;

    // So slow that ten take a minute and a half.
    rig.run("update hosts set rate = 0.1, held_until = null")
        .await;
    hands.advance(time::Duration::hours(23));
    rig.start();
    rig.until(id, INBOX, "delivered").await;
    for n in 0..10 {
        let key = format!("paced{n}");
        rig.send(&Plan::new("Create", &key, 1, &[INBOX])).await;
    }
    for n in 0..10 {
        rig.look(&format!("after{n}")).await;
    }
    let paced = "select count(*) from deliveries where host = 'a.sim.test' and state = 'delivered'";
    let sent = rig.number(paced).await;
    assert!(sent < 11, "the pace is not kept");
    rig.stop().await;

    hands.advance(time::Duration::hours(2));
    rig.start();
    rig.until_number(paced, 11).await;
}

#[tokio::test]
async fn a_429_ends_a_row_by_how_long_it_lasts_and_not_by_how_long_the_row_waited() {
    let (mut rig, hands) = driven().await;
    let pacing = Fault::TooManyRequests {
        retry_after: "1".to_owned(),
    };
    let pacing = timeless(HostBehaviour::inbox(Script::always(pacing)));
    rig.sim.add_host("a.sim.test", pacing);
    rig.sim.add_actor("a.sim.test", "bob", true);
    let id = rig.plan(&Plan::new("Create", "k", 1, &[INBOX])).await;
    rig.run("update deliveries set created_at = created_at - interval '3 days'")
        .await;
    rig.start();
    rig.publish(id).await;
    let again = due(&rig, id, 1).await;
    assert_eq!(
        rig.row(id, INBOX).await.reason.as_deref(),
        Some("status_429")
    );
    rig.stop().await;

    // Whatever else it is told in between would end this.
    let whole: Duration = RETRY_LADDER.iter().sum();
    set(&hands, again + whole);
    rig.run("update hosts set rate = null, rate_until = null, held_until = null")
        .await;
    rig.start();
    let row = rig.until(id, INBOX, "dead").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("exhausted"), 2)
    );
}

#[tokio::test]
async fn a_backlog_is_drained_at_the_pace_that_was_learnt_before_a_restart() {
    let (mut rig, hands) = driven().await;
    let well = timeless(HostBehaviour::default());
    rig.sim.add_host("a.sim.test", well);
    rig.sim.add_actor("a.sim.test", "bob", true);
    for n in 0..10 {
        let key = format!("k{n}");
        rig.plan(&Plan::new("Create", &key, 1, &[INBOX])).await;
    }
    rig.run("update deliveries set state = 'parked', reason = 'host'")
        .await;
    // So slow that ten take a minute and a half.
    sqlx::query(
        "insert into hosts (host, shard, backlog, rate, rate_until)
         select distinct host, shard, true, 0.1::float8, $1::timestamptz from deliveries",
    )
    .bind(hands.clock().now() + time::Duration::hours(1))
    .execute(rig.pool())
    .await
    .expect("a host");
    rig.start();
    let sent = "select count(*) from deliveries where host = 'a.sim.test' and state = 'delivered'";
    for n in 0..10 {
        rig.look(&format!("after{n}")).await;
    }
    let sent = rig.number(sent).await;
    assert!(sent < 10, "the pace is not kept");
}
