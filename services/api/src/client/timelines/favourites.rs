//! `GET /api/v1/favourites`: posts that the viewer favourited.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use crate::auth::{Scope, User};
use crate::client::load;
use crate::client::page::read_page;
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::state::App;

pub(crate) async fn favourites(
    State(app): State<App>,
    user: User,
    paging: Paging,
) -> ApiResult<Response> {
    user.require(Scope::ReadFavourites)?;
    let viewer = user.account_id();
    let instance = &app.deps.instance;
    let mut connection = app.deps.pool.acquire().await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(20, 40),
        "select id, status_id from favourites where id < $1 and id > $2 and account_id = $4",
        by "id",
        viewer,
    )?;
    let body =
        load::visible_in_order(&mut connection, instance, Some(viewer), &page.items()).await?;
    let links = page.links(&paging, instance, Links::WhenFull);
    Ok((links, Json(body)).into_response())
}
