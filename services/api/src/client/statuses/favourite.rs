//! `POST /api/v1/statuses/{id}/favourite` and `/unfavourite`.

use axum::Json;
use axum::extract::State;

use super::seen;
use crate::auth::{Scope, User};
use crate::client::actions::favourite;
use crate::client::entities::Status;
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn favourite(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Status>> {
    set(&app, &user, id, true).await
}

pub(crate) async fn unfavourite(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Status>> {
    set(&app, &user, id, false).await
}

async fn set(app: &App, user: &User, id: i64, on: bool) -> ApiResult<Json<Status>> {
    user.require(Scope::WriteFavourites)?;
    let viewer = user.account_id();
    let (account, target) = {
        let mut connection = app.deps.pool.acquire().await?;
        let row = seen(&mut connection, Some(viewer), id).await?;
        // What is done to a boost is done to its original.
        let target = match row.reblog_of_id {
            Some(original) => seen(&mut connection, Some(viewer), original).await?,
            None => row,
        };
        (load::account_of(&mut connection, viewer).await?, target)
    };
    if on {
        favourite::favourite(app, &account, &target).await?;
    } else {
        favourite::unfavourite(app, &account, &target).await?;
    }
    let mut connection = app.deps.pool.acquire().await?;
    let row = seen(&mut connection, Some(viewer), target.id).await?;
    let body = load::status(&mut connection, &app.deps.instance, Some(viewer), &row).await?;
    Ok(Json(body))
}
