//! `POST /api/v1/accounts/{id}/unfollow`.

use axum::Json;
use axum::extract::State;

use crate::auth::{Scope, User};
use crate::client::actions::follow;
use crate::client::entities::Relationship;
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn unfollow(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteFollows)?;
    let (viewer, target) = load::pair(&app, user.account_id(), id).await?;
    follow::unfollow(&app, &viewer, &target).await?;
    load::relationship_to(&app, viewer.id, target.id).await
}
