//! The statements behind the leases: each round one short transaction, no state of a session.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tidegate_store::StoreError;
use uuid::Uuid;

use super::LeaseOptions;

/// What a round found.
pub(super) struct Found {
    /// Leases that are ours until a length from now.
    pub(super) renewed: Vec<u32>,
    pub(super) gained: Vec<Gained>,
    /// How many we may keep.
    pub(super) share: usize,
    /// Whether we have fewer than that: somebody is about to hand over.
    pub(super) lacks: bool,
    /// When the next lease of another runs out, unless that one renews it.
    pub(super) next_expiry: Option<Duration>,
}

/// A lease that is new to us.
pub(super) struct Gained {
    pub(super) shard: u32,
    /// For how long requests of the holder before may still be under way.
    pub(super) unsettled: Option<Duration>,
    /// Whether the holder before had no way out.
    pub(super) own_outage: bool,
}

/// Says that we live, renews what is ours and is `held`, and claims what is free up to our share.
/// `None`: the instance has another number of shards, and nothing may be claimed with ours.
pub(super) async fn round(
    pool: &PgPool,
    me: Uuid,
    shards: u32,
    held: &[u32],
    options: &LeaseOptions,
) -> Result<Option<Found>, StoreError> {
    let length = options.length.as_secs_f64();
    let mut transaction = tidegate_store::begin(pool).await?;
    if !tidegate_store::shards::hold(&mut transaction, shards).await? {
        return Ok(None);
    }
    sqlx::query(
        "insert into delivery_workers (id, seen_at) values ($1, now())
         on conflict (id) do update set seen_at = now()",
    )
    .bind(me)
    .execute(&mut *transaction)
    .await?;
    let renewed = renew_in(&mut transaction, me, held, length).await?;
    let share = share(&mut transaction, me, shards, length).await?;
    let room = share.saturating_sub(renewed.len());
    let gained = if room > 0 {
        claim(&mut transaction, me, shards, room, options).await?
    } else {
        Vec::new()
    };
    let next_expiry = next_expiry(&mut transaction, me).await?;
    transaction.commit().await?;
    Ok(Some(Found {
        lacks: gained.len() < room,
        renewed,
        gained,
        share,
        next_expiry,
    }))
}

/// Our part of the shards: even, and what is left over goes to the first workers by id, so that
/// all of them count the same and no two parts differ by more than one.
async fn share(
    connection: &mut PgConnection,
    me: Uuid,
    shards: u32,
    length: f64,
) -> Result<usize, StoreError> {
    let (live, before): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where id < $2)
         from delivery_workers where seen_at > now() - make_interval(secs => $1)",
    )
    .bind(length)
    .bind(me)
    .fetch_one(connection)
    .await?;
    let live = u32::try_from(live).unwrap_or(1).max(1);
    let is_among_first = before < i64::from(shards % live);
    Ok((shards / live) as usize + usize::from(is_among_first))
}

async fn next_expiry(
    connection: &mut PgConnection,
    me: Uuid,
) -> Result<Option<Duration>, StoreError> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "select extract(epoch from min(expires_at) - now())::float8
         from shard_leases where holder <> $1 and expires_at > now()",
    )
    .bind(me)
    .fetch_one(connection)
    .await?;
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

/// What is ours by its row only runs out and is claimed anew: we gave it up, or never heard that
/// we have it, and a lease that is renewed without being served would stop its hosts for good.
async fn renew_in(
    connection: &mut PgConnection,
    me: Uuid,
    held: &[u32],
    length: f64,
) -> Result<Vec<u32>, StoreError> {
    let held: Vec<i32> = held.iter().map(|shard| shard.cast_signed()).collect();
    // In the order of the shards, as everywhere, so that no two wait for each other.
    let renewed: Vec<i32> = sqlx::query_scalar(
        "with mine as materialized (
             select shard from shard_leases
             where holder = $1 and expires_at > now() and shard = any($3)
             order by shard for update)
         update shard_leases l set expires_at = now() + make_interval(secs => $2)
         from mine where l.shard = mine.shard
         returning l.shard",
    )
    .bind(me)
    .bind(length)
    .bind(held)
    .fetch_all(connection)
    .await?;
    Ok(renewed
        .into_iter()
        .filter_map(|shard| u32::try_from(shard).ok())
        .collect())
}

