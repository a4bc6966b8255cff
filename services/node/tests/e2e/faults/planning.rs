//! Row 3: the process that plans is killed at every step of planning, and many times at random.
//!
//! Steps are held up by locks in the database: when the planner waits at one, it is killed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::{Connection, PgConnection, PgPool};

use super::{QUIESCE, hosts};
use crate::client::eventually;
use crate::cluster::{Cluster, Mode};
use crate::load::Load;

/// The fanout process in the cluster.
const FANOUT: usize = 1;

/// A host with so many inboxes that planning takes a second batch of rows. It is paused: these
/// rows are planned and handed over, but not sent.
const CROWD: &str = "crowd.sim.test";
const CROWD_INBOXES: i64 = 1_200;

/// What a batch of rows is at most.
const BATCH: i64 = 1_000;

/// The lock at which the planner waits.
const GATE: i64 = 3_003;

/// Kills at random.
const RANDOM_KILLS: u64 = 20;

/// The longest that a random kill comes after its post was acknowledged: twice what planning it
/// takes.
const WITHIN: u64 = 300;

/// "Redelivery up to 1 s on TCP close", and the start of the process that it goes to.
const AGAIN: Duration = Duration::from_secs(15);

/// Where the planner is when it is killed.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// It is about to write the first rows.
    FirstRows,
    /// The first thousand rows are written, the rest is not.
    SecondRows,
    /// All rows are written, the activity is still open.
    Closing,
    /// It is closed, and nothing was handed to the queue.
    Closed,
    /// Everything was handed over, which is not written down yet.
    Published,
}

impl Step {
    /// When a statement waits at the gate.
    const fn trigger(self) -> &'static str {
        match self {
            Self::FirstRows | Self::SecondRows => "before insert on deliveries",
            Self::Closing | Self::Closed => "before update of planned_at on activities",
            Self::Published => "before update of published_at on activities",
        }
    }

    /// Whether it does.
    const fn condition(self) -> &'static str {
        match self {
            Self::SecondRows => {
                "exists (select from activities a where a.planned_at is null
                     and (select count(*) from deliveries d where d.activity_id = a.id) >= 1000)"
            }
            _ => "true",
        }
    }
}

/// A closed gate at one step.
struct Gate {
    step: Step,
    /// Holds the lock.
    keeper: PgConnection,
}

impl Gate {
    async fn close(pool: &PgPool, url: &str, step: Step) -> anyhow::Result<Self> {
        let function = format!(
            "create or replace function gate() returns trigger language plpgsql as
             $$ begin if {} then perform pg_advisory_xact_lock_shared({GATE}); end if;
             return null; end $$",
            step.condition()
        );
        let trigger = format!(
            "create trigger gate {} for each statement execute function gate()",
            step.trigger()
        );
        let mut keeper = PgConnection::connect(url).await?;
        sqlx::query("select pg_advisory_lock($1)")
            .bind(GATE)
            .execute(&mut keeper)
            .await?;
        for statement in [function, trigger] {
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .execute(pool)
                .await?;
        }
        Ok(Self { step, keeper })
    }

    /// Waits until the planner stands before it.
    async fn reached(&mut self, pool: &PgPool) -> anyhow::Result<()> {
        eventually("the planner at the gate", async || {
            Ok(waiting(pool, "advisory").await? > 0)
        })
        .await?;
        if matches!(self.step, Step::Closed) {
            // Behind the transaction that closes, before the statement that reads the rows.
            let mut table = PgConnection::connect_with(&pool.connect_options()).await?;
            let locking = tokio::spawn(async move {
                for statement in ["begin", "lock table deliveries in access exclusive mode"] {
                    sqlx::query(statement).execute(&mut table).await?;
                }
                anyhow::Ok(table)
            });
            eventually("the table's lock in the queue", async || {
                Ok(waiting(pool, "relation").await? > 0)
            })
            .await?;
            self.open().await?;
            self.keeper = locking.await??;
            eventually("the planner behind it", async || {
                let planner: i64 = sqlx::query_scalar(
                    "select count(*) from pg_stat_activity
                     where datname = current_database() and wait_event_type = 'Lock'
                       and query like '%select lane, shard, inbox_id from deliveries%'
                       and pid <> pg_backend_pid()",
                )
                .fetch_one(pool)
                .await?;
                Ok(planner > 0)
            })
            .await?;
        }
        Ok(())
    }

    async fn open(&mut self) -> anyhow::Result<()> {
        sqlx::query("select pg_advisory_unlock($1)")
            .bind(GATE)
            .execute(&mut self.keeper)
            .await?;
        Ok(())
    }

    /// Ends what the dead planner left waiting, and takes the gate away.
    async fn remove(self, pool: &PgPool) -> anyhow::Result<()> {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_locks
             where locktype = 'advisory' and not granted and objid::bigint = $1
               and database = (select oid from pg_database where datname = current_database())",
        )
        .bind(GATE)
        .execute(pool)
        .await?;
        self.keeper.close().await?;
        let on = self.step.trigger().rsplit(' ').next().unwrap_or_default();
        let drop = format!("drop trigger gate on {on}");
        sqlx::query(sqlx::AssertSqlSafe(drop)).execute(pool).await?;
        Ok(())
    }
}

/// How many wait for a lock of this kind.
async fn waiting(pool: &PgPool, kind: &str) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(
        "select count(*) from pg_locks
         where locktype = $1 and not granted
           and database = (select oid from pg_database where datname = current_database())",
    )
    .bind(kind)
    .fetch_one(pool)
    .await?)
}

