//! What surrounds every route: request ids, metrics, CORS, security headers, the limit of
//! bodies, panics caught, and trailing slashes accepted.

use std::{
    any::Any,
    sync::LazyLock,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tidegate_telemetry::prometheus::{HistogramVec, IntCounterVec};
use tower_http::{catch_panic::CatchPanicLayer, normalize_path::NormalizePath};
use uuid::Uuid;

use crate::{
    error::ApiError,
    params::{MAX_BODY_BYTES, malformed},
    state::App,
};

static REQUESTS: LazyLock<IntCounterVec> = tidegate_telemetry::counter!(
    "tidegate_api_requests_total",
    "Requests answered, by route and class of status.",
    ["route", "class"]
);

static SECONDS: LazyLock<HistogramVec> = tidegate_telemetry::histogram!(
    "tidegate_api_request_seconds",
    "Time from the request's head to the answer's head, by route.",
    ["route"],
    // From a cached answer to the time at which clients give up.
    vec![
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0
    ]
);

/// The longest any request may take. Remote servers' time-outs are around ten seconds, apps'
/// around thirty.
const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Answers that browser clients may read.
const EXPOSED_HEADERS: &str = "Link, Mastodon-Async-Refresh, X-RateLimit-Reset, \
    X-RateLimit-Limit, X-RateLimit-Remaining, X-Request-Id";

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Puts everything common around the routes.
pub(crate) fn wrap(routes: Router<App>, app: App) -> Router {
    let inner = routes
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(cors))
        .layer(middleware::from_fn(observe))
        .with_state(app);
    // The slash is trimmed before routing, so the router is wrapped as a whole.
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(inner))
}

async fn unknown_route() -> ApiError {
    ApiError::not_found()
}

async fn wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed")
}

fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    ApiError::internal(&format_args!("a handler panicked: {text}")).into_response()
}

/// Request id, time limit, metrics and the headers that every answer carries.
async fn observe(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let started = Instant::now();
    let handling = async {
        // No name that could be looked up has one, and the database takes it for an error (E7).
        let asked = request.uri().path_and_query();
        if asked.is_some_and(|asked| asked.as_str().contains("%00")) {
            return malformed().into_response();
        }
        next.run(request).await
    };
    let mut response = match tokio::time::timeout(REQUEST_TIME_LIMIT, handling).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable().into_response(),
    };
    SECONDS
        .with_label_values(&[&route])
        .observe(started.elapsed().as_secs_f64());
    REQUESTS
        .with_label_values(&[route.as_str(), class(response.status())])
        .inc();
    common_headers(response.headers_mut());
    response
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

fn common_headers(headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        headers.insert(REQUEST_ID.clone(), id);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Pages bring a policy of their own; everything else is data.
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        );
    }
}

/// What a browser on any other site may do with a path; `None` for nothing.
fn cors_methods(path: &str) -> Option<&'static str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.starts_with("/api/") {
        return Some("GET, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    if matches!(path, "/oauth/token" | "/oauth/revoke") {
        return Some("POST, OPTIONS");
    }
    if path == "/oauth/userinfo" {
        return Some("GET, POST, OPTIONS");
    }
    let is_actor = path
        .strip_prefix("/users/")
        .or_else(|| path.strip_prefix("/@"))
        .is_some_and(|name| !name.contains('/'));
    (is_actor || path.starts_with("/.well-known/") || path.starts_with("/nodeinfo/"))
        .then_some("GET, OPTIONS")
}

async fn cors(request: Request, next: Next) -> Response {
    let Some(methods) = cors_methods(request.uri().path()) else {
        return next.run(request).await;
    };
    let is_preflight = request.method() == Method::OPTIONS;
    let asked_headers = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .cloned();
    let mut response = if is_preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED_HEADERS),
    );
    if is_preflight {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(methods),
        );
        if let Some(asked) = asked_headers {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
        // Two hours, the most that browsers keep a preflight.
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("7200"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sites_reach_the_api_but_not_the_pages() {
        for path in [
            "/api/v1/statuses",
            "/oauth/token",
            "/oauth/revoke/",
            "/.well-known/webfinger",
            "/nodeinfo/2.0",
            "/@ada",
            "/users/ada",
        ] {
            assert!(cors_methods(path).is_some(), "{path}");
        }
        for path in [
            "/oauth/authorize",
            "/auth/sign_in",
            "/inbox",
            "/users/ada/inbox",
            "/",
        ] {
            assert!(cors_methods(path).is_none(), "{path}");
        }
    }
}
