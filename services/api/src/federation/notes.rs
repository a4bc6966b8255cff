//! Posts and the activities that made them. What is not public is there only for a reader who
//! is addressed and signs for it; for everybody else it does not exist.

use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tidegate_federation::document::{self, Page};
use tidegate_store::{
    accounts::Account,
    statuses::{self, Status},
};

use super::{
    activitypub::{Keep, document as answer, wants_page},
    actors, documents,
    reader::Reader,
};
use crate::{
    error::{ApiError, ApiResult},
    state::App,
    web,
};

/// Replies named on one page.
const REPLIES_PAGE: i64 = 60;

async fn find(
    app: &App,
    name: &str,
    id: &str,
    reader: Reader,
) -> ApiResult<(Account, Status, Keep)> {
    let account = actors::local(app, name).await?;
    let id: i64 = id.parse().map_err(|_| ApiError::not_found())?;
    let post = statuses::visible(&app.deps.pool, &[id], reader.0)
        .await?
        .into_iter()
        .find(|post| post.account_id == account.id && post.local)
        .ok_or_else(ApiError::not_found)?;
    let keep = if post.visibility().is_open() && reader.0.is_none() {
        Keep::Public
    } else {
        Keep::Private
    };
    Ok((account, post, keep))
}

/// `GET /users/:name/statuses/:id`.
pub(super) async fn show(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
    reader: Reader,
    headers: HeaderMap,
) -> Response {
    if wants_page(&headers) {
        return match find(&app, &name, &id, Reader(None)).await {
            Ok((account, post, _)) => {
                web::redirect_or_page(&app.deps.instance.status_page(&account.username, post.id))
            }
            Err(error) => web::PageError::from(error).into_response(),
        };
    }
    note(&app, &name, &id, reader).await.into_response()
}

async fn note(app: &App, name: &str, id: &str, reader: Reader) -> ApiResult<Response> {
    let (account, post, keep) = find(app, name, id, reader).await?;
    if post.reblog_of_id.is_some() {
        return Err(ApiError::not_found());
    }
    let mut connection = app.deps.pool.acquire().await?;
    let notes = documents::notes(&mut connection, &account, &[post]).await?;
    let note = notes.first().ok_or_else(ApiError::not_found)?;
    Ok(answer(&document::note(&app.deps.instance, note), keep))
}

/// `GET /users/:name/statuses/:id/activity`.
pub(super) async fn activity(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
    reader: Reader,
) -> ApiResult<Response> {
    let (account, post, keep) = find(&app, &name, &id, reader).await?;
    let us = &app.deps.instance;
    let mut connection = app.deps.pool.acquire().await?;
    let activities = documents::activities(&mut connection, us, &account, &[post]).await?;
    let activity = activities.first().ok_or_else(ApiError::not_found)?;
    Ok(answer(activity, keep))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RepliesQuery {
    page: Option<String>,
    min_id: Option<i64>,
}

/// `GET /users/:name/statuses/:id/replies`: public replies known here, oldest first.
pub(super) async fn replies(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
    Query(query): Query<RepliesQuery>,
    reader: Reader,
) -> ApiResult<Response> {
    let (_, post, keep) = find(&app, &name, &id, reader).await?;
    let base = format!("{}/replies", post.uri);
    if query.page.is_none() {
        let total = u64::try_from(post.replies_count).unwrap_or(0);
        let first = format!("{base}?page=true");
        return Ok(answer(
            &document::collection(&base, total, &first, None),
            keep,
        ));
    }
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "select s.id, s.uri from statuses s join accounts a on a.id = s.account_id
         where s.in_reply_to_id = $1 and s.id > $2 and s.deleted_at is null
           and s.visibility in ('public', 'unlisted')
           and a.suspended_at is null and a.deleted_at is null
         order by s.id limit $3",
    )
    .bind(post.id)
    .bind(query.min_id.unwrap_or(0))
    .bind(REPLIES_PAGE)
    .fetch_all(&app.deps.pool)
    .await?;
    let is_full = rows.len() as i64 == REPLIES_PAGE;
    let page = Page {
        id: match query.min_id {
            Some(id) => format!("{base}?min_id={id}&page=true"),
            None => format!("{base}?page=true"),
        },
        part_of: base.clone(),
        total: None,
        prev: None,
        next: rows
            .last()
            .filter(|_| is_full)
            .map(|(id, _)| format!("{base}?min_id={id}&page=true")),
        items: rows.into_iter().map(|(_, uri)| uri.into()).collect(),
    };
    Ok(answer(&document::collection_page(page), keep))
}
