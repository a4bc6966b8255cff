//! What operators see of deliveries, and what comes of replaying and purging them.

mod common;

use std::time::Duration;

use common::hosts::FLAKY;
use common::{Plan, Rig};
use futures::TryStreamExt;
use tidegate_delivery::{By, Cursor, Filter, Move, MoveKind, OperatorError, Why, verify};
use tidegate_loadtest::{Fault, HostBehaviour, Script};

const INBOX: &str = "http://a.sim.test/inbox";
const OTHER: &str = "http://b.sim.test/inbox";

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

fn by(set: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    set(&mut filter);
    filter
}

/// Puts the rows of an activity into a state, as if it had happened.
async fn put(rig: &Rig, activity_id: i64, state: &str, reason: Option<&str>) {
    sqlx::query(
        "update deliveries set state = $2, reason = $3, published_at = null
         where activity_id = $1",
    )
    .bind(activity_id)
    .bind(state)
    .bind(reason)
    .execute(rig.pool())
    .await
    .expect("put");
}

/// The ids of the activities that a filter finds.
async fn found(rig: &Rig, filter: Filter) -> Vec<i64> {
    let operators = rig.operators();
    let rows = operators.deliveries(&filter, 0, Cursor::default()).await;
    let rows = rows.expect("listed");
    rows.iter().map(|row| row.activity_id).collect()
}

