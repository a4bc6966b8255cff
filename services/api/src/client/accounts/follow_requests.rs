//! `GET /api/v1/follow_requests`, and the two answers to one.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use crate::auth::{Scope, User};
use crate::client::actions::requests;
use crate::client::entities::Relationship;
use crate::client::id::Id;
use crate::client::load;
use crate::client::page::read_page;
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::state::App;

pub(crate) async fn list(
    State(app): State<App>,
    user: User,
    paging: Paging,
) -> ApiResult<Response> {
    user.require(Scope::ReadFollows)?;
    let instance = &app.deps.instance;
    let mut connection = app.deps.pool.acquire().await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(40, 80),
        "select f.id, f.account_id from follows f join accounts a on a.id = f.account_id
         where f.id < $1 and f.id > $2 and f.target_id = $4 and f.state = 'pending'
           and a.suspended_at is null and a.deleted_at is null",
        by "f.id",
        user.account_id(),
    )?;
    let body = load::accounts_in_order(&mut connection, instance, &page.items()).await?;
    let links = page.links(&paging, instance, Links::WhenFull);
    Ok((links, Json(body)).into_response())
}

pub(crate) async fn authorize(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteFollows)?;
    let (viewer, follower) = load::pair(&app, user.account_id(), id).await?;
    requests::authorize(&app, &viewer, &follower).await?;
    load::relationship_to(&app, viewer.id, follower.id).await
}

pub(crate) async fn reject(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteFollows)?;
    let (viewer, follower) = load::pair(&app, user.account_id(), id).await?;
    requests::reject(&app, &viewer, &follower).await?;
    load::relationship_to(&app, viewer.id, follower.id).await
}
