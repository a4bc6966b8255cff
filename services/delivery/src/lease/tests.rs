use std::sync::Arc;

use tidegate_testkit::{Postgres, TestDatabase};
use tokio::task::JoinHandle;

use super::*;

/// Ten times as fast as in production.
const OPTIONS: LeaseOptions = LeaseOptions {
    length: Duration::from_millis(1_200),
    renew: Duration::from_millis(300),
    settle: Duration::from_secs(1),
};
const SHARDS: u32 = 32;
const PATIENCE: Duration = Duration::from_secs(20);

/// A worker that hands over at once.
struct Worker {
    leases: Leases,
    task: JoinHandle<()>,
    stop: Stop,
    events: Arc<Mutex<Vec<LeaseEvent>>>,
}

impl Worker {
    fn start(pool: &PgPool) -> Self {
        let leases = Leases::new(pool.clone(), SHARDS, OPTIONS);
        let (stop, events) = (Stop::default(), Arc::new(Mutex::new(Vec::new())));
        let task = tokio::spawn({
            let (leases, stop, events) = (leases.clone(), stop.clone(), Arc::clone(&events));
            async move {
                let (me, told) = (leases.clone(), events);
                let told = move |event: LeaseEvent| {
                    told.lock().expect("not poisoned").push(event.clone());
                    let me = me.clone();
                    async move {
                        if let LeaseEvent::GiveUp { shard } = event {
                            me.release(shard, true).await;
                        }
                    }
                };
                leases.run(told, &stop).await;
            }
        });
        Self {
            leases,
            task,
            stop,
            events,
        }
    }

    fn count(&self) -> usize {
        self.leases.owned().len()
    }

    fn events(&self) -> Vec<LeaseEvent> {
        self.events.lock().expect("not poisoned").clone()
    }
}

async fn until(what: &str, is_true: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn database() -> TestDatabase {
    Postgres::shared().await.fresh_database().await
}

#[tokio::test]
async fn shares_are_even_and_a_newcomer_has_its_own() {
    let db = database().await;
    let mut workers = vec![Worker::start(&db.pool)];
    until("one has all", || workers[0].count() == 32).await;
    for count in 2..=5_usize {
        workers.push(Worker::start(&db.pool));
        let (least, most) = (32 / count, 32_usize.div_ceil(count));
        until("shares are even", || {
            let counts: Vec<usize> = workers.iter().map(Worker::count).collect();
            let is_even = |count: &usize| (least..=most).contains(count);
            counts.iter().sum::<usize>() == 32 && counts.iter().all(is_even)
        })
        .await;
    }
}

#[tokio::test]
async fn a_killed_workers_shards_move_and_are_unsettled_for_a_while() {
    let db = database().await;
    let killed = Worker::start(&db.pool);
    until("one has all", || killed.count() == 32).await;
    killed.task.abort();
    let heir = Worker::start(&db.pool);
    until("the other takes over", || heir.count() == 32).await;
    assert!(!killed.leases.holds(0));
    let unclean = heir.events().into_iter().filter(|event| {
        matches!(
            event,
            LeaseEvent::Gained {
                unsettled: Some(_),
                ..
            }
        )
    });
    assert_eq!(unclean.count(), 32);
}

#[tokio::test]
async fn an_orderly_end_hands_over_settled() {
    let db = database().await;
    let first = Worker::start(&db.pool);
    until("one has all", || first.count() == 32).await;
    first.stop.stop_softly();
    tokio::time::timeout(PATIENCE, first.task)
        .await
        .expect("it ends")
        .expect("no panic");
    let heir = Worker::start(&db.pool);
    until("the other has all", || heir.count() == 32).await;
    for event in heir.events() {
        assert!(
            matches!(
                event,
                LeaseEvent::Gained {
                    unsettled: None,
                    ..
                }
            ),
            "{event:?}"
        );
    }
}

#[tokio::test]
async fn without_the_database_a_lease_runs_out_and_comes_back() {
    let db = database().await;
    let worker = Worker::start(&db.pool);
    until("one has all", || worker.count() == 32).await;
    sqlx::query("alter table shard_leases rename to away")
        .execute(&db.pool)
        .await
        .expect("renamed");
    until("nothing is held", || {
        (0..SHARDS).all(|n| !worker.leases.holds(n))
    })
    .await;
    until("it was told", || {
        worker.events().contains(&LeaseEvent::Lost { shard: 31 })
    })
    .await;
    sqlx::query("alter table away rename to shard_leases")
        .execute(&db.pool)
        .await
        .expect("renamed");
    until("one has all again", || worker.count() == 32).await;
}

/// Two workers, one of which is killed and started again at odd moments: never do two hold the
/// same shard.
#[tokio::test]
async fn no_two_hold_a_shard_at_once() {
    let db = database().await;
    let steady = Worker::start(&db.pool);
    let all: Arc<Mutex<Vec<Leases>>> = Arc::new(Mutex::new(vec![steady.leases.clone()]));
    let watch = tokio::spawn({
        let all = Arc::clone(&all);
        async move {
            loop {
                for shard in 0..SHARDS {
                    let holders = {
                        let all = all.lock().expect("not poisoned");
                        all.iter().filter(|leases| leases.holds(shard)).count()
                    };
                    assert!(holders <= 1, "shard {shard} has {holders} holders");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    for round in 0..6_u64 {
        let other = Worker::start(&db.pool);
        all.lock().expect("not poisoned").push(other.leases.clone());
        tokio::time::sleep(Duration::from_millis(400 + 170 * round)).await;
        other.task.abort();
    }
    until("the steady one has all in the end", || steady.count() == 32).await;
    assert!(!watch.is_finished(), "two held one shard");
    watch.abort();
}

#[tokio::test]
async fn what_is_under_way_when_a_shard_is_given_back_may_end_and_nothing_later() {
    let db = database().await;
    let leases = Leases::new(db.pool.clone(), SHARDS, OPTIONS);
    let until = Instant::now() + Duration::from_mins(1);
    for shard in [1, 2, 3] {
        leases.gain(shard, until);
        assert!(leases.still_holds(shard));
    }
    leases.release(1, false).await;
    leases.release(2, true).await;
    assert!(leases.still_holds(1) && !leases.holds(1));
    assert!(!leases.still_holds(2), "nothing of it was under way");
    assert_eq!(leases.expired(), Vec::<u32>::new());
    leases.gain(3, Instant::now());
    assert!(!leases.still_holds(3), "it ran out");
    tokio::time::sleep(OPTIONS.settle).await;
    assert!(!leases.still_holds(1), "its successor begins");
}

#[tokio::test]
async fn what_is_ours_in_the_table_only_runs_out_and_is_taken_anew() {
    let db = database().await;
    let worker = Worker::start(&db.pool);
    until("it has all", || worker.count() == 32).await;
    let gained = |worker: &Worker| {
        let events = worker.events();
        let of_seven = |event: &&LeaseEvent| matches!(event, LeaseEvent::Gained { shard: 7, .. });
        events.iter().filter(of_seven).count()
    };
    assert_eq!(gained(&worker), 1);
    // As when the answer to a claim, or the statement that gives a shard back, is lost.
    worker.leases.held.lock().expect("not poisoned").remove(&7);
    until("it is served again", || gained(&worker) == 2).await;
    let unclean: Vec<i32> = sqlx::query_scalar(
        "select shard from shard_leases where unclean_at is not null order by shard",
    )
    .fetch_all(&db.pool)
    .await
    .expect("rows");
    assert_eq!(unclean, [7], "nobody handed it over");
}
