//! `POST /api/v1/accounts/{id}/block` and `/unblock`.

use axum::Json;
use axum::extract::State;

use crate::auth::{Scope, User};
use crate::client::actions::block;
use crate::client::entities::Relationship;
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn block(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteBlocks)?;
    let (viewer, target) = load::pair(&app, user.account_id(), id).await?;
    block::block(&app, &viewer, &target).await?;
    load::relationship_to(&app, viewer.id, target.id).await
}

pub(crate) async fn unblock(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteBlocks)?;
    let (viewer, target) = load::pair(&app, user.account_id(), id).await?;
    block::unblock(&app, &viewer, &target).await?;
    load::relationship_to(&app, viewer.id, target.id).await
}
