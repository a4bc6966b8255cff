//! `GET /api/v1/timelines/home`: from the reader's list where there is one, else, and below the
//! list's floor, from SQL.
//!
//! Mastodon answers 206 while a list is being built, because it has nothing else to show.
//! Here SQL answers the same page in full, so that the answer is 200 and no client shows a
//! waiting screen; the list is built meanwhile.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use sqlx::PgConnection;
use tidegate_proto::fanout::v1::RebuildRequest;
use tidegate_store::StoreError;
use tidegate_store::home::{HomePage, home_ids};
use tidegate_timeline::List;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::home_list::{Entry, REBLOG_FALLOFF, ordered, without_repetitions};
use crate::auth::{Scope, User};
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::pagination::{Links, Paging};
use crate::state::App;

/// Home timelines read from SQL at once in this process. One costs a few milliseconds of the
/// database; when every list is lost at once they must not take all its connections.
static FROM_SQL: Semaphore = Semaphore::const_new(8);

/// How long a reader waits for its turn; a client gives up after about as long.
const SQL_PATIENCE: Duration = Duration::from_secs(5);

/// Calls for a rebuild under way in this process; more are not made, the next read makes them.
static REBUILD_CALLS: Semaphore = Semaphore::const_new(32);

/// The fanout role answers at once that it runs; this is for one that hangs.
const REBUILD_DEADLINE: Duration = Duration::from_secs(2);

/// Candidates looked at in one statement: with a few filtered out, a page comes from one.
const CHUNK: usize = 100;

/// Statements after which a page stays short: somebody whose list holds almost nothing but
/// filtered posts costs no more than this.
const MAX_CHUNKS: usize = 10;

pub(crate) async fn home(
    State(app): State<App>,
    user: User,
    paging: Paging,
) -> ApiResult<Response> {
    user.require(Scope::ReadStatuses)?;
    let viewer = user.account_id();
    let limit = usize::try_from(paging.limit(20, 40)).unwrap_or(0);
    let list = match app.deps.timelines.read(viewer).await {
        Ok(List::Complete { floor, ids }) => Some((floor, ordered(ids, floor))),
        Ok(List::Absent) => {
            ask_for_rebuild(&app, viewer);
            None
        }
        Ok(List::Building) => None,
        Err(error) => {
            tracing::debug!(%error, "a home timeline is read from the database");
            None
        }
    };
    let reader = Reader {
        app: &app,
        viewer,
        paging: &paging,
        limit,
    };
    let ids = reader.page(list).await?;
    let instance = &app.deps.instance;
    let mut connection = app.deps.pool.acquire().await?;
    let body = load::visible_in_order(&mut connection, instance, Some(viewer), &ids).await?;
    let full = ids.len() == limit;
    let links = paging.links(
        instance,
        Links::Always,
        ids.first().copied(),
        ids.last().copied(),
        full,
    );
    Ok((links, Json(body)).into_response())
}

/// Asks for the list without waiting; whether it is built changes nothing about this answer.
fn ask_for_rebuild(app: &App, account_id: i64) {
    let Ok(permit) = REBUILD_CALLS.try_acquire() else {
        return;
    };
    let mut rebuilds = app.deps.rebuilds.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let mut request = tonic::Request::new(RebuildRequest {
            account_id,
            wait: false,
        });
        // The other role learns the limit too, and stops with us.
        request.set_timeout(REBUILD_DEADLINE);
        match timeout(REBUILD_DEADLINE, rebuilds.rebuild(request)).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => tracing::debug!(code = ?status.code(), "no rebuild was started"),
            Err(_) => tracing::debug!("the call for a rebuild took too long"),
        }
    });
}

/// One reading of one timeline.
struct Reader<'a> {
    app: &'a App,
    viewer: i64,
    paging: &'a Paging,
    limit: usize,
}

