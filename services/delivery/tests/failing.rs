//! Hosts that fail: backed off as a whole, tried with probes, drained in order when they are
//! back, given up after seven days (design section 6).

mod common;

use std::time::Duration;

use common::hosts::FLAKY as INBOX;
use common::{PATIENCE, Plan, Rig};
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tidegate_model::ManualClock;
use time::OffsetDateTime;
use tokio::time::Instant;

const FAILING: &str = "select count(*) from hosts where state = 'failing'";
const WAITING: &str = "select count(*) from deliveries where state = 'parked' and reason = 'host'";
const DELIVERED: &str = "select count(*) from deliveries where state = 'delivered'";

#[tokio::test]
async fn a_failing_host_waits_as_a_whole_and_is_drained_in_order() {
    let mut rig = Rig::new().await;
    rig.options.probe_first = Duration::from_secs(1);
    let proxy = rig.flaky().await;
    proxy.cut();
    rig.start();
    for n in 0..20 {
        let key = format!("status:{n}");
        for (seq, kind) in [(1, "Create"), (2, "Update"), (3, "Update")] {
            rig.send(&Plan::new(kind, &key, seq, &[INBOX])).await;
        }
    }
    rig.until_number(FAILING, 1).await;
    rig.until_number(WAITING, 60).await;
    let attempts = rig
        .number("select sum(attempts)::bigint from deliveries")
        .await;
    assert!(attempts <= 12, "{attempts} attempts at a dead host");
    rig.until_number("select count(*) from queue_messages", 0)
        .await;
    proxy.heal();
    rig.until_number(DELIVERED, 60).await;
    let mut last = std::collections::HashMap::new();
    for entry in rig.sim.ledger().received(|entry| entry.effect) {
        let activity = entry.activity.as_ref().expect("an activity");
        let (key, seq) = activity.id.rsplit_once('-').expect("key and seq");
        let seq: i64 = seq.parse().expect("a number");
        let before = last.insert(key.to_owned(), seq).unwrap_or(0);
        assert!(before < seq, "{key}: {seq} after {before}");
    }
    rig.until_number("select count(*) from hosts where backlog", 0)
        .await;
}

#[tokio::test]
async fn a_refused_connection_counts_at_once() {
    let mut rig = Rig::new().await;
    rig.options.probe_first = Duration::from_hours(1);
    rig.nobody().await;
    rig.start();
    let first = rig.send(&Plan::new("Create", "k1", 1, &[INBOX])).await;
    let row = rig.until(first, INBOX, "parked").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("host"), 1));
    let second = rig.send(&Plan::new("Create", "k2", 1, &[INBOX])).await;
    let row = rig.until(second, INBOX, "parked").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("host"), 0));
    rig.until_queue_is_empty().await;
}

#[tokio::test]
async fn probes_take_turns_and_are_no_more_than_the_schedule_says() {
    let mut rig = Rig::new().await;
    rig.options.probe_first = Duration::from_millis(200);
    rig.nobody().await;
    rig.start();
    for n in 0..10 {
        rig.send(&Plan::new("Create", &format!("k{n}"), 1, &[INBOX]))
            .await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let attempts = rig
        .number("select sum(attempts)::bigint from deliveries")
        .await;
    // 0.2 + 0.4 + 0.8 + 1.6 s, less a fifth, and what was under way when the first failed.
    assert!((3..=8).contains(&attempts), "{attempts}");
    let most = rig
        .number("select max(attempts)::bigint from deliveries")
        .await;
    assert!(most < attempts, "never the same twice in a row");
    let own = rig
        .number("select sum(own_failures)::bigint from deliveries")
        .await;
    assert_eq!(own, 0, "a failing host is no failure of the activity");
}

#[tokio::test]
async fn a_probe_that_is_not_sent_after_all_makes_place_for_the_next() {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    rig.sim.add_host("a.sim.test", HostBehaviour::default());
    rig.sim.add_actor("a.sim.test", "bob", true);
    let inbox = "http://a.sim.test/inbox";
    let id = rig.plan(&Plan::new("Create", "k1", 1, &[inbox])).await;
    rig.run("update deliveries set state = 'parked', reason = 'host'")
        .await;
    // The host asked to be left alone for an hour, and is due to be probed before that is over.
    sqlx::query(
        "insert into hosts (host, shard, state, failing_since, probe_interval, backlog,
                            next_probe_at, held_until)
         select host, shard, 'failing', now(), 60, true, now() + interval '300 milliseconds',
                now() + interval '1 hour'
         from deliveries",
    )
    .execute(rig.pool())
    .await
    .expect("a host");
    rig.start();
    // The probe is found, and waits for the end of that hour; then the host is paused.
    let found = Instant::now() + Duration::from_secs(2);
    tokio::time::sleep_until(found).await;
    rig.steer("paused_at = now()").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.row(id, inbox).await.attempts, 0);
    // Whoever asks for a probe knows better than the host's last answer.
    rig.steer("paused_at = null, next_probe_at = now()").await;
    rig.until(id, inbox, "delivered").await;
}

