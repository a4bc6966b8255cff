//! `POST /api/tidegate/v1/admin/deliveries/replay`: dead ones get another life.

use axum::Json;
use axum::extract::State;

use super::entities::Movement;
use super::moved::{Asked, follow};
use super::{answered, may_act, with_deadline};
use crate::auth::User;
use crate::error::ApiResult;
use crate::params::Params;
use crate::state::App;

pub(crate) async fn replay(
    State(app): State<App>,
    user: User,
    Params(asked): Params<Asked>,
) -> ApiResult<Json<Movement>> {
    may_act(&user)?;
    let mut deliveries = app.deps.deliveries.clone();
    let order = with_deadline(asked.order(&user)?);
    follow(answered(deliveries.replay(order)).await?).await
}
