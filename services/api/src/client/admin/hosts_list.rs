//! `GET /api/tidegate/v1/admin/hosts`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tidegate_proto::delivery::v1::ListHostsRequest;

use super::entities::AdminHost;
use super::next_page::next_page;
use super::{answered, asked, may_look, with_deadline};
use crate::auth::User;
use crate::error::ApiResult;
use crate::params::{Params, blank_as_none};
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    state: String,
    paused: bool,
    backlog: bool,
    name: String,
    #[serde(deserialize_with = "blank_as_none")]
    limit: Option<i64>,
    after: String,
}

pub(crate) async fn list(
    State(app): State<App>,
    user: User,
    uri: Uri,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    may_look(&user)?;
    let limit = asked::limit(query.limit)?;
    let mut hosts = app.deps.hosts.clone();
    let request = with_deadline(ListHostsRequest {
        state: query.state,
        paused: query.paused,
        backlog: query.backlog,
        name_prefix: query.name,
        limit: limit as i64,
        after: query.after,
    });
    let stream = answered(hosts.list(request)).await?;
    let rows = asked::page(stream, limit).await?;
    let body: Vec<AdminHost> = rows.into_iter().map(AdminHost::from).collect();
    let is_full = body.len() == limit;
    let last = body
        .last()
        .filter(|_| is_full)
        .map(|host| host.host.as_str());
    let links = next_page(&app.deps.instance, &uri, last);
    Ok((links, Json(body)).into_response())
}
