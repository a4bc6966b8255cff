//! What every backend of the seam must do, run on each; and what only Redis can get wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tidegate_model::{Clock, ManualClock, Secret};
use tidegate_testkit::Redis;
use tidegate_timeline::{
    List, MemoryTimelines, RedisOptions, RedisTimelines, TRIM_ABOVE, TRIM_TO, Timelines,
};
use time::OffsetDateTime;

const LIMIT: Duration = Duration::from_secs(30);

/// A backend under test and the hands of its clock.
struct Subject {
    lists: Arc<dyn Timelines>,
    hands: ManualClock,
}

fn redis_lists(server: &Redis, prefix: &str, clock: Clock) -> RedisTimelines {
    let options = RedisOptions {
        url: Secret::new(server.url.clone()),
        authorities: String::new(),
        prefix: prefix.to_owned(),
    };
    RedisTimelines::new(&options, clock).expect("a URL of Redis")
}

impl Subject {
    fn memory() -> Self {
        let hands = ManualClock::at(OffsetDateTime::now_utc());
        Self {
            lists: Arc::new(MemoryTimelines::new(100, hands.clock())),
            hands,
        }
    }

    async fn redis() -> Self {
        let hands = ManualClock::at(OffsetDateTime::now_utc());
        let server = Redis::shared().await;
        let lists = redis_lists(&server, &server.prefix(), hands.clock());
        Self {
            lists: Arc::new(lists),
            hands,
        }
    }

    async fn append(&self, account: i64, id: i64) {
        self.lists.append(&[account], id).await.expect("appends");
    }

    async fn read(&self, account: i64) -> List {
        self.lists.read(account).await.expect("reads")
    }

    async fn begin(&self, account: i64) -> Option<String> {
        self.lists.begin(account, LIMIT).await.expect("begins")
    }

    async fn finish(&self, account: i64, nonce: &str, floor: i64, ids: &[i64]) -> bool {
        let finished = self.lists.finish(account, nonce, floor, ids).await;
        finished.expect("finishes")
    }

    async fn build(&self, account: i64, floor: i64, ids: &[i64]) {
        let nonce = self.begin(account).await.expect("nobody else builds");
        assert!(self.finish(account, &nonce, floor, ids).await);
    }
}

/// Floor and ids without order and repeats.
fn contents(list: List) -> (i64, BTreeSet<i64>) {
    match list {
        List::Complete { floor, ids } => (floor, ids.into_iter().collect()),
        other => panic!("not complete: {other:?}"),
    }
}

macro_rules! on_every_backend {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(super::Subject::memory()).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(super::Subject::redis().await).await; })*
        }
    };
}

on_every_backend! {
    an_append_to_an_absent_list_does_nothing
    a_finished_list_holds_what_it_was_given
    appends_during_a_rebuild_are_kept
    only_one_rebuild_runs_at_a_time
    a_foreign_nonce_is_thrown_away
    an_overdue_rebuild_counts_as_absent_and_can_be_taken_over
    a_removed_list_is_absent_and_its_rebuild_void
    a_list_that_grows_too_long_is_cut_and_says_from_where
    a_cut_in_a_rebuild_raises_the_floor_too
    old_ids_appended_late_keep_the_floor_honest
    one_append_reaches_many_lists
    touching_changes_nothing_else
}

async fn an_append_to_an_absent_list_does_nothing(subject: Subject) {
    subject.append(1, 10).await;
    assert_eq!(subject.read(1).await, List::Absent);
}

async fn a_finished_list_holds_what_it_was_given(subject: Subject) {
    let large = i64::MAX - 1;
    subject.build(1, 5, &[7, large, 6]).await;
    subject.append(1, 9).await;
    subject.append(1, 9).await;
    let (floor, ids) = contents(subject.read(1).await);
    assert_eq!((floor, ids), (5, BTreeSet::from([6, 7, 9, large])));
}

async fn appends_during_a_rebuild_are_kept(subject: Subject) {
    let nonce = subject.begin(1).await.expect("begins");
    subject.append(1, 20).await;
    assert_eq!(subject.read(1).await, List::Building);
    assert!(subject.finish(1, &nonce, 0, &[10, 11]).await);
    let (_, ids) = contents(subject.read(1).await);
    assert_eq!(ids, BTreeSet::from([10, 11, 20]));
}

