//! A partition of `deliveries` per day of the activities' own ids: made in advance, dropped as a
//! whole when nothing in it can move any more.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, PgPool};
use tidegate_model::id_at;
use tidegate_store::StoreError;
use tidegate_telemetry::Stop;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::{Delivery, DeliveryOptions};

/// How often partitions are looked at. Days are made three in advance, so that hours of outage
/// do not matter.
const INTERVAL: Duration = Duration::from_hours(1);

/// Days made in advance, beside today.
const DAYS_AHEAD: i64 = 3;

/// Key of the lock that keeps replicas from doing this at once; held by a transaction, so that
/// it works behind a transaction pooler. Any fixed number.
const LOCK: i64 = 0x7464_7061;

/// Finished rows of the default partition that one round deletes: a short statement.
const DELETE_ROWS: i64 = 5_000;

/// How long a delivery may wait for a host before it ends: seven days of failed probes (design
/// section 6) begin and end within eight.
const LONGEST_WAIT: Duration = Duration::from_hours(8 * 24);

/// Activity ids of one day: they begin with the milliseconds since 1970, above 16 bits of a
/// counter.
const IDS_OF_A_DAY: i64 = (24 * 3_600_000) << 16;

/// Activity ids from the first on, before the second.
type Range = (i64, i64);

/// Looks until stopped.
pub(crate) async fn run(delivery: &Delivery, stop: &Stop) {
    loop {
        let keep = kept_for(&delivery.options);
        if let Err(error) = maintain(&delivery.deps.pool, delivery.deps.clock.now(), keep).await {
            tracing::warn!(%error, "partitions of deliveries could not be looked after");
        }
        if !stop.sleep(INTERVAL).await {
            return;
        }
    }
}

/// For how long after its last activity a day is kept: until the longest of its deliveries has
/// ended, and as long as is said after that.
fn kept_for(options: &DeliveryOptions) -> Duration {
    let ladder: Duration = options.retry_ladder.iter().sum();
    // Jitter makes a ladder a fifth longer.
    ladder.mul_f64(1.2).max(LONGEST_WAIT) + options.keep
}

/// Makes the partitions of today and the next days, and drops those whose last activity is older
/// than `keep` and that hold nothing queued or parked.
pub async fn maintain(
    pool: &PgPool,
    now: OffsetDateTime,
    keep: Duration,
) -> Result<(), StoreError> {
    for ahead in 0..=DAYS_AHEAD {
        make(pool, now.date() + time::Duration::days(ahead)).await?;
    }
    let before = id_at(now - keep);
    for (name, day) in days(pool).await? {
        if day.1 <= before {
            drop_finished(pool, &name, day).await?;
        }
    }
    empty_default(pool, before).await
}

/// A transaction that holds the lock, or `None` when another process has it.
async fn locked(
    pool: &PgPool,
) -> Result<Option<sqlx::Transaction<'static, sqlx::Postgres>>, StoreError> {
    let mut transaction = tidegate_store::begin(pool).await?;
    // Posting must not queue up behind us when something long holds the table.
    sqlx::query("set local lock_timeout = '2s'")
        .execute(&mut *transaction)
        .await?;
    let ours: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *transaction)
        .await?;
    if ours {
        return Ok(Some(transaction));
    }
    transaction.rollback().await?;
    Ok(None)
}

/// Makes the partition of one day, unless it is there or the default partition holds rows of
/// that day already: they may stay there, and attaching would be refused.
async fn make(pool: &PgPool, day: Date) -> Result<(), StoreError> {
    let name = name_of(day);
    let (from, to) = range_of(day);
    if exists(pool, &name).await? {
        return Ok(());
    }
    let Some(mut transaction) = locked(pool).await? else {
        return Ok(());
    };
    // Whoever inserts holds the parent and has chosen a partition: the default one would refuse
    // the row if its day became somebody else's meanwhile. Some milliseconds, once a day.
    run_ddl(
        &mut transaction,
        "lock table only deliveries in access exclusive mode".to_owned(),
    )
    .await?;
    let taken: bool = sqlx::query_scalar(
        "select to_regclass($1) is not null or exists (
             select 1 from deliveries_default where activity_id >= $2 and activity_id < $3)",
    )
    .bind(&name)
    .bind(from)
    .bind(to)
    .fetch_one(&mut *transaction)
    .await?;
    if taken {
        // Said aloud: a transaction that is merely dropped holds its lock a moment longer.
        transaction.rollback().await?;
        return Ok(());
    }
    // The name is made of digits, the bounds are numbers.
    run_ddl(
        &mut transaction,
        format!("create table {name} (like deliveries including defaults including constraints)"),
    )
    .await?;
    run_ddl(
        &mut transaction,
        format!(
            "alter table deliveries attach partition {name} for values from ({from}) to ({to})"
        ),
    )
    .await?;
    transaction.commit().await?;
    tracing::info!(partition = name, "made a partition of deliveries");
    Ok(())
}

/// The partitions of days and the activity ids of each, oldest first.
async fn days(pool: &PgPool) -> Result<Vec<(String, Range)>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'deliveries'::regclass and c.relname ~ '^deliveries_[0-9]{8}$'
         order by c.relname",
    )
    .fetch_all(pool)
    .await?;
    let days = names.into_iter().filter_map(|name| {
        let range = range_of(day_of(&name)?);
        Some((name, range))
    });
    Ok(days.collect())
}

