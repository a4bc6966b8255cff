//! `GET /api/tidegate/v1/statuses/{id}/delivery`: where a post went, for its author alone.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_proto::delivery::v1::{PerStatusRequest, StatusHost};

use super::own;
use crate::auth::{Scope, User};
use crate::client::admin::{answered, from_millis, with_deadline};
use crate::client::id::Id;
use crate::error::ApiResult;
use crate::state::App;

/// Where a post went. Words are from a fixed list, never remote text.
#[derive(Debug, Serialize)]
pub(crate) struct Delivery {
    totals: Totals,
    /// Hosts that have not got everything, at most 200.
    hosts: Vec<Lacking>,
    /// How many there are.
    hosts_total: i64,
}

#[derive(Debug, Serialize)]
struct Totals {
    queued: i64,
    parked: i64,
    delivered: i64,
    dead: i64,
    cancelled: i64,
}

#[derive(Debug, Serialize)]
struct Lacking {
    host: String,
    state: String,
    reason: Option<String>,
    attempts: i32,
    last_status: Option<i32>,
    next_try_at: Option<String>,
}

impl From<StatusHost> for Lacking {
    fn from(host: StatusHost) -> Self {
        Self {
            host: host.host,
            state: host.state,
            reason: Some(host.reason).filter(|reason| !reason.is_empty()),
            attempts: host.attempts,
            last_status: (host.last_status != 0).then_some(host.last_status),
            next_try_at: from_millis(host.next_try_at),
        }
    }
}

pub(crate) async fn delivery(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Delivery>> {
    user.require(Scope::ReadStatuses)?;
    let mut connection = app.deps.pool.acquire().await?;
    own(&mut connection, user.account_id(), id).await?;
    // The delivery role is not awaited with a connection in hand.
    drop(connection);
    let mut deliveries = app.deps.deliveries.clone();
    let request = with_deadline(PerStatusRequest { status_id: id });
    let found = answered(deliveries.per_status(request)).await?;
    Ok(Json(Delivery {
        totals: Totals {
            queued: found.queued,
            parked: found.parked,
            delivered: found.delivered,
            dead: found.dead,
            cancelled: found.cancelled,
        },
        hosts: found.hosts.into_iter().map(Lacking::from).collect(),
        hosts_total: found.hosts_total,
    }))
}