impl Reader<'_> {
    /// The ids of the page, newest first.
    async fn page(&self, list: Option<(i64, Vec<i64>)>) -> ApiResult<Vec<i64>> {
        if self.limit == 0 {
            return Ok(Vec::new());
        }
        match list {
            // Upwards from below the floor the list does not know what follows.
            Some((floor, ids)) if self.paging.min_id.is_none_or(|id| id >= floor) => {
                if self.paging.is_ascending() {
                    self.upwards_in_list(&ids).await
                } else {
                    self.downwards_in_list(floor, &ids).await
                }
            }
            _ if self.paging.is_ascending() => self.upwards_in_sql().await,
            _ => self.downwards_in_sql(Vec::new(), self.paging.max_id).await,
        }
    }

    fn wants(&self, id: i64) -> bool {
        self.paging.max_id.is_none_or(|max| id < max)
            && self.paging.above().is_none_or(|above| id > above)
    }

    async fn downwards_in_list(&self, floor: i64, ids: &[i64]) -> ApiResult<Vec<i64>> {
        let start = match self.paging.max_id {
            Some(max) => ids.partition_point(|id| *id >= max),
            None => 0,
        };
        let mut seen = start.saturating_sub(REBLOG_FALLOFF);
        let mut entries = Vec::new();
        for _ in 0..MAX_CHUNKS {
            if seen >= ids.len() {
                break;
            }
            // The first chunk also holds what the page before it showed.
            let end = ids.len().min(seen.max(start) + CHUNK);
            entries.extend(self.filtered(&ids[seen..end]).await?);
            seen = end;
            let page = self.newest(&entries);
            if page.len() >= self.limit {
                return Ok(page);
            }
        }
        let asks_below = self.paging.above().is_none_or(|above| above < floor);
        if floor > 0 && asks_below && seen >= ids.len() {
            let below = self
                .paging
                .max_id
                .map_or(floor + 1, |max| max.min(floor + 1));
            return self.downwards_in_sql(entries, Some(below)).await;
        }
        Ok(self.newest(&entries))
    }

    /// Goes on below `below` from `entries`, which are newer.
    async fn downwards_in_sql(
        &self,
        mut entries: Vec<Entry>,
        mut below: Option<i64>,
    ) -> ApiResult<Vec<i64>> {
        let _permit = sql_permit().await?;
        if entries.is_empty()
            && let Some(max) = self.paging.max_id
        {
            // What the page before showed, for the sake of repeated boosts.
            let newer = HomePage {
                max_id: None,
                since_id: None,
                min_id: Some(max - 1),
                limit: REBLOG_FALLOFF as i64,
            };
            let ids = home_ids(&self.app.deps.pool, self.viewer, &newer).await?;
            entries = self.filtered(&ids).await?;
        }
        for _ in 0..MAX_CHUNKS {
            let page = HomePage {
                max_id: below,
                since_id: self.paging.since_id,
                min_id: None,
                limit: CHUNK as i64,
            };
            let ids = home_ids(&self.app.deps.pool, self.viewer, &page).await?;
            entries.extend(self.filtered(&ids).await?);
            let page = self.newest(&entries);
            if page.len() >= self.limit || ids.len() < CHUNK {
                break;
            }
            below = ids.last().copied();
        }
        Ok(self.newest(&entries))
    }

    async fn upwards_in_list(&self, ids: &[i64]) -> ApiResult<Vec<i64>> {
        let above = self.paging.above().unwrap_or(0);
        let end = ids.partition_point(|id| *id > above);
        let context = ids.len().min(end + REBLOG_FALLOFF);
        let mut start = end;
        let mut entries = self.filtered(&ids[end..context]).await?;
        for _ in 0..MAX_CHUNKS {
            if start == 0 {
                break;
            }
            let from = start.saturating_sub(CHUNK);
            let mut newer = self.filtered(&ids[from..start]).await?;
            newer.append(&mut entries);
            entries = newer;
            start = from;
            if self.oldest(&entries).len() >= self.limit {
                break;
            }
        }
        Ok(self.oldest(&entries))
    }

    async fn upwards_in_sql(&self) -> ApiResult<Vec<i64>> {
        let _permit = sql_permit().await?;
        let mut above = self.paging.above();
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..MAX_CHUNKS {
            let page = HomePage {
                max_id: self.paging.max_id,
                since_id: None,
                min_id: above,
                limit: CHUNK as i64,
            };
            let ids = home_ids(&self.app.deps.pool, self.viewer, &page).await?;
            let mut newer = self.filtered(&ids).await?;
            newer.append(&mut entries);
            entries = newer;
            if self.oldest(&entries).len() >= self.limit || ids.len() < CHUNK {
                break;
            }
            above = ids.first().copied();
        }
        Ok(self.oldest(&entries))
    }

    /// The newest posts of the page's range.
    fn newest(&self, entries: &[Entry]) -> Vec<i64> {
        let mut page = self.in_range(entries);
        page.truncate(self.limit);
        page
    }

    /// The oldest posts of the page's range, newest first.
    fn oldest(&self, entries: &[Entry]) -> Vec<i64> {
        let mut page = self.in_range(entries);
        page.split_off(page.len().saturating_sub(self.limit))
    }

    fn in_range(&self, entries: &[Entry]) -> Vec<i64> {
        without_repetitions(entries)
            .into_iter()
            .map(|entry| entry.id)
            .filter(|id| self.wants(*id))
            .collect()
    }

    /// Those of `ids`, which are newest first, that belong in the reader's timeline now.
    async fn filtered(&self, ids: &[i64]) -> ApiResult<Vec<Entry>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.app.deps.pool.acquire().await?;
        Ok(by_the_rules(&mut connection, self.viewer, ids).await?)
    }
}

