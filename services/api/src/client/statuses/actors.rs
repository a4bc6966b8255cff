//! `GET /api/v1/statuses/{id}/reblogged_by` and `/favourited_by`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use sqlx::PgConnection;

use super::seen;
use crate::auth::{MaybeUser, Scope};
use crate::client::id::Id;
use crate::client::load;
use crate::client::page::{Page, read_page};
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::state::App;

pub(crate) async fn reblogged_by(
    State(app): State<App>,
    viewer: MaybeUser,
    Id(id): Id,
    paging: Paging,
) -> ApiResult<Response> {
    viewer.require(Scope::ReadAccounts)?;
    let mut connection = app.deps.pool.acquire().await?;
    seen(&mut connection, viewer.account_id(), id).await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(40, 80),
        "select s.id, s.account_id from statuses s join accounts a on a.id = s.account_id
         where s.id < $1 and s.id > $2 and s.reblog_of_id = $4 and s.deleted_at is null
           and s.visibility in ('public', 'unlisted')
           and a.suspended_at is null and a.deleted_at is null",
        by "s.id",
        id,
    )?;
    shown(&app, &mut connection, &paging, &page).await
}

pub(crate) async fn favourited_by(
    State(app): State<App>,
    viewer: MaybeUser,
    Id(id): Id,
    paging: Paging,
) -> ApiResult<Response> {
    viewer.require(Scope::ReadAccounts)?;
    let mut connection = app.deps.pool.acquire().await?;
    seen(&mut connection, viewer.account_id(), id).await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(40, 80),
        "select f.id, f.account_id from favourites f join accounts a on a.id = f.account_id
         where f.id < $1 and f.id > $2 and f.status_id = $4
           and a.suspended_at is null and a.deleted_at is null",
        by "f.id",
        id,
    )?;
    shown(&app, &mut connection, &paging, &page).await
}

/// The accounts of a page.
async fn shown(
    app: &App,
    connection: &mut PgConnection,
    paging: &Paging,
    page: &Page,
) -> ApiResult<Response> {
    let instance = &app.deps.instance;
    let body = load::accounts_in_order(connection, instance, &page.items()).await?;
    let links = page.links(paging, instance, Links::WhenFull);
    Ok((links, Json(body)).into_response())
}