#[tokio::test]
async fn a_list_holds_what_matches_and_nothing_else() {
    let rig = Rig::new().await;
    let status = rig.post("public").await;
    let mut about = Plan::new("Create", "status:1", 1, &[INBOX]);
    about.status_id = Some(status);
    let dead = rig.plan(&about).await;
    put(&rig, dead, "dead", Some("status_404")).await;
    let parked = rig.plan(&Plan::new("Create", "k2", 1, &[OTHER])).await;
    put(&rig, parked, "parked", Some("host")).await;
    let queued = rig.plan(&Plan::new("Create", "k3", 1, &[INBOX])).await;
    let done = rig.plan(&Plan::new("Create", "k4", 1, &[INBOX])).await;
    put(&rig, done, "delivered", None).await;
    let gone = rig.plan(&Plan::new("Create", "k5", 1, &[INBOX])).await;
    put(&rig, gone, "cancelled", Some("deleted")).await;
    let others = rig.plan(&Plan::new("Create", "k6", 1, &[INBOX])).await;
    sqlx::query("update activities set account_id = account_id + 1 where id = $1")
        .bind(others)
        .execute(rig.pool())
        .await
        .expect("somebody else's");

    let day = Duration::from_hours(24);
    let by_actor = |name: &str| by(|filter| filter.actor = Some(name.to_owned()));
    let by_state = |name: &str| by(|filter| filter.state = Some(name.to_owned()));
    let mut recent = by_state("delivered");
    recent.younger_than = Some(day);
    let mut dead_at_b = at("b.sim.test");
    dead_at_b.state = Some("dead".to_owned());
    for (filter, wanted) in [
        (Filter::default(), vec![dead, parked, queued, others]),
        (by_state("dead"), vec![dead]),
        (by_state("cancelled"), vec![gone]),
        (recent, vec![done]),
        (at("A.Sim.TEST."), vec![dead, queued, others]),
        (dead_at_b, vec![]),
        (
            by(|filter| filter.reason = Some("host".to_owned())),
            vec![parked],
        ),
        (by(|filter| filter.status_id = Some(status)), vec![dead]),
        (by(|filter| filter.activity_id = Some(done)), vec![done]),
        (by_actor("ada"), vec![dead, parked, queued]),
        (by_actor("@Ada@us.test"), vec![dead, parked, queued]),
        (
            by_actor("http://us.test/users/ada"),
            vec![dead, parked, queued],
        ),
        (by(|filter| filter.older_than = Some(day)), vec![]),
    ] {
        let shown = format!("{filter:?}");
        assert_eq!(found(&rig, filter).await, wanted, "{shown}");
    }
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_told_what_would() {
    let rig = Rig::new().await;
    let operators = rig.operators();
    let by_state = |name: &str| by(|filter| filter.state = Some(name.to_owned()));
    let by_actor = |name: &str| by(|filter| filter.actor = Some(name.to_owned()));
    for (filter, word) in [
        (by_state("delivered"), "younger than a day"),
        (by_state("lost\u{1b}"), "queued, parked"),
        (by_actor("nobody"), "no local account"),
        (by_actor("ada@far.test"), "no local account"),
        (at("https://a.sim.test/"), "not a host name"),
    ] {
        let error = operators.deliveries(&filter, 0, Cursor::default()).await;
        let error = error.expect_err("refused").to_string();
        assert!(error.contains(word) && !error.contains('\u{1b}'), "{error}");
    }
}

#[tokio::test]
async fn ages_are_those_of_the_activities_and_pages_follow_each_other() {
    let rig = Rig::new().await;
    let mut planned = Vec::new();
    for n in 0..5 {
        let key = format!("k{n}");
        planned.push(
            rig.plan(&Plan::new("Create", &key, 1, &[INBOX, OTHER]))
                .await,
        );
    }
    // Two hours earlier by its id, which is what tells the age.
    let old = planned[0] - ((2 * 60 * 60 * 1_000) << 16);
    for statement in [
        "update deliveries set activity_id = $2 where activity_id = $1",
        "update activities set id = $2 where id = $1",
    ] {
        let moved = sqlx::query(statement).bind(planned[0]).bind(old);
        moved.execute(rig.pool()).await.expect("made older");
    }
    let hour = Some(Duration::from_hours(1));
    let older = Filter {
        older_than: hour,
        ..Filter::default()
    };
    assert_eq!(found(&rig, older).await, [old, old]);
    let younger = Filter {
        younger_than: hour,
        ..Filter::default()
    };
    assert_eq!(found(&rig, younger).await.len(), 8);

    let operators = rig.operators();
    let (mut after, mut seen) = (Cursor::default(), Vec::new());
    let all = Filter::default();
    loop {
        let page = operators.deliveries_with_totals(&all, 3, after).await;
        let page = page.expect("a page");
        assert_eq!(page.totals[0], ("queued", 10));
        seen.extend(
            page.rows
                .iter()
                .map(tidegate_delivery::DeliveryView::cursor),
        );
        match page.rows.last() {
            Some(last) => after = last.cursor(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 10);
    assert!(seen.is_sorted(), "oldest first: {seen:?}");
}

#[tokio::test]
async fn a_replayed_row_has_its_whole_ladder_before_it() {
    let rig = Rig::running().await;
    // The first try, the four steps of the ladder, and once more after the replay.
    let habits = HostBehaviour::inbox(Script::first(6, Fault::Status { code: 503 }));
    host(&rig, "a.sim.test", habits);
    let id = rig.send(&Plan::new("Create", "k", 1, &[INBOX])).await;
    let row = rig.until(id, INBOX, "dead").await;
    assert_eq!(
        (row.reason.as_deref(), row.attempts),
        (Some("exhausted"), 5)
    );
    rig.shift(MoveKind::Replay, at("a.sim.test"))
        .await
        .expect("replayed");
    let row = rig.until(id, INBOX, "delivered").await;
    assert_eq!(row.attempts, 7, "every POST is counted");
}

#[tokio::test]
async fn dead_rows_are_replayed_in_order_and_only_dead_ones() {
    let mut rig = Rig::new().await;
    host(&rig, "a.sim.test", HostBehaviour::default());
    for n in 0..20 {
        let key = format!("status:{n}");
        for seq in 1..=3 {
            let id = rig.plan(&Plan::new("Update", &key, seq, &[INBOX])).await;
            put(&rig, id, "dead", Some("exhausted")).await;
        }
    }
    let kept = rig.plan(&Plan::new("Create", "kept", 1, &[INBOX])).await;
    put(&rig, kept, "cancelled", Some("deleted")).await;
    let reason = Filter {
        reason: Some("exhausted".to_owned()),
        ..Filter::default()
    };
    let replayed = rig.shift(MoveKind::Replay, reason).await.expect("replayed");
    assert_eq!((replayed.moved, replayed.waiting), (60, 0));
    let wrong = Filter {
        state: Some("parked".to_owned()),
        ..Filter::default()
    };
    assert!(rig.shift(MoveKind::Replay, wrong).await.is_err());
    rig.start();
    rig.until_number(
        "select count(*) from deliveries where state = 'delivered'",
        60,
    )
    .await;
    let mut last = std::collections::HashMap::new();
    for entry in rig.sim.ledger().received(|entry| entry.effect) {
        let activity = entry.activity.as_ref().expect("an activity");
        let (key, seq) = activity.id.rsplit_once('-').expect("key and seq");
        let seq: i64 = seq.parse().expect("a number");
        let before = last.insert(key.to_owned(), seq).unwrap_or(0);
        assert!(before < seq, "{key}: {seq} after {before}");
    }
    assert_eq!(rig.row(kept, INBOX).await.state, "cancelled");
    let books = verify(rig.pool()).await.expect("counted");
    assert!(books.is_clean(), "{books:?}");
}

/// A follow request of the author's, as the Follow of `seq` would have made it.
async fn follow(rig: &Rig, seq: i64) -> i64 {
    let id = rig
        .plan(&Plan::new("Follow", "follow:1", seq, &[INBOX]))
        .await;
    rig.asked(id).await;
    id
}

#[tokio::test]
async fn a_purge_cancels_and_the_books_still_agree() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for (n, state) in ["parked", "dead", "delivered", "cancelled", "queued"]
        .iter()
        .enumerate()
    {
        let key = format!("k{n}");
        let id = rig
            .plan(&Plan::new("Create", &key, 1, &[INBOX, OTHER]))
            .await;
        put(&rig, id, state, Some("before")).await;
        ids.push(id);
    }
    let asked = follow(&rig, 1).await;
    put(&rig, asked, "parked", Some("host")).await;
    let purged = rig
        .shift(MoveKind::Purge, at("a.sim.test"))
        .await
        .expect("purged");
    assert_eq!((purged.moved, purged.left, purged.finished), (3, 0, true));
    for (id, state) in ids
        .iter()
        .zip(["parked", "dead", "delivered", "cancelled", "queued"])
    {
        let there = rig.row(*id, INBOX).await;
        let elsewhere = rig.row(*id, OTHER).await;
        assert_eq!(
            (elsewhere.state.as_str(), elsewhere.reason.as_deref()),
            (state, Some("before"))
        );
        if ["parked", "dead"].contains(&state) {
            assert_eq!(
                (there.state.as_str(), there.reason.as_deref()),
                ("cancelled", Some("purged"))
            );
        } else {
            assert_eq!(there, elsewhere);
        }
    }
    assert_eq!(
        rig.number("select count(*) from follows").await,
        0,
        "nobody may wait for it"
    );
    let books = verify(rig.pool()).await.expect("counted");
    assert!(books.is_clean(), "{books:?}");
    assert_eq!(books.counts.cancelled, 5);
}

#[tokio::test]
async fn a_follow_that_was_withdrawn_is_not_replayed() {
    let rig = Rig::new().await;
    let wanted = follow(&rig, 1).await;
    put(&rig, wanted, "dead", Some("exhausted")).await;
    let withdrawn = rig
        .plan(&Plan::new("Follow", "follow:2", 1, &[INBOX]))
        .await;
    put(&rig, withdrawn, "dead", Some("exhausted")).await;
    let replayed = rig
        .shift(MoveKind::Replay, Filter::default())
        .await
        .expect("replayed");
    assert_eq!((replayed.moved, replayed.left), (1, 1));
    assert_eq!(rig.row(wanted, INBOX).await.state, "parked");
    assert_eq!(rig.row(withdrawn, INBOX).await.state, "dead");
}

/// Many dead rows of one activity.
async fn crowd(rig: &Rig, rows: i32) {
    let id = rig.plan(&Plan::new("Create", "crowd", 1, &[])).await;
    sqlx::query(
        "with urls as (
             insert into inboxes (url, host, shared)
             select 'http://crowd.test/' || n, 'crowd.test', false
             from generate_series(1, $2) n returning id)
         insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq, state)
         select $1, id, 'crowd.test', 0, 'bulk', 'crowd', 1, 'dead' from urls",
    )
    .bind(id)
    .bind(rows)
    .execute(rig.pool())
    .await
    .expect("rows");
}