/// Drops a day's partition if nothing in it moves. Each day by itself: a row that waits for a
/// paused host for months keeps its own day, not all those after it.
async fn drop_finished(pool: &PgPool, name: &str, day: Range) -> Result<(), StoreError> {
    let Some(mut transaction) = locked(pool).await? else {
        return Ok(());
    };
    if is_moving(&mut transaction, day).await? {
        transaction.rollback().await?;
        return Ok(());
    }
    // Once more while nobody can move a row: an operator may give a dead one another life. The
    // parent first, as everybody does; what is asked is a look into an index that is empty.
    run_ddl(
        &mut transaction,
        "lock table only deliveries in access exclusive mode".to_owned(),
    )
    .await?;
    if is_moving(&mut transaction, day).await? {
        transaction.rollback().await?;
        return Ok(());
    }
    // The name is made of digits.
    run_ddl(&mut transaction, format!("drop table {name}")).await?;
    note_dropped(&mut transaction, day).await?;
    transaction.commit().await?;
    tracing::info!(
        partition = name,
        "dropped a finished partition of deliveries"
    );
    Ok(())
}

/// Whether anything of these activities is queued or parked. Spelled as the index that holds only
/// such rows is (migration 0043).
async fn is_moving(connection: &mut PgConnection, day: Range) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "select exists (select 1 from deliveries where activity_id >= $1 and activity_id < $2
                        and coalesce(state in ('queued', 'parked'), false))",
    )
    .bind(day.0)
    .bind(day.1)
    .fetch_one(connection)
    .await?)
}

/// The default partition is never dropped: what is old and finished in it is deleted, day by day
/// like the others.
async fn empty_default(pool: &PgPool, before: i64) -> Result<(), StoreError> {
    let Some(mut transaction) = locked(pool).await? else {
        return Ok(());
    };
    let old: Vec<i64> = sqlx::query_scalar(
        "delete from deliveries_default where (activity_id, inbox_id) in (
             select activity_id, inbox_id from deliveries_default d
             where d.activity_id < $1 and not exists (
                 select 1 from deliveries_default m
                 where m.activity_id >= d.activity_id - d.activity_id % $3
                   and m.activity_id < d.activity_id - d.activity_id % $3 + $3
                   and m.state in ('queued', 'parked'))
             limit $2)
         returning activity_id - activity_id % $3",
    )
    .bind(before)
    .bind(DELETE_ROWS)
    .bind(IDS_OF_A_DAY)
    .fetch_all(&mut *transaction)
    .await?;
    for from in old.into_iter().collect::<BTreeSet<i64>>() {
        note_dropped(&mut transaction, (from, from + IDS_OF_A_DAY)).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Remembers that rows of these activities are gone: they are not verified any more.
async fn note_dropped(connection: &mut PgConnection, range: Range) -> Result<(), StoreError> {
    sqlx::query(
        "with touching as (
             delete from deliveries_dropped where from_id <= $2 and to_id >= $1
             returning from_id, to_id)
         insert into deliveries_dropped (from_id, to_id)
         select least($1, min(from_id)), greatest($2, max(to_id)) from touching",
    )
    .bind(range.0)
    .bind(range.1)
    .execute(connection)
    .await?;
    Ok(())
}

async fn exists(pool: &PgPool, name: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(name)
        .fetch_one(pool)
        .await?)
}

async fn run_ddl(connection: &mut PgConnection, statement: String) -> Result<(), StoreError> {
    sqlx::query(AssertSqlSafe(statement))
        .execute(connection)
        .await?;
    Ok(())
}

fn name_of(day: Date) -> String {
    let digits = day
        .format(format_description!("[year][month][day]"))
        .unwrap_or_default();
    format!("deliveries_{digits}")
}

/// The day of a partition's name.
fn day_of(name: &str) -> Option<Date> {
    let digits = name.strip_prefix("deliveries_")?;
    Date::parse(digits, format_description!("[year][month][day]")).ok()
}

fn range_of(day: Date) -> Range {
    let id = |day: Date| id_at(day.midnight().assume_utc());
    (id(day), id(day + time::Duration::DAY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, datetime};

    #[test]
    fn a_day_is_kept_until_its_longest_delivery_has_ended_and_a_week_more() {
        let day = Duration::from_hours(24);
        let usual = DeliveryOptions::default();
        assert!(
            kept_for(&usual) >= day * 15,
            "seven days of probes, and seven"
        );
        let patient = DeliveryOptions {
            retry_ladder: vec![day * 30],
            ..usual
        };
        assert!(kept_for(&patient) >= day * 43, "a ladder and its jitter");
    }

    #[test]
    fn a_partition_is_named_after_its_day() {
        assert_eq!(name_of(date!(2026 - 11 - 02)), "deliveries_20261102");
        assert_eq!(day_of("deliveries_20261102"), Some(date!(2026 - 11 - 02)));
        assert_eq!(day_of("deliveries_default"), None);
    }

    #[test]
    fn a_day_has_as_many_ids_as_milliseconds_times_their_counter() {
        let (from, to) = range_of(date!(2026 - 11 - 02));
        assert_eq!(from, id_at(datetime!(2026-11-02 00:00 UTC)));
        assert_eq!(to - from, IDS_OF_A_DAY);
        assert_eq!(from % IDS_OF_A_DAY, 0);
    }
}