/// Followers who are not simulated: rows are all that is asked of them.
async fn add_crowd(cluster: &Cluster, pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query(
        "with inbox as (
             insert into inboxes (url, host, shared)
             select 'http://' || $1 || '/users/c' || n || '/inbox', $1, false
             from generate_series(1, $2) n returning id, url
         ), follower as (
             insert into accounts (username, domain, uri, url, inbox_url, key_id, public_key_pem)
             select substr(url, 8), $1, url, '', url, url, '' from inbox returning id, inbox_url
         )
         insert into follows (account_id, target_id, uri, inbox_id, state)
         select follower.id, (select id from accounts where username = 'ada' and domain is null),
                inbox.url, inbox.id, 'accepted'
         from follower join inbox on inbox.url = follower.inbox_url",
    )
    .bind(CROWD)
    .bind(CROWD_INBOXES)
    .execute(pool)
    .await?;
    let pause = ["admin", "hosts", "pause", CROWD, "--because", "a test"];
    cluster.command(&pause).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three minutes; `make faults` runs it"]
async fn a_planner_killed_at_every_step_plans_each_row_once() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Mode::Split, &[]).await?;
    if let Err(error) = run(&mut cluster).await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

async fn run(cluster: &mut Cluster) -> anyhow::Result<()> {
    ensure!(cluster.nodes[FANOUT].role == "fanout");
    let pool = cluster.database()?.pool.clone();
    let url = cluster.database()?.url.clone();
    let mut load = Load::start(cluster, hosts()).await?;
    add_crowd(cluster, &pool).await?;
    load.write(cluster, 1).await?;
    all_planned(&pool).await?;

    let steps = [
        Step::FirstRows,
        Step::SecondRows,
        Step::Closing,
        Step::Closed,
        Step::Published,
    ];
    for step in steps {
        let mut gate = Gate::close(&pool, &url, step).await?;
        load.write(cluster, 1).await?;
        gate.reached(&pool).await.context(format!("{step:?}"))?;
        load.write(cluster, 5).await?;
        cluster.take(FANOUT)?.kill9()?;
        gate.remove(&pool).await?;
        println!("killed at {step:?}: {}", state(&pool).await?);
        started_again(cluster, &pool, &load, AGAIN).await?;
    }
    for number in 0..RANDOM_KILLS {
        load.write(cluster, 2).await?;
        // The same moments in every run, spread evenly.
        let moment = number * 7 % RANDOM_KILLS * WITHIN / RANDOM_KILLS;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        cluster.take(FANOUT)?.kill9()?;
        load.write(cluster, 1).await?;
        cluster.spawn(FANOUT)?;
    }
    cluster.process(FANOUT)?.ready().await?;
    all_planned(&pool).await?;
    let took = load.arrive(cluster, QUIESCE).await?;
    println!("{RANDOM_KILLS} kills at random: all everywhere {took:.1?} after the last post");
    each_row_once(&pool, &load).await?;
    let repeats = load.repeats(cluster);
    println!(
        "{} posts acknowledged, {} rows each, {repeats} requests repeated",
        load.count(),
        CROWD_INBOXES + hosts().len() as i64
    );
    ensure!(repeats == 0, "{repeats} requests repeated");
    eventually("the ledger to settle", async || {
        cluster.command(&["admin", "verify-deliveries"]).await?;
        Ok(true)
    })
    .await
}

/// Starts the process and waits until everything that was open is planned and there.
async fn started_again(
    cluster: &mut Cluster,
    pool: &PgPool,
    load: &Load,
    within: Duration,
) -> anyhow::Result<()> {
    let start = Instant::now();
    cluster.spawn(FANOUT)?;
    cluster.process(FANOUT)?.ready().await?;
    let ready = start.elapsed();
    all_planned(pool).await?;
    let planned = start.elapsed();
    load.arrive(cluster, QUIESCE).await?;
    println!(
        "  ready after {ready:.1?}, all planned {:.1?} later",
        planned.saturating_sub(ready)
    );
    ensure!(planned <= within, "planned only after {planned:?}");
    Ok(())
}

/// How far the newest activity that was begun is.
async fn state(pool: &PgPool) -> anyhow::Result<String> {
    let (rows, planned, published): (i64, bool, bool) = sqlx::query_as(
        "select (select count(*) from deliveries d where d.activity_id = a.id),
                planned_at is not null, published_at is not null
         from activities a where kind = 'Create' and published_at is null order by id limit 1",
    )
    .fetch_one(pool)
    .await?;
    Ok(format!(
        "{rows} rows, {}, {}",
        if planned { "closed" } else { "open" },
        if published { "noted" } else { "not noted" }
    ))
}

async fn all_planned(pool: &PgPool) -> anyhow::Result<()> {
    eventually("everything to be planned", async || {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from activities where planned_at is null or published_at is null",
        )
        .fetch_one(pool)
        .await?;
        Ok(open == 0)
    })
    .await
}

/// Every post has a row for every inbox, and the counts and the memory of recipients say the same.
async fn each_row_once(pool: &PgPool, load: &Load) -> anyhow::Result<()> {
    let expected = CROWD_INBOXES + hosts().len() as i64;
    ensure!(expected > BATCH, "one batch is enough");
    let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "select a.id, d.rows, d.inboxes, least(a.planned_count, cardinality(r.inbox_ids))
         from activities a
         join (select activity_id, count(*) as rows, count(distinct inbox_id) as inboxes
               from deliveries group by activity_id) d on d.activity_id = a.id
         join status_recipients r on r.status_id = a.status_id
         where a.kind = 'Create'",
    )
    .fetch_all(pool)
    .await?;
    ensure!(rows.len() == load.count(), "{} activities", rows.len());
    for (id, count, inboxes, said) in rows {
        ensure!(
            (count, inboxes, said) == (expected, expected, expected),
            "activity {id}: {count} rows for {inboxes} inboxes, {said} said"
        );
    }
    Ok(())
}