#[tokio::test]
async fn long_work_tells_how_far_it_is_and_ends_where_it_is_asked_to() {
    let rig = Rig::new().await;
    crowd(&rig, 2_500).await;
    let order = |kind, limit| Move {
        kind,
        filter: at("crowd.test"),
        all: false,
        limit,
        why: why(),
    };
    let operators = rig.operators();
    let moved = async |order: Move| {
        let steps: Vec<_> = operators.moving(order).try_collect().await.expect("moved");
        steps
            .iter()
            .map(|step| (step.moved, step.finished))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        moved(order(MoveKind::Replay, 1_200)).await,
        [(1_000, false), (1_200, true)]
    );
    let rest = moved(order(MoveKind::Purge, 0)).await;
    assert_eq!(rest.last(), Some(&(2_500, true)));
    assert!(rest.len() >= 3, "{rest:?}");
    let acts: Vec<(String, i64)> =
        sqlx::query_as("select act, moved from operator_acts order by id")
            .fetch_all(rig.pool())
            .await
            .expect("acts");
    assert_eq!(
        acts,
        [("replay".to_owned(), 1_200), ("purge".to_owned(), 2_500)]
    );
}

#[tokio::test]
async fn every_delivery_is_meant_only_when_that_is_said_and_acts_are_bounded() {
    let rig = Rig::new().await;
    crowd(&rig, 3).await;
    let order = Move {
        kind: MoveKind::Purge,
        filter: Filter::default(),
        all: false,
        limit: 0,
        why: why(),
    };
    let operators = rig.operators();
    let refused: Result<Vec<_>, _> = operators.moving(order.clone()).try_collect().await;
    assert!(matches!(refused, Err(OperatorError::Invalid(_))));
    assert_eq!(rig.number("select count(*) from operator_acts").await, 0);
    assert_eq!(
        rig.number("select count(*) from deliveries where state = 'dead'")
            .await,
        3
    );
    operators.pause("crowd.test", &why()).await.expect("paused");
    rig.run("select setval(pg_get_serial_sequence('operator_acts', 'id'), 10001)")
        .await;
    let all = Move { all: true, ..order };
    let steps: Vec<_> = operators.moving(all).try_collect().await.expect("purged");
    assert_eq!(steps.last().expect("one").moved, 3);
    let left: Vec<(String, String)> = sqlx::query_as("select act, target from operator_acts")
        .fetch_all(rig.pool())
        .await
        .expect("acts");
    assert_eq!(left, [("purge".to_owned(), "all".to_owned())]);
    assert!(Why::new(By::CommandLine, &"x".repeat(501)).is_err());
}

