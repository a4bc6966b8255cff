//! How others find us: WebFinger, host-meta, NodeInfo.

use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use tidegate_federation::{
    document::{self, NodeInfo},
    parse::local_resource,
};
use tidegate_model::INSTANCE_ACTOR_USERNAME;

use super::actors;
use crate::{
    error::{ApiError, ApiResult},
    state::{App, Registrations},
};

/// Mastodon's: who is found stays found.
const THREE_DAYS: &str = "public, max-age=259200";

/// Mastodon's: figures may lag.
const HALF_AN_HOUR: &str = "public, max-age=1800";

/// As long as any URL we look at.
const MAX_RESOURCE_BYTES: usize = 2_048;

#[derive(Debug, Deserialize)]
pub(super) struct Resource {
    resource: Option<String>,
}

/// `GET /.well-known/webfinger?resource=`.
pub(super) async fn webfinger(
    State(app): State<App>,
    Query(query): Query<Resource>,
) -> ApiResult<Response> {
    let resource = query
        .resource
        .filter(|resource| !resource.is_empty() && resource.len() <= MAX_RESOURCE_BYTES)
        .ok_or_else(|| ApiError::bad_request("Name an account as resource=acct:name@domain"))?;
    let us = &app.deps.instance;
    let username = local_resource(us, &resource).ok_or_else(ApiError::not_found)?;
    let answer = if username.eq_ignore_ascii_case(INSTANCE_ACTOR_USERNAME) {
        document::instance_webfinger(us)
    } else {
        let account = actors::local(&app, &username).await?;
        document::webfinger(us, &account.username)
    };
    Ok(cached(
        "application/jrd+json; charset=utf-8",
        THREE_DAYS,
        answer.to_string(),
    ))
}

/// `GET /.well-known/host-meta`.
pub(super) async fn host_meta(State(app): State<App>, headers: HeaderMap) -> Response {
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("json"));
    if wants_json {
        return host_meta_json(State(app)).await;
    }
    let xrd = document::host_meta_xrd(&app.deps.instance);
    cached("application/xrd+xml; charset=utf-8", THREE_DAYS, xrd)
}

/// `GET /.well-known/host-meta.json`.
pub(super) async fn host_meta_json(State(app): State<App>) -> Response {
    let links = document::host_meta_json(&app.deps.instance);
    cached(
        "application/jrd+json; charset=utf-8",
        THREE_DAYS,
        links.to_string(),
    )
}

/// `GET /.well-known/nodeinfo`.
pub(super) async fn nodeinfo_index(State(app): State<App>) -> Json<Value> {
    Json(document::nodeinfo_index(&app.deps.instance))
}

/// `GET /nodeinfo/2.0`.
pub(super) async fn nodeinfo(State(app): State<App>) -> ApiResult<Response> {
    let open_registrations = app.registrations().await? == Registrations::Open;
    let figures = app.figures().await?;
    let answer = document::nodeinfo(&NodeInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        users: figures.users,
        active_month: figures.active_month,
        active_half_year: figures.active_half_year,
        local_posts: figures.local_posts,
        open_registrations,
        name: app.options.title.clone(),
        description: app.options.description.clone(),
    });
    let content_type = "application/json; profile=\"http://nodeinfo.diaspora.software/ns/schema/2.0#\"; charset=utf-8";
    Ok(cached(content_type, HALF_AN_HOUR, answer.to_string()))
}

fn cached(content_type: &'static str, policy: &'static str, body: String) -> Response {
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, policy),
            (header::VARY, "Accept, Origin"),
        ],
        body,
    )
        .into_response()
}
