//! `GET /api/tidegate/v1/admin/deliveries`: oldest first.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use tidegate_proto::delivery::v1::{DeliveryCursor, ListDeliveriesRequest};

use super::entities::Delivery;
use super::moved::Asked;
use super::next_page::next_page;
use super::{answered, asked, may_look, with_deadline};
use crate::auth::User;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::state::App;

pub(crate) async fn list(
    State(app): State<App>,
    user: User,
    uri: Uri,
    Params(asked): Params<Asked>,
) -> ApiResult<Response> {
    may_look(&user)?;
    let limit = asked::limit(asked.limit)?;
    let mut deliveries = app.deps.deliveries.clone();
    let request = with_deadline(ListDeliveriesRequest {
        limit: limit as i64,
        after: after(&asked.after)?,
        filter: Some(asked.filter()?),
    });
    let stream = answered(deliveries.list(request)).await?;
    let rows = asked::page(stream, limit).await?;
    let body: Vec<Delivery> = rows.into_iter().map(Delivery::from).collect();
    let is_full = body.len() == limit;
    let last = body.last().filter(|_| is_full).map(|row| row.id.as_str());
    let links = next_page(&app.deps.instance, &uri, last);
    Ok((links, Json(body)).into_response())
}

/// The delivery that a page starts after.
fn after(text: &str) -> ApiResult<Option<DeliveryCursor>> {
    if text.is_empty() {
        return Ok(None);
    }
    let cursor = text.split_once('-').and_then(|(activity_id, inbox_id)| {
        Some(DeliveryCursor {
            activity_id: activity_id.parse().ok()?,
            inbox_id: inbox_id.parse().ok()?,
        })
    });
    let wrong = || ApiError::bad_request("after must be the id of a delivery");
    cursor.map(Some).ok_or_else(wrong)
}
