//! `GET /api/tidegate/v1/admin/hosts/{host}`.

use axum::Json;
use axum::extract::{Path, State};
use tidegate_proto::delivery::v1::ShowHostRequest;

use super::entities::AdminHost;
use super::{answered, may_look, with_deadline};
use crate::auth::User;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn show(
    State(app): State<App>,
    user: User,
    Path(host): Path<String>,
) -> ApiResult<Json<AdminHost>> {
    may_look(&user)?;
    let mut hosts = app.deps.hosts.clone();
    let found = answered(hosts.show(with_deadline(ShowHostRequest { host }))).await?;
    Ok(Json(found.into()))
}