#[tokio::test]
async fn a_post_is_shown_with_what_it_lacks_and_without_what_others_decided() {
    let rig = Rig::new().await;
    let status = rig.post("public").await;
    let plan = async |kind, seq, inboxes: &[&str]| {
        let mut plan = Plan::new(kind, "status:1", seq, inboxes);
        plan.status_id = Some(status);
        rig.plan(&plan).await
    };
    let create = plan("Create", 1, &[INBOX, OTHER, FLAKY]).await;
    put(&rig, create, "delivered", None).await;
    let update = plan("Update", 2, &[INBOX]).await;
    put(&rig, update, "parked", Some("host")).await;
    let delete = plan("Delete", 3, &[OTHER]).await;
    put(&rig, delete, "cancelled", Some("blocked")).await;
    rig.run(
        "insert into hosts (host, state, next_probe_at)
         values ('a.sim.test', 'failing', '2030-01-01')",
    )
    .await;
    // Somebody else's boost of it is theirs.
    let boost = plan("Announce", 4, &["http://c.sim.test/inbox"]).await;
    sqlx::query("update activities set account_id = account_id + 1 where id = $1")
        .bind(boost)
        .execute(rig.pool())
        .await
        .expect("somebody else's");
    let shown = rig.operators().per_status(status).await.expect("shown");
    assert_eq!(shown.total(tidegate_model::DeliveryState::Delivered), 3);
    assert_eq!(shown.total(tidegate_model::DeliveryState::Queued), 0);
    let hosts = shown.hosts.iter().map(|host| {
        (
            host.host.as_str(),
            host.state.as_str(),
            host.reason,
            host.next_try_at.is_some(),
        )
    });
    assert_eq!(
        hosts.collect::<Vec<_>>(),
        [
            ("a.sim.test", "parked", "host", true),
            ("b.sim.test", "cancelled", "not_addressed", false),
        ]
    );
    assert_eq!(shown.hosts_total, 2);
}
