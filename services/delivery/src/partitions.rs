//! A partition of `deliveries` per day of the activities' own ids: made in advance, dropped as a
//! whole when nothing in it can move any more.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, PgPool};
use tidegate_model::id_at;
use tidegate_store::{StoreError, settings};
use tidegate_telemetry::Stop;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::Delivery;

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

/// The setting that says below which activity id rows were dropped: what is below is not
/// verified any more.
pub(crate) const DROPPED_BELOW: &str = "deliveries_dropped_below";

/// Looks until stopped.
pub(crate) async fn run(delivery: &Delivery, stop: &Stop) {
    loop {
        let ladder: Duration = delivery.options.retry_ladder.iter().sum();
        // Jitter makes a ladder a fifth longer.
        let keep = ladder.mul_f64(1.2) + delivery.options.keep;
        if let Err(error) = maintain(&delivery.deps.pool, delivery.deps.clock.now(), keep).await {
            tracing::warn!(%error, "partitions of deliveries could not be looked after");
        }
        if !stop.sleep(INTERVAL).await {
            return;
        }
    }
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
    while drop_oldest(pool, before).await? {}
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
    let from = id_at(day.midnight().assume_utc());
    let to = id_at((day + time::Duration::DAY).midnight().assume_utc());
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

/// Drops the oldest day's partition if it is old enough and finished. Oldest first: what is
/// below the mark in the settings is gone without gaps.
async fn drop_oldest(pool: &PgPool, before: i64) -> Result<bool, StoreError> {
    let Some(mut transaction) = locked(pool).await? else {
        return Ok(false);
    };
    let oldest: Option<String> = sqlx::query_scalar(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'deliveries'::regclass and c.relname ~ '^deliveries_[0-9]{8}$'
         order by c.relname limit 1",
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let old = oldest
        .and_then(|name| Some((end_of(&name)?, name)))
        .filter(|(end, _)| *end <= before);
    let Some((end, name)) = old else {
        transaction.rollback().await?;
        return Ok(false);
    };
    let moving: bool = sqlx::query_scalar(
        "select exists (select 1 from deliveries
                        where activity_id < $1 and state in ('queued', 'parked'))",
    )
    .bind(end)
    .fetch_one(&mut *transaction)
    .await?;
    if moving {
        transaction.rollback().await?;
        return Ok(false);
    }
    run_ddl(&mut transaction, format!("drop table {name}")).await?;
    settings::set(&mut transaction, DROPPED_BELOW, &end).await?;
    transaction.commit().await?;
    tracing::info!(
        partition = name,
        "dropped a finished partition of deliveries"
    );
    Ok(true)
}

/// The default partition is never dropped: what is old and finished in it is deleted.
async fn empty_default(pool: &PgPool, before: i64) -> Result<(), StoreError> {
    let Some(mut transaction) = locked(pool).await? else {
        return Ok(());
    };
    let deleted = sqlx::query(
        "delete from deliveries_default where (activity_id, inbox_id) in (
             select activity_id, inbox_id from deliveries_default d
             where d.activity_id < $1 and not exists (
                 select 1 from deliveries m
                 where m.activity_id < $1 and m.state in ('queued', 'parked'))
             limit $2)",
    )
    .bind(before)
    .bind(DELETE_ROWS)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    if deleted > 0 {
        let below = settings::get::<i64>(&mut *transaction, DROPPED_BELOW).await?;
        settings::set(
            &mut transaction,
            DROPPED_BELOW,
            &below.unwrap_or(0).max(before),
        )
        .await?;
    }
    transaction.commit().await?;
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

/// The first activity id after the day of a partition's name.
fn end_of(name: &str) -> Option<i64> {
    let digits = name.strip_prefix("deliveries_")?;
    let day = Date::parse(digits, format_description!("[year][month][day]")).ok()?;
    Some(id_at((day + time::Duration::DAY).midnight().assume_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, datetime};

    #[test]
    fn a_partition_is_named_after_its_day() {
        assert_eq!(name_of(date!(2026 - 11 - 02)), "deliveries_20261102");
        let end = id_at(datetime!(2026-11-03 00:00 UTC));
        assert_eq!(end_of("deliveries_20261102"), Some(end));
        assert_eq!(end_of("deliveries_default"), None);
    }
}
