//! `GET /api/v1/blocks`: whom the viewer blocks.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use crate::auth::{Scope, User};
use crate::client::load;
use crate::client::page::read_page;
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::state::App;

pub(crate) async fn blocks(
    State(app): State<App>,
    user: User,
    paging: Paging,
) -> ApiResult<Response> {
    user.require(Scope::ReadBlocks)?;
    let instance = &app.deps.instance;
    let mut connection = app.deps.pool.acquire().await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(40, 80),
        "select id, target_id from blocks where id < $1 and id > $2 and account_id = $4",
        by "id",
        user.account_id(),
    )?;
    let body = load::accounts_in_order(&mut connection, instance, &page.items()).await?;
    let links = page.links(&paging, instance, Links::WhenFull);
    Ok((links, Json(body)).into_response())
}
