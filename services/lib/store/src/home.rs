//! Home timelines read from PostgreSQL: what a rebuild puts into a list, and what a reader takes
//! below the list's floor or while there is no list.
//!
//! Both follow the rules that fan-out applies when it appends: own posts of every visibility;
//! posts of followed accounts that address followers; direct posts of followed accounts that
//! mention the reader; no boosts and no languages that the follow leaves out. Blocks, mutes,
//! deletions and replies to strangers are the reader's to filter, because they change without
//! the list being built anew.

use sqlx::PgExecutor;

use crate::StoreError;

/// Which part of a home timeline is asked for. Ids are exclusive, as in Mastodon's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomePage {
    /// Only ids below this one.
    pub max_id: Option<i64>,
    /// Only ids above this one; the newest come first.
    pub since_id: Option<i64>,
    /// Only ids above this one; of these the `limit` oldest, so that a reader can page upwards
    /// without a gap.
    pub min_id: Option<i64>,
    /// How many at most.
    pub limit: i64,
}

impl HomePage {
    /// The newest `limit` ids, below `below` when given.
    pub const fn newest(limit: i64, below: Option<i64>) -> Self {
        Self {
            max_id: below,
            since_id: None,
            min_id: None,
            limit,
        }
    }
}

/// The ids of one page of a home timeline, newest first.
///
/// Takes at most `limit` ids per followed account from the index over (account, id), so that the
/// cost grows with the number of followed accounts and not with the number of posts.
pub async fn home_ids(
    executor: impl PgExecutor<'_>,
    account_id: i64,
    page: &HomePage,
) -> Result<Vec<i64>, StoreError> {
    let above = page.min_id.or(page.since_id).unwrap_or(0);
    let below = page.max_id.unwrap_or(i64::MAX);
    let statement = if page.min_id.is_some() {
        UPWARDS
    } else {
        DOWNWARDS
    };
    let mut ids: Vec<i64> = sqlx::query_scalar(statement)
        .bind(account_id)
        .bind(above)
        .bind(below)
        .bind(page.limit)
        .fetch_all(executor)
        .await?;
    ids.sort_unstable_by(|a, b| b.cmp(a));
    Ok(ids)
}

/// The two statements differ in nothing but the direction, which cannot be a parameter.
macro_rules! page_statement {
    ($direction:literal) => {
        concat!(
            "with sources as (
                 select target_id as author, show_reblogs, languages, false as own
                 from follows where account_id = $1 and state = 'accepted'
                 union all
                 select $1, true, null, true
             )
             select s.id
             from sources cross join lateral (
                 select p.id from statuses p
                 where p.account_id = sources.author and p.deleted_at is null
                   and p.id > $2 and p.id < $3
                   and (sources.own or p.visibility <> 'direct' or exists (
                        select 1 from mentions m where m.status_id = p.id and m.account_id = $1))
                   and (sources.show_reblogs or p.reblog_of_id is null)
                   and (sources.languages is null or sources.languages = '{}'
                        or p.language is null or p.language = any(sources.languages))
                 order by p.id ",
            $direction,
            " limit $4
             ) s
             order by s.id ",
            $direction,
            " limit $4"
        )
    };
}

const DOWNWARDS: &str = page_statement!("desc");
const UPWARDS: &str = page_statement!("asc");
