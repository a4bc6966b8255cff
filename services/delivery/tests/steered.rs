//! Hosts that operators pause, resume and probe, and what waits for them.

mod common;

use std::time::Duration;

use common::hosts::FLAKY;
use common::{PATIENCE, Plan, Rig};
use tidegate_delivery::{By, Cursor, Filter, HostFilter, MoveKind, OperatorError, Why};
use tidegate_loadtest::HostBehaviour;
use tidegate_model::Lane;
use tokio::time::Instant;

const INBOX: &str = "http://a.sim.test/inbox";

fn host(rig: &Rig, name: &str, habits: HostBehaviour) {
    rig.sim.add_host(name, habits);
    rig.sim.add_actor(name, "bob", true);
}

fn why() -> Why {
    Why::new(By::Account(7), "because").expect("short")
}

fn at(host: &str) -> Filter {
    Filter {
        host: Some(host.to_owned()),
        ..Filter::default()
    }
}

#[tokio::test]
async fn a_paused_host_is_sent_nothing_and_a_resumed_one_everything_in_order() {
    let rig = Rig::running().await;
    host(&rig, "a.sim.test", HostBehaviour::default());
    let first = rig.send(&Plan::new("Create", "first", 1, &[INBOX])).await;
    rig.until(first, INBOX, "delivered").await;
    let operators = rig.operators();
    let steered = operators.pause("A.sim.test", &why()).await.expect("paused");
    assert!(steered.host.paused_at.is_some(), "{steered:?}");
    assert_eq!(steered.host.paused_reason, "because");
    // The pause is felt within seconds: by then something waits.
    let mut n = 0;
    while rig
        .number("select count(*) from deliveries where reason = 'paused'")
        .await
        == 0
    {
        let key = format!("before{n}");
        rig.send(&Plan::new("Create", &key, 1, &[INBOX])).await;
        rig.until_queue_is_empty().await;
        n += 1;
    }
    rig.sim.ledger().clear();
    for seq in [3, 1, 2] {
        rig.send(&Plan::new("Update", "status:1", seq, &[INBOX]))
            .await;
    }
    rig.until_queue_is_empty().await;
    let waiting = Filter {
        state: Some("parked".to_owned()),
        ..at("a.sim.test")
    };
    let waiting = operators.deliveries(&waiting, 0, Cursor::default()).await;
    assert!(waiting.expect("listed").len() >= 4);
    assert_eq!(rig.sim.ledger().activities("Update").len(), 0);
    let paused = HostFilter {
        paused: true,
        backlog: true,
        ..HostFilter::default()
    };
    let hosts = operators.hosts(&paused, 0, "").await.expect("listed");
    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0].host, "a.sim.test");

    operators
        .resume("a.sim.test", &why())
        .await
        .expect("resumed");
    rig.until_number(
        "select count(*) from deliveries where state <> 'delivered'",
        0,
    )
    .await;
    let received = rig.sim.ledger().activities("Update");
    let ids = received.iter().map(|entry| {
        let activity = entry.activity.as_ref().expect("an activity");
        activity.id.rsplit('-').next().expect("a number").to_owned()
    });
    assert_eq!(ids.collect::<Vec<_>>(), ["1", "2", "3"]);
    let again = operators.resume("a.sim.test", &why()).await;
    assert!(matches!(again, Err(OperatorError::Refused(_))), "{again:?}");
    let acts = "select count(*) from operator_acts
                where account_id = 7 and target = 'a.sim.test' and reason = 'because'
                  and act in ('pause', 'resume')";
    assert_eq!(rig.number(acts).await, 2);
}

