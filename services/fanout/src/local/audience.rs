//! Which local accounts a status is appended for.

use std::ops::RangeInclusive;

use sqlx::PgPool;
use tidegate_store::statuses::Status;

use crate::trouble::Trouble;

/// Local accepted followers of the author within `ids` that take a status like this one, by id.
/// Reads the partial index over local followers and nothing else.
pub(super) async fn followers(
    pool: &PgPool,
    status: &Status,
    ids: RangeInclusive<i64>,
    limit: i64,
) -> Result<Vec<i64>, Trouble> {
    Ok(sqlx::query_scalar(
        "select account_id from follows
         where target_id = $1 and account_id between $2 and $3
           and state = 'accepted' and inbox_id is null
           and (show_reblogs or not $4)
           and (languages is null or languages = '{}' or $5 is null or $5 = any(languages))
         order by account_id limit $6",
    )
    .bind(status.account_id)
    .bind(*ids.start())
    .bind(*ids.end())
    .bind(status.reblog_of_id.is_some())
    .bind(status.language.as_deref())
    .bind(limit)
    .fetch_all(pool)
    .await?)
}

/// For a direct post: the mentioned who follow its author. The others find it among their
/// notifications and conversations, as with Mastodon.
pub(super) async fn mentioned_followers(
    pool: &PgPool,
    status: &Status,
) -> Result<Vec<i64>, Trouble> {
    Ok(sqlx::query_scalar(
        "select m.account_id from mentions m
         join follows f on f.account_id = m.account_id and f.target_id = $2
         where m.status_id = $1 and f.state = 'accepted' and f.inbox_id is null
         order by m.account_id",
    )
    .bind(status.id)
    .bind(status.account_id)
    .fetch_all(pool)
    .await?)
}

/// Cuts the ids of all local followers into `stripes` of about equal counts. Together they
/// cover every id there is, so that nobody falls between two.
pub(super) async fn stripes(
    pool: &PgPool,
    target_id: i64,
    stripes: i64,
) -> Result<Vec<(i64, i64)>, Trouble> {
    let starts: Vec<i64> = sqlx::query_scalar(
        "select min(account_id) from (
             select account_id, ntile($2::int) over (order by account_id) as stripe
             from follows
             where target_id = $1 and state = 'accepted' and inbox_id is null
         ) cut
         group by stripe order by stripe",
    )
    .bind(target_id)
    .bind(stripes as i32)
    .fetch_all(pool)
    .await?;
    Ok(cover(&starts))
}

/// From the first id of each stripe to stripes without gaps.
fn cover(starts: &[i64]) -> Vec<(i64, i64)> {
    let mut stripes = Vec::with_capacity(starts.len());
    for (n, start) in starts.iter().enumerate() {
        let first = if n == 0 { 1 } else { *start };
        let last = starts.get(n + 1).map_or(i64::MAX, |next| next - 1);
        stripes.push((first, last));
    }
    stripes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_leave_no_id_out() {
        assert_eq!(cover(&[40, 70, 90]), [(1, 69), (70, 89), (90, i64::MAX)]);
        assert_eq!(cover(&[40]), [(1, i64::MAX)]);
        assert_eq!(cover(&[]), []);
    }
}
