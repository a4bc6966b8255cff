//! `POST /api/tidegate/v1/admin/hosts/{host}/pause`: nothing more is sent to the host.

use axum::Json;
use axum::extract::{Path, State};

use super::entities::Steered;
use super::steer::{Act, steer};
use crate::auth::User;
use crate::error::ApiResult;
use crate::params::Params;
use crate::state::App;

pub(crate) async fn pause(
    State(app): State<App>,
    user: User,
    Path(host): Path<String>,
    Params(act): Params<Act>,
) -> ApiResult<Json<Steered>> {
    let mut hosts = app.deps.hosts.clone();
    steer(&user, host, act, |request| async move {
        hosts.pause(request).await
    })
    .await
}
