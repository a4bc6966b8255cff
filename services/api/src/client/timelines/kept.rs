//! `GET /api/v1/bookmarks` and `/api/v1/favourites`: posts that the viewer kept for later or
//! favourited, the latest first.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use sqlx::PgConnection;

use crate::auth::{Scope, User};
use crate::client::load;
use crate::client::page::{Page, read_page};
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::state::App;

pub(crate) async fn bookmarks(
    State(app): State<App>,
    user: User,
    paging: Paging,
) -> ApiResult<Response> {
    user.require(Scope::ReadBookmarks)?;
    let viewer = user.account_id();
    let mut connection = app.deps.pool.acquire().await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(20, 40),
        "select id, status_id from bookmarks where id < $1 and id > $2 and account_id = $4",
        by "id",
        viewer,
    )?;
    shown(&app, &mut connection, viewer, &paging, &page).await
}

pub(crate) async fn favourites(
    State(app): State<App>,
    user: User,
    paging: Paging,
) -> ApiResult<Response> {
    user.require(Scope::ReadFavourites)?;
    let viewer = user.account_id();
    let mut connection = app.deps.pool.acquire().await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(20, 40),
        "select id, status_id from favourites where id < $1 and id > $2 and account_id = $4",
        by "id",
        viewer,
    )?;
    shown(&app, &mut connection, viewer, &paging, &page).await
}

/// Those of a page that the viewer may still see.
async fn shown(
    app: &App,
    connection: &mut PgConnection,
    viewer: i64,
    paging: &Paging,
    page: &Page,
) -> ApiResult<Response> {
    let instance = &app.deps.instance;
    let body = load::visible_in_order(connection, instance, Some(viewer), &page.items()).await?;
    let links = page.links(paging, instance, Links::WhenFull);
    Ok((links, Json(body)).into_response())
}