async fn sql_permit() -> ApiResult<tokio::sync::SemaphorePermit<'static>> {
    match timeout(SQL_PATIENCE, FROM_SQL.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        // Too many others, or closed, which nobody does.
        Ok(Err(_)) | Err(_) => Err(ApiError::unavailable()),
    }
}

/// The rules of the moment: own posts and those of the followed; no boosts and languages that
/// the follow leaves out; answers only to oneself, to the reader and to whom the reader follows;
/// nothing muted, blocked, deleted or not addressed to the reader.
async fn by_the_rules(
    connection: &mut PgConnection,
    viewer: i64,
    ids: &[i64],
) -> Result<Vec<Entry>, StoreError> {
    Ok(sqlx::query_as(
        "select s.id, s.reblog_of_id
         from statuses s
         join accounts a on a.id = s.account_id
         left join follows f on f.account_id = $1 and f.target_id = s.account_id
                            and f.state = 'accepted'
         left join statuses o on o.id = s.reblog_of_id
         left join accounts oa on oa.id = o.account_id
         where s.id = any($2) and s.deleted_at is null
           and a.suspended_at is null and a.deleted_at is null
           and (s.account_id = $1 or f.id is not null)
           and (s.account_id = $1 or s.reblog_of_id is null or f.show_reblogs)
           and (s.account_id = $1 or f.languages is null or f.languages = '{}'
                or s.language is null or s.language = any(f.languages))
           and (s.visibility <> 'direct' or s.account_id = $1 or exists (
                select 1 from mentions m where m.status_id = s.id and m.account_id = $1))
           and (s.in_reply_to_uri is null or s.account_id = $1
                or s.in_reply_to_account_id in (s.account_id, $1)
                or exists (select 1 from follows r
                           where r.account_id = $1 and r.target_id = s.in_reply_to_account_id
                             and r.state = 'accepted'))
           and (s.reblog_of_id is null or (o.deleted_at is null
                and oa.suspended_at is null and oa.deleted_at is null
                and (o.visibility in ('public', 'unlisted') or o.account_id = $1
                     or (o.visibility = 'private' and o.account_id = s.account_id))))
           and not exists (select 1 from mutes m
                where m.account_id = $1 and m.target_id in (s.account_id, o.account_id)
                  and (m.expires_at is null or m.expires_at > now()))
           and not exists (select 1 from blocks b
                where (b.account_id = $1 and b.target_id in (s.account_id, o.account_id))
                   or (b.target_id = $1 and b.account_id in (s.account_id, o.account_id)))
         order by s.id desc",
    )
    .bind(viewer)
    .bind(ids)
    .fetch_all(connection)
    .await?)
}
