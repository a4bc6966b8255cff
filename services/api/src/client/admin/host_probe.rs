//! `POST /api/tidegate/v1/admin/hosts/{host}/probe`: a host that fails is tried now.

use axum::Json;
use axum::extract::{Path, State};

use super::entities::Steered;
use super::steer::{Act, steer};
use crate::auth::User;
use crate::error::ApiResult;
use crate::params::Params;
use crate::state::App;

pub(crate) async fn probe(
    State(app): State<App>,
    user: User,
    Path(host): Path<String>,
    Params(act): Params<Act>,
) -> ApiResult<Json<Steered>> {
    let mut hosts = app.deps.hosts.clone();
    steer(&user, host, act, |request| async move {
        hosts.probe_now(request).await
    })
    .await
}
