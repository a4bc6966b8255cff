//! `GET /api/v1/accounts/{id}/followers` and `/following`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use crate::auth::{MaybeUser, Scope};
use crate::client::id::Id;
use crate::client::load;
use crate::client::page::{Page, read_page};
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::state::App;

/// Whom the list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Followers,
    Following,
}

pub(crate) async fn followers(
    state: State<App>,
    viewer: MaybeUser,
    id: Id,
    paging: Paging,
) -> ApiResult<Response> {
    list(state, viewer, id, paging, Side::Followers).await
}

pub(crate) async fn following(
    state: State<App>,
    viewer: MaybeUser,
    id: Id,
    paging: Paging,
) -> ApiResult<Response> {
    list(state, viewer, id, paging, Side::Following).await
}

async fn list(
    State(app): State<App>,
    viewer: MaybeUser,
    Id(id): Id,
    paging: Paging,
    side: Side,
) -> ApiResult<Response> {
    viewer.require(Scope::ReadAccounts)?;
    let viewer = viewer.account_id();
    let instance = &app.deps.instance;
    let limit = paging.limit(40, 80);
    let mut connection = app.deps.pool.acquire().await?;
    let account = load::account_of(&mut connection, id).await?;
    let hidden = account.hide_collections == Some(true) && viewer != Some(id);
    let page = if hidden || account.suspended_at.is_some() {
        Page::default()
    } else {
        match side {
            Side::Followers => read_page!(
                &mut *connection,
                paging,
                limit,
                "select f.id, f.account_id from follows f join accounts a on a.id = f.account_id
                 where f.id < $1 and f.id > $2 and f.target_id = $4 and f.state = 'accepted'
                   and a.suspended_at is null and a.deleted_at is null",
                by "f.id",
                id,
            )?,
            Side::Following => read_page!(
                &mut *connection,
                paging,
                limit,
                "select f.id, f.target_id from follows f join accounts a on a.id = f.target_id
                 where f.id < $1 and f.id > $2 and f.account_id = $4 and f.state = 'accepted'
                   and a.suspended_at is null and a.deleted_at is null",
                by "f.id",
                id,
            )?,
        }
    };
    let body = load::accounts_in_order(&mut connection, instance, &page.items()).await?;
    let links = page.links(&paging, instance, Links::WhenFull);
    Ok((links, Json(body)).into_response())
}
