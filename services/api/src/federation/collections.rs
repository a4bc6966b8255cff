//! Outboxes, followers, following.

use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde::Deserialize;
use tidegate_federation::document::{self, Page};
use tidegate_store::{accounts::Account, statuses};

use super::{
    activitypub::{Keep, document as answer},
    actors, documents,
};
use crate::{
    error::{ApiError, ApiResult},
    state::App,
};

/// Mastodon's page sizes; others were tuned to them.
const OUTBOX_PAGE: i64 = 20;
const FOLLOWS_PAGE: i64 = 12;

/// A page number beyond this is nobody's reading: it would cost the database a long walk.
const LAST_PAGE: i64 = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OutboxQuery {
    page: Option<String>,
    max_id: Option<i64>,
    min_id: Option<i64>,
}

/// `GET /users/:name/outbox`.
pub(super) async fn outbox(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<OutboxQuery>,
) -> ApiResult<Response> {
    let account = actors::local(&app, &name).await?;
    let id = &account.outbox_url;
    if query.page.is_none() {
        let total = u64::try_from(account.statuses_count).unwrap_or(0);
        let first = format!("{id}?page=true");
        let last = format!("{id}?min_id=0&page=true");
        let collection = document::collection(id, total, &first, Some(&last));
        return Ok(answer(&collection, Keep::Public));
    }
    outbox_page(&app, &account, &query).await
}

async fn outbox_page(app: &App, account: &Account, query: &OutboxQuery) -> ApiResult<Response> {
    let mut ids: Vec<i64> = sqlx::query_scalar(
        "select id from statuses
         where account_id = $1 and deleted_at is null and visibility in ('public', 'unlisted')
           and ($2::bigint is null or id < $2) and ($3::bigint is null or id > $3)
         order by case when $3 is null then -id else id end
         limit $4",
    )
    .bind(account.id)
    .bind(query.max_id)
    .bind(query.min_id)
    .bind(OUTBOX_PAGE)
    .fetch_all(&app.deps.pool)
    .await?;
    ids.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
    let mut connection = app.deps.pool.acquire().await?;
    // The one rule of who sees what, with nobody's eyes.
    let mut rows = statuses::visible(&mut *connection, &ids, None).await?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    let us = &app.deps.instance;
    let items = documents::activities(&mut connection, us, account, &rows).await?;
    let base = &account.outbox_url;
    let is_full = ids.len() as i64 == OUTBOX_PAGE;
    let here = match (query.max_id, query.min_id) {
        (_, Some(id)) => format!("{base}?min_id={id}&page=true"),
        (Some(id), None) => format!("{base}?max_id={id}&page=true"),
        (None, None) => format!("{base}?page=true"),
    };
    let page = Page {
        id: here,
        part_of: base.clone(),
        total: None,
        prev: ids
            .first()
            .map(|id| format!("{base}?min_id={id}&page=true")),
        next: ids
            .last()
            .filter(|_| is_full)
            .map(|id| format!("{base}?max_id={id}&page=true")),
        items,
    };
    Ok(answer(&document::collection_page(page), Keep::Public))
}

/// `GET /actor/outbox`: the instance says nothing of its own.
pub(super) async fn instance_outbox(State(app): State<App>) -> Response {
    let id = format!("{}/outbox", app.deps.instance.instance_actor());
    answer(&document::hidden_collection(&id, 0), Keep::Public)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PageQuery {
    page: Option<i64>,
}

/// `GET /users/:name/followers`.
pub(super) async fn followers(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Response> {
    let account = actors::local(&app, &name).await?;
    let (id, total) = (account.followers_url.clone(), account.followers_count);
    let uris = "select a.uri from follows f join accounts a on a.id = f.account_id
                where f.target_id = $1 and f.state = 'accepted' and a.deleted_at is null
                  and a.suspended_at is null
                order by f.id desc limit $2 offset $3";
    follows(&app, &account, &id, total, query.page, uris).await
}

/// `GET /users/:name/following`.
pub(super) async fn following(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Response> {
    let account = actors::local(&app, &name).await?;
    let (id, total) = (account.following_url.clone(), account.following_count);
    let uris = "select a.uri from follows f join accounts a on a.id = f.target_id
                where f.account_id = $1 and f.state = 'accepted' and a.deleted_at is null
                  and a.suspended_at is null
                order by f.id desc limit $2 offset $3";
    follows(&app, &account, &id, total, query.page, uris).await
}

async fn follows(
    app: &App,
    account: &Account,
    id: &str,
    total: i64,
    page: Option<i64>,
    uris: &'static str,
) -> ApiResult<Response> {
    let total = u64::try_from(total).unwrap_or(0);
    if account.hide_collections.unwrap_or(false) {
        return match page {
            None => Ok(answer(
                &document::hidden_collection(id, total),
                Keep::Public,
            )),
            Some(_) => Err(ApiError::not_allowed()),
        };
    }
    let Some(number) = page else {
        let first = format!("{id}?page=1");
        let collection = document::collection(id, total, &first, None);
        return Ok(answer(&collection, Keep::Public));
    };
    if !(1..=LAST_PAGE).contains(&number) {
        return Err(ApiError::not_found());
    }
    let items: Vec<String> = sqlx::query_scalar(uris)
        .bind(account.id)
        .bind(FOLLOWS_PAGE)
        .bind((number - 1) * FOLLOWS_PAGE)
        .fetch_all(&app.deps.pool)
        .await?;
    let is_full = items.len() as i64 == FOLLOWS_PAGE;
    let page = Page {
        id: format!("{id}?page={number}"),
        part_of: id.to_owned(),
        total: Some(total),
        prev: (number > 1).then(|| format!("{id}?page={}", number - 1)),
        next: is_full.then(|| format!("{id}?page={}", number + 1)),
        items: items.into_iter().map(Into::into).collect(),
    };
    Ok(answer(&document::collection_page(page), Keep::Public))
}