async fn only_one_rebuild_runs_at_a_time(subject: Subject) {
    let nonce = subject.begin(1).await.expect("begins");
    assert_eq!(subject.begin(1).await, None);
    assert!(subject.begin(2).await.is_some());
    assert!(subject.finish(1, &nonce, 0, &[]).await);
    // A finished list may be rebuilt.
    assert!(subject.begin(1).await.is_some());
}

async fn a_foreign_nonce_is_thrown_away(subject: Subject) {
    assert!(!subject.finish(1, "nobody's", 0, &[1]).await);
    let nonce = subject.begin(1).await.expect("begins");
    assert!(!subject.finish(1, "nobody's", 0, &[1]).await);
    // Not a prefix of it either, nor twice.
    assert!(!subject.finish(1, &nonce[..4], 0, &[1]).await);
    assert_eq!(subject.read(1).await, List::Building);
    assert!(subject.finish(1, &nonce, 0, &[2]).await);
    assert!(!subject.finish(1, &nonce, 0, &[3]).await);
    assert_eq!(contents(subject.read(1).await).1, BTreeSet::from([2]));
}

async fn an_overdue_rebuild_counts_as_absent_and_can_be_taken_over(subject: Subject) {
    let late = subject.begin(1).await.expect("begins");
    subject.append(1, 5).await;
    subject.hands.advance(time::Duration::seconds(31));
    assert_eq!(subject.read(1).await, List::Absent);
    let nonce = subject.begin(1).await.expect("takes over");
    assert!(!subject.finish(1, &late, 0, &[1]).await);
    assert!(subject.finish(1, &nonce, 0, &[2]).await);
    // What the first one's marker kept is in SQL, which the second one read.
    assert_eq!(contents(subject.read(1).await).1, BTreeSet::from([2]));
}

async fn a_removed_list_is_absent_and_its_rebuild_void(subject: Subject) {
    subject.build(1, 0, &[1]).await;
    let nonce = subject.begin(2).await.expect("begins");
    subject.lists.remove(&[1, 2, 3]).await.expect("removes");
    assert_eq!(subject.read(1).await, List::Absent);
    assert!(!subject.finish(2, &nonce, 0, &[1]).await);
    assert_eq!(subject.read(2).await, List::Absent);
}

async fn a_list_that_grows_too_long_is_cut_and_says_from_where(subject: Subject) {
    subject.build(1, 0, &[]).await;
    // Across a change of length, where comparing strings alone would go wrong.
    let first = 9_600;
    for id in first..first + TRIM_ABOVE as i64 {
        subject.append(1, id).await;
    }
    let (floor, ids) = contents(subject.read(1).await);
    assert_eq!((floor, ids.len()), (0, TRIM_ABOVE));
    subject.append(1, first + TRIM_ABOVE as i64).await;
    let (floor, ids) = contents(subject.read(1).await);
    assert_eq!(ids.len(), TRIM_TO);
    assert_eq!(floor, first + (TRIM_ABOVE - TRIM_TO) as i64);
    assert_eq!(ids.first(), Some(&(floor + 1)));
}

async fn a_cut_in_a_rebuild_raises_the_floor_too(subject: Subject) {
    let nonce = subject.begin(1).await.expect("begins");
    for id in 10_000..10_000 + TRIM_ABOVE as i64 {
        subject.append(1, id).await;
    }
    assert!(subject.finish(1, &nonce, 3, &[9_999, 5]).await);
    let (floor, ids) = contents(subject.read(1).await);
    assert!(ids.len() <= TRIM_ABOVE);
    assert!(floor >= 9_999, "{floor}");
    let kept = (floor + 1..10_000 + TRIM_ABOVE as i64).collect();
    assert!(ids.is_superset(&kept));
}

async fn old_ids_appended_late_keep_the_floor_honest(subject: Subject) {
    subject.build(1, 0, &[]).await;
    // The highest id comes first and is cut first: nothing below it may count as complete.
    subject.append(1, 1_000_000).await;
    for id in 1..=TRIM_ABOVE as i64 {
        subject.append(1, id).await;
    }
    assert_eq!(contents(subject.read(1).await).0, 1_000_000);
}

async fn one_append_reaches_many_lists(subject: Subject) {
    let accounts: Vec<i64> = (1..=90).collect();
    for account in accounts.iter().filter(|account| *account % 2 == 0) {
        subject.build(*account, 0, &[]).await;
    }
    // More than a pipeline's worth, most of them absent.
    let mut all = accounts.clone();
    all.extend(1_000..2_500);
    subject.lists.append(&all, 7).await.expect("appends");
    for account in accounts {
        if account % 2 == 0 {
            assert_eq!(contents(subject.read(account).await).1, BTreeSet::from([7]));
        } else {
            assert_eq!(subject.read(account).await, List::Absent);
        }
    }
    assert_eq!(subject.read(1_000).await, List::Absent);
}