/// Renews what is `held` and takes nothing more.
pub(super) async fn renew(
    pool: &PgPool,
    me: Uuid,
    held: &[u32],
    options: &LeaseOptions,
) -> Result<Vec<u32>, StoreError> {
    let mut connection = pool.acquire().await?;
    renew_in(&mut connection, me, held, options.length.as_secs_f64()).await
}

/// A lease that ran out under its holder was not handed over: what that one sent last may be
/// under way until an attempt's time-out has passed.
async fn claim(
    connection: &mut PgConnection,
    me: Uuid,
    shards: u32,
    room: usize,
    options: &LeaseOptions,
) -> Result<Vec<Gained>, StoreError> {
    sqlx::query(
        "insert into shard_leases (shard)
         select wanted from generate_series(0, $1 - 1) as wanted
         where not exists (select 1 from shard_leases where shard = wanted)
         on conflict do nothing",
    )
    .bind(shards as i32)
    .execute(&mut *connection)
    .await?;
    let claimed: Vec<(i32, f64, bool)> = sqlx::query_as(
        "with free as materialized (
             select shard, holder, expires_at, unsettled_until from shard_leases
             where shard < $1 and (holder is null or expires_at <= now())
             order by shard limit $2
             for update skip locked)
         update shard_leases l
         set holder = $3, expires_at = now() + make_interval(secs => $4),
             unclean_at = case when free.holder is null then l.unclean_at else now() end,
             unsettled_until = greatest(free.unsettled_until, case when free.holder is null
                 then free.unsettled_until
                 else free.expires_at + make_interval(secs => $5) end)
         from free where l.shard = free.shard
         returning l.shard,
             coalesce(extract(epoch from
                 nullif(l.unsettled_until, '-infinity') - now())::float8, 0.0),
             l.own_outage",
    )
    .bind(shards as i32)
    .bind(room as i64)
    .bind(me)
    .bind(options.length.as_secs_f64())
    .bind(options.settle.as_secs_f64())
    .fetch_all(connection)
    .await?;
    Ok(claimed
        .into_iter()
        .filter_map(|(shard, seconds, own_outage)| {
            let unsettled = Duration::try_from_secs_f64(seconds).ok();
            Some(Gained {
                shard: u32::try_from(shard).ok()?,
                unsettled: unsettled.filter(|left| !left.is_zero()),
                own_outage,
            })
        })
        .collect())
}

/// Notes with everything that is ours whether we have a way out.
pub(super) async fn note_outage(pool: &PgPool, me: Uuid, is_on: bool) -> Result<(), StoreError> {
    sqlx::query(
        "with mine as materialized (
             select shard from shard_leases where holder = $1 and own_outage <> $2
             order by shard for update)
         update shard_leases l set own_outage = $2 from mine where l.shard = mine.shard",
    )
    .bind(me)
    .bind(is_on)
    .execute(pool)
    .await?;
    Ok(())
}

/// Frees a lease that is ours.
pub(super) async fn release(
    pool: &PgPool,
    me: Uuid,
    shard: u32,
    settle: Duration,
) -> Result<(), StoreError> {
    sqlx::query(
        "update shard_leases
         set holder = null, expires_at = '-infinity',
             unsettled_until = case when $3 > 0 then now() + make_interval(secs => $3)
                                    else unsettled_until end,
             unclean_at = case when $3 > 0 then now() else unclean_at end
         where shard = $2 and holder = $1",
    )
    .bind(me)
    .bind(shard as i32)
    .bind(settle.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets a worker that stopped, and those that were not seen for an hour.
pub(super) async fn forget_worker(pool: &PgPool, me: Uuid) -> Result<(), StoreError> {
    sqlx::query(
        "delete from delivery_workers where id = $1 or seen_at < now() - interval '1 hour'",
    )
    .bind(me)
    .execute(pool)
    .await?;
    Ok(())
}