/// `cancelled` is final: what the host says afterwards changes nothing.
#[tokio::test]
async fn an_answer_that_comes_after_a_purge_changes_nothing() {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    host(
        &rig,
        "a.sim.test",
        HostBehaviour::slow(Duration::from_millis(1_500)),
    );
    let id = rig.plan(&Plan::new("Create", "k", 1, &[INBOX])).await;
    rig.run("update deliveries set state = 'parked', reason = 'status_500', not_before = now()")
        .await;
    rig.start();
    let deadline = Instant::now() + PATIENCE;
    while rig
        .sim
        .crowds()
        .get("a.sim.test")
        .is_none_or(|at_once| *at_once == 0)
    {
        assert!(Instant::now() < deadline, "it is not sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let purged = rig
        .shift(MoveKind::Purge, at("a.sim.test"))
        .await
        .expect("purged");
    assert_eq!(purged.moved, 1);
    rig.stop().await;
    assert_eq!(
        rig.sim.ledger().activities("Create").len(),
        1,
        "it was taken"
    );
    let row = rig.row(id, INBOX).await;
    assert_eq!(
        (row.state.as_str(), row.reason.as_deref(), row.attempts),
        ("cancelled", Some("purged"), 0)
    );
}

#[tokio::test]
async fn a_failing_host_is_tried_when_an_operator_says_so() {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    rig.options.probe_first = Duration::from_hours(1);
    let proxy = rig.flaky().await;
    proxy.cut();
    rig.start();
    for n in 0..8 {
        let key = format!("k{n}");
        rig.send(&Plan::new("Create", &key, 1, &[FLAKY])).await;
    }
    rig.until_number("select count(*) from hosts where state = 'failing'", 1)
        .await;
    rig.until_number("select count(*) from deliveries where reason = 'host'", 8)
        .await;
    proxy.heal();
    let operators = rig.operators();
    let failing = HostFilter {
        state: Some("failing".to_owned()),
        name_prefix: "a.fl".to_owned(),
        ..HostFilter::default()
    };
    let hosts = operators.hosts(&failing, 0, "").await.expect("listed");
    assert_eq!((hosts.len(), hosts[0].parked), (1, 8));
    assert_eq!(operators.count_hosts(&failing).await.expect("counted"), 1);
    operators
        .probe("a.flaky.test", &why())
        .await
        .expect("tried");
    rig.until_number(
        "select count(*) from deliveries where state = 'delivered'",
        8,
    )
    .await;

    // Now it is well, and there is nothing to try.
    rig.until_number("select count(*) from hosts where state = 'ok'", 1)
        .await;
    let again = operators.probe("a.flaky.test", &why()).await.expect("told");
    assert!(again.note.contains("nothing to probe"), "{}", again.note);
    let probes = "select count(*) from operator_acts where act = 'probe'";
    assert_eq!(rig.number(probes).await, 1);
    operators
        .pause("a.flaky.test", &why())
        .await
        .expect("paused");
    let refused = operators.probe("a.flaky.test", &why()).await;
    assert!(matches!(refused, Err(OperatorError::Refused(_))));
    let unknown = operators.probe("never.test", &why()).await;
    assert!(matches!(unknown, Err(OperatorError::NotFound(_))));
}

#[tokio::test]
async fn what_is_replayed_for_an_unavailable_host_waits_until_it_answers() {
    let mut rig = Rig::new().await;
    let _proxy = rig.flaky().await;
    let id = rig.plan(&Plan::new("Create", "k", 1, &[FLAKY])).await;
    rig.run("update deliveries set state = 'dead', reason = 'unavailable'")
        .await;
    rig.run(
        "insert into hosts (host, shard, state, unavailable_since, next_probe_at)
         select host, shard, 'unavailable', now(), now() + interval '1 day' from deliveries",
    )
    .await;
    rig.start();
    let replayed = rig.shift(MoveKind::Replay, at("a.flaky.test")).await;
    let replayed = replayed.expect("replayed");
    assert_eq!((replayed.moved, replayed.waiting), (1, 1));
    assert!(replayed.note(MoveKind::Replay).contains("wait for hosts"));
    let row = rig.row(id, FLAKY).await;
    assert_eq!(
        (row.state.as_str(), row.reason.as_deref()),
        ("parked", Some("host"))
    );
    let operators = rig.operators();
    operators
        .probe("a.flaky.test", &why())
        .await
        .expect("asked");
    rig.until(id, FLAKY, "delivered").await;
}

#[tokio::test]
async fn what_somebody_waits_for_is_replayed_first_whenever_it_came() {
    let mut rig = Rig::new().await;
    host(&rig, "a.sim.test", HostBehaviour::default());
    let inbox = "http://a.sim.test/inbox";
    let mut last = 0;
    for (n, lane) in [Lane::Slow, Lane::Bulk, Lane::Bulk, Lane::Now]
        .into_iter()
        .enumerate()
    {
        let key = format!("k{n}");
        let plan = Plan {
            lane,
            ..Plan::new("Create", &key, 1, &[inbox])
        };
        last = rig.plan(&plan).await;
    }
    rig.run("update deliveries set state = 'parked', reason = 'host'")
        .await;
    rig.run("insert into hosts (host, shard, backlog) select distinct host, shard, true from deliveries")
        .await;
    rig.start();
    rig.until_number(
        "select count(*) from deliveries where state = 'delivered'",
        4,
    )
    .await;
    let order: Vec<String> = rig
        .sim
        .ledger()
        .received(|entry| entry.effect)
        .iter()
        .map(|entry| entry.activity.as_ref().expect("an activity").id.to_string())
        .collect();
    let uri: String = sqlx::query_scalar("select uri from activities where id = $1")
        .bind(last)
        .fetch_one(rig.pool())
        .await
        .expect("its name");
    // Two are sent at once to a host that is new.
    assert!(order[..2].contains(&uri), "{order:?}");
}
