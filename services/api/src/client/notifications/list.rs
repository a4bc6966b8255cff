//! `GET /api/v1/notifications`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::auth::{Scope, User};
use crate::client::load::{self, NotificationRow};
use crate::client::page::read_page;
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::params::{Params, blank_as_none};
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    types: Vec<String>,
    exclude_types: Vec<String>,
    #[serde(deserialize_with = "blank_as_none")]
    account_id: Option<i64>,
}

pub(crate) async fn list(
    State(app): State<App>,
    user: User,
    paging: Paging,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    user.require(Scope::ReadNotifications)?;
    let viewer = user.account_id();
    let instance = &app.deps.instance;
    let mut connection = app.deps.pool.acquire().await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(40, 80),
        "select n.id, n.id from notifications n join accounts a on a.id = n.from_account_id
         where n.id < $1 and n.id > $2 and n.account_id = $4
           and ($5 = '{}' or n.kind = any($5)) and n.kind <> all($6)
           and ($7::bigint is null or n.from_account_id = $7)
           and a.suspended_at is null and a.deleted_at is null",
        by "n.id",
        viewer,
        &query.types,
        &query.exclude_types,
        query.account_id,
    )?;
    let mut rows: Vec<NotificationRow> = sqlx::query_as(
        "select id, kind, from_account_id, status_id, created_at from notifications
         where id = any($1) and account_id = $2",
    )
    .bind(page.items())
    .bind(viewer)
    .fetch_all(&mut *connection)
    .await?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    let body = load::notifications(&mut connection, instance, viewer, &rows).await?;
    let links = page.links(&paging, instance, Links::Always);
    Ok((links, Json(body)).into_response())
}