async fn touching_changes_nothing_else(subject: Subject) {
    subject.lists.touch(1).await.expect("touches");
    assert_eq!(subject.read(1).await, List::Absent);
    subject.build(1, 4, &[9]).await;
    subject.lists.touch(1).await.expect("touches");
    assert_eq!(contents(subject.read(1).await), (4, BTreeSet::from([9])));
}

// What only Redis can get wrong.

#[tokio::test]
async fn a_list_of_another_run_counts_as_absent() {
    let server = Redis::private().await;
    let lists = redis_lists(&server, "t:", Clock::system());
    let nonce = lists.begin(1, LIMIT).await.expect("answers").expect("mine");
    assert!(lists.finish(1, &nonce, 0, &[5]).await.expect("answers"));
    let unfinished = lists.begin(2, LIMIT).await.expect("answers").expect("mine");
    let client = ::redis::Client::open(server.url.as_str()).expect("a URL");
    let dump = |key: &str| -> Vec<String> {
        let mut connection = client.get_connection().expect("connects");
        let mut command = ::redis::cmd("LRANGE");
        command.arg(key).arg(0).arg(-1);
        command.query(&mut connection).expect("reads")
    };
    let (complete, building) = (dump("t:home:1"), dump("t:home:2"));

    server.kill9();
    lists.read(1).await.expect_err("nobody is there");
    lists
        .append(&[1], 6)
        .await
        .expect_err("an append must say so");
    server.start();
    // As a Redis with persistence would come back: with the lists, but without what was
    // appended since its last snapshot.
    let mut connection = client.get_connection().expect("connects");
    for (key, values) in [("t:home:1", complete), ("t:home:2", building)] {
        let mut command = ::redis::cmd("RPUSH");
        command
            .arg(key)
            .arg(values)
            .exec(&mut connection)
            .expect("restores");
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(lists.read(1).await.expect("reads"), List::Absent);
    assert_eq!(lists.read(2).await.expect("reads"), List::Absent);
    assert!(
        !lists
            .finish(2, &unfinished, 0, &[1])
            .await
            .expect("answers")
    );
    assert!(lists.begin(2, LIMIT).await.expect("answers").is_some());
}

#[tokio::test]
async fn a_silent_redis_costs_a_reader_a_quarter_second() {
    let server = Redis::shared().await;
    let upstream = server
        .url
        .trim_start_matches("redis://")
        .trim_end_matches("/0");
    let proxy = tidegate_testkit::BreakableProxy::start(upstream).await;
    let options = RedisOptions {
        url: Secret::new(format!("redis://{}/0", proxy.address)),
        authorities: String::new(),
        prefix: server.prefix(),
    };
    let lists = RedisTimelines::new(&options, Clock::system()).expect("a URL");
    assert_eq!(lists.read(1).await.expect("reads"), List::Absent);
    proxy.freeze();
    let start = std::time::Instant::now();
    lists.read(1).await.expect_err("nothing comes");
    assert!(
        start.elapsed() < Duration::from_millis(700),
        "{:?}",
        start.elapsed()
    );
    proxy.heal();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(lists.read(1).await.expect("reads again"), List::Absent);
}

#[tokio::test]
async fn lists_live_seven_days_and_rebuilds_only_for_their_time() {
    let server = Redis::shared().await;
    let prefix = server.prefix();
    let lists = redis_lists(&server, &prefix, Clock::system());
    let nonce = lists.begin(1, LIMIT).await.expect("answers").expect("mine");
    let client = ::redis::Client::open(server.url.as_str()).expect("a URL");
    let mut connection = client.get_connection().expect("connects");
    let mut ttl = || -> i64 {
        let mut command = ::redis::cmd("TTL");
        command.arg(format!("{prefix}home:1"));
        command.query(&mut connection).expect("answers")
    };
    lists.touch(1).await.expect("touches");
    assert!((1..=60).contains(&ttl()));
    assert!(lists.finish(1, &nonce, 0, &[1]).await.expect("answers"));
    let week = 7 * 24 * 60 * 60;
    assert!((week - 60..=week).contains(&ttl()));
}

// Against a simple oracle.

#[derive(Debug, Clone)]
enum Step {
    Append(i64, i64),
    Burst(i64, i64, i64),
    Begin(i64),
    Finish(i64, bool, i64),
    Remove(i64),
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let account = 1..3_i64;
    let step = prop_oneof![
        4 => (account.clone(), 1..100_000_i64).prop_map(|(a, id)| Step::Append(a, id)),
        2 => (account.clone(), 1..100_000_i64, 100..450_i64)
            .prop_map(|(a, id, count)| Step::Burst(a, id, count)),
        3 => account.clone().prop_map(Step::Begin),
        4 => (account.clone(), any::<bool>(), 0..1_000_i64)
            .prop_map(|(a, mine, floor)| Step::Finish(a, mine, floor)),
        1 => account.prop_map(Step::Remove),
        1 => Just(Step::Wait),
    ];
    proptest::collection::vec(step, 1..25)
}

#[derive(Debug, Default)]
enum Oracle {
    #[default]
    Absent,
    Building {
        nonce: String,
        ids: Vec<i64>,
        overdue: bool,
    },
    Complete {
        floor: i64,
        ids: Vec<i64>,
    },
}

impl Oracle {
    fn append(&mut self, id: i64) {
        if let Self::Building { ids, .. } | Self::Complete { ids, .. } = self {
            ids.push(id);
        }
    }

    /// Everything above the told floor is there, and nothing that was never put there.
    fn check(&self, list: List) {
        match (self, list) {
            (Self::Absent | Self::Building { overdue: true, .. }, List::Absent)
            | (Self::Building { overdue: false, .. }, List::Building) => {}
            (
                Self::Complete { floor, ids },
                List::Complete {
                    floor: told,
                    ids: got,
                },
            ) => {
                assert!(told >= *floor && got.len() <= TRIM_ABOVE);
                if ids.len() <= TRIM_ABOVE {
                    assert_eq!(told, *floor);
                }
                let put: BTreeSet<i64> = ids.iter().copied().collect();
                let got: BTreeSet<i64> = got.into_iter().collect();
                assert!(got.is_subset(&put));
                let above = |set: &BTreeSet<i64>| -> BTreeSet<i64> {
                    set.iter().copied().filter(|id| *id > told).collect()
                };
                assert_eq!(above(&got), above(&put));
            }
            (oracle, list) => panic!("expected {oracle:?}, got {list:?}"),
        }
    }
}

async fn follow(subject: Subject, steps: Vec<Step>) {
    let mut oracle: [Oracle; 3] = Default::default();
    for step in steps {
        match step {
            Step::Append(account, id) => {
                subject.append(account, id).await;
                oracle[account as usize].append(id);
            }
            Step::Burst(account, first, count) => {
                for id in first..first + count {
                    subject.append(account, id).await;
                    oracle[account as usize].append(id);
                }
            }
            Step::Begin(account) => {
                let nonce = subject.begin(account).await;
                let held = matches!(
                    oracle[account as usize],
                    Oracle::Building { overdue: false, .. }
                );
                assert_eq!(nonce.is_none(), held);
                if let Some(nonce) = nonce {
                    oracle[account as usize] = Oracle::Building {
                        nonce,
                        ids: Vec::new(),
                        overdue: false,
                    };
                }
            }
            Step::Finish(account, mine, floor) => {
                let given = [floor + 1, floor + 2];
                match &mut oracle[account as usize] {
                    Oracle::Building { nonce, ids, .. } if mine => {
                        assert!(subject.finish(account, nonce, floor, &given).await);
                        let mut ids = std::mem::take(ids);
                        ids.extend(given);
                        oracle[account as usize] = Oracle::Complete { floor, ids };
                    }
                    _ => assert!(!subject.finish(account, "another", floor, &given).await),
                }
            }
            Step::Remove(account) => {
                subject.lists.remove(&[account]).await.expect("removes");
                oracle[account as usize] = Oracle::Absent;
            }
            Step::Wait => {
                subject.hands.advance(time::Duration::seconds(31));
                for one in &mut oracle {
                    if let Oracle::Building { overdue, .. } = one {
                        *overdue = true;
                    }
                }
            }
        }
        for account in 1..3 {
            oracle[account as usize].check(subject.read(account).await);
        }
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn memory_agrees_with_the_oracle(steps in steps()) {
        block_on(async { follow(Subject::memory(), steps).await });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn redis_agrees_with_the_oracle(steps in steps()) {
        block_on(async { follow(Subject::redis().await, steps).await });
    }
}