#[tokio::test]
async fn a_probe_is_found_behind_candidates_that_all_fall_away() {
    let mut rig = Rig::new().await;
    rig.options.probe_first = Duration::from_hours(1);
    let proxy = rig.flaky().await;
    proxy.cut();
    rig.start();
    let mut posts = Vec::new();
    for n in 0..8 {
        let status = rig.post("public").await;
        let key = format!("status:{n}");
        let plan = Plan {
            status_id: Some(status),
            ..Plan::new("Create", &key, 1, &[INBOX])
        };
        posts.push((rig.send(&plan).await, status));
    }
    rig.until_number(FAILING, 1).await;
    rig.until_number(WAITING, 8).await;
    // More than a look for a probe takes.
    let deleted: Vec<i64> = posts[..7].iter().map(|(_, status)| *status).collect();
    sqlx::query("update statuses set deleted_at = now() where id = any($1)")
        .bind(&deleted)
        .execute(rig.pool())
        .await
        .expect("deleted");
    proxy.heal();
    rig.steer("next_probe_at = now()").await;
    let (last, _) = posts[7];
    rig.until(last, INBOX, "delivered").await;
    for (id, _) in &posts[..7] {
        let row = rig.until(*id, INBOX, "cancelled").await;
        assert_eq!(row.reason.as_deref(), Some("deleted"));
    }
    rig.until_number(FAILING, 0).await;
}

