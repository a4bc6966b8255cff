//! Which deliveries are meant, and moving many of them within one request.

use std::time::Duration;

use axum::Json;
use serde::Deserialize;
use tidegate_proto::delivery::v1::{DeliveryFilter, MoveRequest, Progress};
use tokio::time::{Instant, timeout_at};
use tonic::Streaming;

use super::asked::refused;
use super::entities::Movement;
use crate::auth::User;
use crate::error::{ApiError, ApiResult};
use crate::params::blank_as_none;

/// How long one request moves rows: below what proxies wait for an answer. What is not done
/// then is done by the same request once more.
const AT_WORK: Duration = Duration::from_secs(20);

/// What operators ask with; everything that is set must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    state: String,
    host: String,
    actor: String,
    reason: String,
    #[serde(deserialize_with = "blank_as_none")]
    older_than: Option<i64>,
    #[serde(deserialize_with = "blank_as_none")]
    younger_than: Option<i64>,
    #[serde(deserialize_with = "blank_as_none")]
    status_id: Option<i64>,
    #[serde(deserialize_with = "blank_as_none")]
    activity_id: Option<i64>,
    #[serde(deserialize_with = "blank_as_none")]
    pub(super) limit: Option<i64>,
    /// For lists: where the page starts.
    pub(super) after: String,
    /// For acts: every delivery is meant.
    all: bool,
    /// For acts: why.
    comment: String,
}

impl Asked {
    /// As the delivery role is asked.
    pub(super) fn filter(&self) -> ApiResult<DeliveryFilter> {
        let ages = [self.older_than, self.younger_than];
        if ages.into_iter().flatten().any(i64::is_negative) {
            return Err(ApiError::bad_request("an age must not be negative"));
        }
        Ok(DeliveryFilter {
            state: self.state.clone(),
            host: self.host.clone(),
            actor: self.actor.clone(),
            reason: self.reason.clone(),
            older_than: self.older_than,
            younger_than: self.younger_than,
            status_id: self.status_id.unwrap_or(0),
            activity_id: self.activity_id.unwrap_or(0),
        })
    }

    /// The same for an act of this person.
    pub(super) fn order(self, user: &User) -> ApiResult<MoveRequest> {
        if self.limit.is_some_and(|limit| limit < 1) {
            return Err(ApiError::bad_request("limit must be positive"));
        }
        Ok(MoveRequest {
            filter: Some(self.filter()?),
            all: self.all,
            limit: self.limit.unwrap_or(0),
            account_id: user.account_id(),
            reason: self.comment,
        })
    }
}

/// Reads progress until the work is finished or its time is up; work ends with the reading.
pub(super) async fn follow(mut steps: Streaming<Progress>) -> ApiResult<Json<Movement>> {
    let until = Instant::now() + AT_WORK;
    let mut last = Progress::default();
    while !last.finished {
        match timeout_at(until, steps.message()).await {
            Ok(Ok(Some(step))) => last = step,
            Ok(Ok(None)) => break,
            Ok(Err(status)) => return Err(refused(status)),
            Err(_) => {
                "There is more to do: send the same request again to go on."
                    .clone_into(&mut last.note);
                break;
            }
        }
    }
    Ok(Json(last.into()))
}
