//! `POST /api/v1/accounts/{id}/remove_from_followers`.

use axum::Json;
use axum::extract::State;

use crate::auth::{Scope, User};
use crate::client::actions::requests;
use crate::client::entities::Relationship;
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn remove_from_followers(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteFollows)?;
    let (viewer, target) = load::pair(&app, user.account_id(), id).await?;
    requests::remove_follower(&app, &viewer, &target).await?;
    load::relationship_to(&app, viewer.id, target.id).await
}
