//! Rows by state, and how long the oldest queued ones wait.

use sqlx::PgPool;
use tidegate_model::Lane;
use tidegate_store::StoreError;

use crate::metrics::{OLDEST, ROWS};

/// Finished rows that are counted; of more, shares are taken.
const SAMPLE: i64 = 1_000_000;

/// Counts what partial indexes hold, up to a million each: above that the exact number tells
/// nobody anything. Returns how many rows are not finished.
pub(super) async fn waiting(pool: &PgPool) -> Result<i64, StoreError> {
    let lanes: Vec<(String, i64, i64)> = sqlx::query_as(
        "select lane, count(*),
                extract(epoch from now() - min(coalesce(published_at, created_at)))::bigint
         from (select lane, published_at, created_at from deliveries where state = 'queued'
               order by created_at limit 1000000) q
         group by lane",
    )
    .fetch_all(pool)
    .await?;
    for lane in Lane::ALL.map(Lane::as_str) {
        let found = lanes.iter().find(|(name, ..)| name == lane);
        let age = found.map_or(0, |(_, _, age)| (*age).max(0));
        OLDEST.with_label_values(&[lane]).set(age);
    }
    let queued = lanes.iter().map(|(_, rows, _)| rows).sum();
    let (parked, dead): (i64, i64) = sqlx::query_as(
        "select (select count(*) from (select from deliveries where state = 'parked' limit 1000000) p),
                (select count(*) from (select from deliveries where state = 'dead' limit 1000000) d)",
    )
    .fetch_one(pool)
    .await?;
    for (state, rows) in [("queued", queued), ("parked", parked), ("dead", dead)] {
        ROWS.with_label_values(&[state]).set(rows);
    }
    Ok(queued + parked + dead)
}

/// Counts what is finished. No index holds that: of more than a million rows the shares in a
/// sample are laid over what the database believes to have, less what is `waiting`.
pub(super) async fn finished(pool: &PgPool, waiting: i64) -> Result<(), StoreError> {
    let (seen, delivered, cancelled): (i64, i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where state = 'delivered'),
                count(*) filter (where state = 'cancelled')
         from (select state from deliveries limit $1) r",
    )
    .bind(SAMPLE)
    .fetch_one(pool)
    .await?;
    let total = if seen < SAMPLE {
        delivered + cancelled
    } else {
        believed(pool).await?.saturating_sub(waiting)
    };
    for (state, rows) in [("delivered", delivered), ("cancelled", cancelled)] {
        let rows = share(rows, delivered + cancelled, total);
        ROWS.with_label_values(&[state]).set(rows);
    }
    Ok(())
}

/// What the statistics say about all partitions together.
async fn believed(pool: &PgPool) -> Result<i64, StoreError> {
    let rows = sqlx::query_scalar(
        "select coalesce(sum(greatest(p.reltuples, 0)), 0)::bigint
         from pg_inherits i join pg_class p on p.oid = i.inhrelid
         where i.inhparent = 'deliveries'::regclass",
    )
    .fetch_one(pool)
    .await?;
    Ok(rows)
}

/// As many of `total` as `part` is of `whole`; never fewer than were seen.
fn share(part: i64, whole: i64, total: i64) -> i64 {
    if whole == 0 {
        return 0;
    }
    let scaled = i128::from(part) * i128::from(total) / i128::from(whole);
    i64::try_from(scaled).unwrap_or(i64::MAX).max(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact_when_all_were_seen_and_scaled_when_not() {
        assert_eq!(share(30, 40, 40), 30);
        assert_eq!(share(750_000, 1_000_000, 8_000_000), 6_000_000);
        // Statistics lag behind a table that grows.
        assert_eq!(share(750_000, 1_000_000, 0), 750_000);
        assert_eq!(share(0, 0, 5), 0);
    }
}
