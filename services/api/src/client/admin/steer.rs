//! What the three acts on a host have in common.

use axum::Json;
use serde::Deserialize;
use tidegate_proto::delivery::v1::{SteerHostRequest, SteerHostResponse};
use tonic::{Request, Response, Status};

use super::entities::Steered;
use super::{answered, may_act, with_deadline};
use crate::auth::User;
use crate::error::ApiResult;

/// What comes with an act.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Act {
    /// Why; kept with the act.
    comment: String,
}

/// Acts on a host in the person's name, if they may.
pub(super) async fn steer<F>(
    user: &User,
    host: String,
    act: Act,
    call: impl FnOnce(Request<SteerHostRequest>) -> F,
) -> ApiResult<Json<Steered>>
where
    F: Future<Output = Result<Response<SteerHostResponse>, Status>>,
{
    may_act(user)?;
    let request = with_deadline(SteerHostRequest {
        host,
        reason: act.comment,
        account_id: user.account_id(),
    });
    let answer = answered(call(request)).await?;
    Ok(Json(Steered {
        host: answer.host.map(Into::into),
        note: answer.note,
    }))
}