#[tokio::test]
async fn a_host_that_fails_on_seven_days_is_unavailable_until_it_answers_a_get() {
    let mut rig = Rig::new().await;
    let hands = ManualClock::at(OffsetDateTime::now_utc());
    rig.deps.clock = hands.clock();
    rig.options.retry_ladder = vec![Duration::from_secs(10); 50];
    rig.options.probe_first = Duration::from_mins(1);
    let proxy = rig.flaky().await;
    proxy.cut();
    rig.start();
    for n in 0..8 {
        rig.send(&Plan::new("Create", &format!("k{n}"), 1, &[INBOX]))
            .await;
    }
    // Somebody asked to follow, and waits.
    let asked = rig
        .send(&Plan::new("Follow", "relation:1:9", 1, &[INBOX]))
        .await;
    rig.asked(asked).await;
    let deadline = Instant::now() + PATIENCE;
    while rig.number(FAILING).await == 0 {
        assert!(Instant::now() < deadline, "the host is not failing");
        hands.advance(time::Duration::seconds(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for day in 1..7 {
        hands.advance(time::Duration::hours(25));
        let days = format!("{day} days");
        let deadline = Instant::now() + PATIENCE;
        while rig
            .number("select max(cardinality(failed_days))::bigint from hosts")
            .await
            < day
        {
            assert!(Instant::now() < deadline, "{days} do not count");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(rig.number(FAILING).await, 1, "six days are not seven");
    hands.advance(time::Duration::hours(25));
    let unavailable = "select count(*) from hosts where state = 'unavailable'";
    rig.until_number(unavailable, 1).await;
    let dead = "select count(*) from deliveries where state = 'dead' and reason = 'unavailable'";
    rig.until_number(dead, 9).await;
    // Nobody will ever answer that request.
    rig.until_number("select count(*) from follows", 0).await;
    // Nobody waits for a post; somebody waits for a follow.
    let post = rig.send(&Plan::new("Create", "new", 1, &[INBOX])).await;
    let row = rig.until(post, INBOX, "dead").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("unavailable"), 0)
    );
    let follow = rig
        .send(&Plan::new("Follow", "relation:1:2", 1, &[INBOX]))
        .await;
    let row = rig.until(follow, INBOX, "parked").await;
    assert!(row.attempts >= 1, "{row:?}");
    proxy.heal();
    hands.advance(time::Duration::hours(25));
    rig.until_number("select count(*) from hosts where state = 'ok'", 1)
        .await;
}

#[tokio::test]
async fn when_most_hosts_fail_together_none_is_held_responsible() {
    let mut rig = Rig::new().await;
    rig.options.probe_first = Duration::from_millis(300);
    let proxy = rig.flaky().await;
    let hosts: Vec<String> = (0..6).map(|n| format!("h{n}.flaky.test")).collect();
    let mut inboxes = Vec::new();
    for host in &hosts {
        rig.sim.add_host(host, HostBehaviour::default());
        rig.sim.add_actor(host, "bob", true);
        inboxes.push(format!("http://{host}/inbox"));
    }
    let inboxes: Vec<&str> = inboxes.iter().map(String::as_str).collect();
    rig.start();
    rig.send(&Plan::new("Create", "before", 1, &inboxes)).await;
    rig.until_number(DELIVERED, 6).await;
    proxy.cut();
    for n in 0..8 {
        rig.send(&Plan::new("Create", &format!("k{n}"), 1, &inboxes))
            .await;
    }
    rig.until_number(FAILING, 6).await;
    // A restart does not forget it, however long ago the last success was by then.
    let noted = "select count(*) from shard_leases where own_outage";
    rig.until_number(noted, 2).await;
    rig.stop().await;
    rig.run("update hosts set last_success_at = now() - interval '2 hours'")
        .await;
    rig.start();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let days = "select coalesce(max(cardinality(failed_days)), 0)::bigint from hosts";
    assert_eq!(rig.number(days).await, 0, "no day counts");
    let longest: f64 = sqlx::query_scalar("select max(probe_interval) from hosts")
        .fetch_one(rig.pool())
        .await
        .expect("an interval");
    assert!(longest <= 0.3, "{longest} s between probes");
    proxy.heal();
    rig.until_number(DELIVERED, 6 + 6 * 8).await;
    rig.until_number(noted, 0).await;
}

#[tokio::test]
async fn when_several_hosts_refuse_our_signature_nothing_becomes_dead() {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    rig.options.retry_ladder = vec![Duration::from_millis(200); 3];
    let hosts: Vec<String> = (0..3).map(|n| format!("h{n}.sim.test")).collect();
    let mut inboxes = Vec::new();
    for host in &hosts {
        let refusing = Script::always(Fault::Status { code: 401 });
        rig.sim.add_host(host, HostBehaviour::inbox(refusing));
        rig.sim.add_actor(host, "bob", true);
        inboxes.push(format!("http://{host}/inbox"));
    }
    let inboxes: Vec<&str> = inboxes.iter().map(String::as_str).collect();
    rig.start();
    let id = rig.send(&Plan::new("Create", "k", 1, &inboxes)).await;
    // More often than the ladder is long, each of them.
    let refused = "select count(*) from deliveries where attempts > 5 and state = 'parked'";
    rig.until_number(refused, 3).await;
    // At once: those that go on refusing alone would be to blame themselves.
    for host in &hosts {
        rig.sim.set_behaviour(host, HostBehaviour::default());
    }
    for inbox in &inboxes {
        rig.until(id, inbox, "delivered").await;
    }
}

#[tokio::test]
async fn a_paused_host_gets_nothing_until_it_is_resumed() {
    let mut rig = Rig::new().await;
    let _proxy = rig.flaky().await;
    rig.start();
    sqlx::query(
        "insert into hosts (host, paused_at, steered_at) values ('a.flaky.test', now(), now())",
    )
    .execute(rig.pool())
    .await
    .expect("paused");
    let id = rig.send(&Plan::new("Create", "k", 1, &[INBOX])).await;
    let row = rig.until(id, INBOX, "parked").await;
    assert_eq!((row.reason.as_deref(), row.attempts), (Some("paused"), 0));
    sqlx::query("update hosts set paused_at = null, steered_at = now()")
        .execute(rig.pool())
        .await
        .expect("resumed");
    rig.until(id, INBOX, "delivered").await;
}

#[tokio::test]
async fn a_pace_learnt_from_429_is_kept() {
    let mut rig = Rig::new().await;
    rig.options.retry_ladder = vec![Duration::from_secs(5); 3];
    let limited = Script::first(
        1,
        Fault::TooManyRequests {
            retry_after: "1".to_owned(),
        },
    );
    rig.sim
        .add_host("a.sim.test", HostBehaviour::inbox(limited));
    rig.sim.add_actor("a.sim.test", "bob", true);
    let inbox = "http://a.sim.test/inbox";
    rig.start();
    let first = rig.send(&Plan::new("Create", "k", 1, &[inbox])).await;
    rig.until(first, inbox, "delivered").await;
    let rate = "select count(*) from hosts where rate > 0 and rate_until > now()";
    rig.until_number(rate, 1).await;
    let row = rig.row(first, inbox).await;
    assert_eq!(row.attempts, 2, "{row:?}");
}

#[tokio::test]
async fn a_follow_that_dies_is_withdrawn_and_the_user_is_told() {
    let rig = Rig::running().await;
    let refusing = Script::always(Fault::Status { code: 403 });
    rig.sim
        .add_host("a.sim.test", HostBehaviour::inbox(refusing));
    rig.sim.add_actor("a.sim.test", "bob", true);
    let bob: i64 = sqlx::query_scalar(
        "insert into accounts (username, domain, uri, url, inbox_url, key_id, public_key_pem)
         values ('bob', 'a.sim.test', 'http://a.sim.test/users/bob', '', 'x', 'k', '')
         returning id",
    )
    .fetch_one(rig.pool())
    .await
    .expect("an account");
    sqlx::query(
        "insert into users (account_id, email, password_hash, confirmed_at)
         values ($1, 'ada@example.org', '', now())",
    )
    .bind(rig.author)
    .execute(rig.pool())
    .await
    .expect("a user");
    sqlx::query(
        "insert into follows (account_id, target_id, uri, state)
         values ($1, $2, 'http://us.test/activities/relation:1:2-1', 'pending')",
    )
    .bind(rig.author)
    .bind(bob)
    .execute(rig.pool())
    .await
    .expect("a request");
    let inbox = "http://a.sim.test/inbox";
    let id = rig
        .send(&Plan::new("Follow", "relation:1:2", 1, &[inbox]))
        .await;
    rig.until(id, inbox, "dead").await;
    assert_eq!(rig.number("select count(*) from follows").await, 0);
    let mail: String = sqlx::query_scalar("select payload::text from outbox")
        .fetch_one(rig.pool())
        .await
        .expect("a mail");
    assert!(mail.contains("ada@example.org"), "{mail}");
    assert!(mail.contains("@bob@a.sim.test"), "{mail}");
}

#[tokio::test]
async fn a_failing_host_for_which_something_waits_always_has_a_probe_to_come() {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    rig.options.probe_first = Duration::from_hours(1);
    let silent = Script::first(1, Fault::Hang { millis: 60_000 });
    rig.sim.add_host("a.sim.test", HostBehaviour::inbox(silent));
    rig.sim.add_actor("a.sim.test", "bob", true);
    let inbox = "http://a.sim.test/inbox";
    let ids = [
        rig.plan(&Plan::new("Create", "k1", 1, &[inbox])).await,
        rig.plan(&Plan::new("Create", "k2", 1, &[inbox])).await,
    ];
    // Nothing waited for it when it was last heard of: the next to come is the probe.
    rig.run(
        "insert into hosts (host, shard, state, failing_since)
         select distinct host, shard, 'failing', now() from deliveries",
    )
    .await;
    rig.start();
    rig.publish(ids[0]).await;
    let probed = Instant::now() + PATIENCE;
    while !rig.sim.crowds().contains_key("a.sim.test") {
        assert!(Instant::now() < probed, "it is not probed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // While the probe is out another comes, and the worker dies: nothing comes of the probe.
    rig.publish(ids[1]).await;
    rig.until(ids[1], inbox, "parked").await;
    rig.until_number(
        "select count(*) from hosts where state = 'failing' and next_probe_at is not null",
        1,
    )
    .await;
    rig.kill();
    rig.start();
    rig.steer("next_probe_at = now()").await;
    for id in ids {
        rig.until(id, inbox, "delivered").await;
    }
}

#[tokio::test]
async fn a_probe_that_waits_for_a_takeover_is_the_probe_again_afterwards() {
    let mut rig = Rig::new().await;
    rig.options.probe_first = Duration::from_hours(1);
    rig.sim.add_host("a.sim.test", HostBehaviour::default());
    rig.sim.add_actor("a.sim.test", "bob", true);
    let inbox = "http://a.sim.test/inbox";
    let id = rig.plan(&Plan::new("Update", "k1", 2, &[inbox])).await;
    rig.run(
        "insert into hosts (host, shard, state, failing_since)
         select distinct host, shard, 'failing', now() from deliveries",
    )
    .await;
    rig.run(
        "insert into shard_leases (shard, unsettled_until)
         select shard, now() + interval '2 seconds' from generate_series(0, 1) as shard",
    )
    .await;
    rig.start();
    rig.publish(id).await;
    rig.until_number(
        "select count(*) from deliveries where reason = 'takeover'",
        1,
    )
    .await;
    rig.until(id, inbox, "delivered").await;
}
