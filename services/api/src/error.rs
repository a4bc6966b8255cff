//! Errors as Mastodon's clients know them. Internals are logged here, once, and never sent.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tidegate_proto::{ErrorCode, ServiceError};
use tidegate_queue::QueueError;
use tidegate_store::{StoreError, VaultError};
use tidegate_timeline::TimelineError;

/// How long a client waits after a 503. A broker or database that restarts is back within this;
/// peers retry for days anyway.
const RETRY_AFTER_SECONDS: &str = "10";

const TEMPORARY: &str = "There was a temporary problem serving your request, please try again";

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Value,
    headers: Vec<(header::HeaderName, &'static str)>,
}

/// What handlers return.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error of `status` that says `text`.
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            body: json!({ "error": text.into() }),
            headers: Vec::new(),
        }
    }

    /// An error whose body is `body`.
    pub(crate) fn with_body(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body,
            headers: Vec::new(),
        }
    }

    fn header(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The status to be sent.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence in the body.
    pub(crate) fn text(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// 400.
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 401: no token, or one that is not valid (any more).
    pub(crate) fn invalid_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "The access token is invalid").header(
            header::WWW_AUTHENTICATE,
            "Bearer realm=\"Doorkeeper\", error=\"invalid_token\", error_description=\"The access token is invalid\"",
        )
    }

    /// 422: an app's own token where a person's is needed.
    pub(crate) fn needs_user() -> Self {
        Self::unprocessable("This method requires an authenticated user")
    }

    /// 403.
    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// 403: the token's scopes do not reach.
    pub(crate) fn out_of_scope() -> Self {
        Self::forbidden("This action is outside the authorized scopes")
    }

    /// 403: not for this person.
    pub(crate) fn not_allowed() -> Self {
        Self::forbidden("This action is not allowed")
    }

    /// 404, also for what the asker may not see.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Record not found")
    }

    /// 409.
    pub(crate) fn conflict(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, text)
    }

    /// 413.
    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large")
    }

    /// 422: a part of a request that is not built. Doing half of what was meant would be worse.
    /// `wanted` is a plural.
    pub(crate) fn not_offered(wanted: &str) -> Self {
        Self::validation(&format!("{wanted} are not offered by this server yet"))
    }

    /// 422.
    pub(crate) fn unprocessable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    }

    /// 422 with Mastodon's prefix.
    pub(crate) fn validation(text: &str) -> Self {
        Self::unprocessable(format!("Validation failed: {text}"))
    }

    /// 429.
    pub(crate) fn too_many() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests")
            .header(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// 501: known to Mastodon's clients, not built here yet.
    pub(crate) fn not_built() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "This server does not support this yet",
        )
    }

    /// 503: a part that we need is away.
    pub(crate) fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, TEMPORARY)
            .header(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// 500: our fault. `why` goes to the log only.
    pub(crate) fn internal(why: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %why, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "An unexpected error occurred",
        )
    }

    fn away(part: &'static str, why: &dyn std::fmt::Display) -> Self {
        tracing::warn!(part, error = %why, "a request was refused because a part is away");
        Self::unavailable()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        for (name, value) in self.headers {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::not_found(),
            StoreError::Conflict(_) => Self::unprocessable("Duplicate record"),
            StoreError::Unavailable(source) => Self::away("database", &source),
            StoreError::Database(source) => Self::internal(&source),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unavailable(_) => Self::away("queue", &error),
            QueueError::Refused(_) | QueueError::Other(_) => Self::internal(&error),
        }
    }
}

impl From<TimelineError> for ApiError {
    fn from(error: TimelineError) -> Self {
        match error {
            TimelineError::Unavailable(_) => Self::away("timelines", &error),
            TimelineError::Other(_) => Self::internal(&error),
        }
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        Self::internal(&error)
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        match error.code {
            ErrorCode::NotFound => Self::not_found(),
            ErrorCode::Internal | ErrorCode::Unauthenticated => Self::internal(&error),
            ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => Self::away("role", &error),
            ErrorCode::ResourceExhausted => Self::too_many(),
            ErrorCode::PermissionDenied => Self::not_allowed(),
            // The sentence is for operators and may name inner parts.
            ErrorCode::InvalidArgument | ErrorCode::Conflict => {
                tracing::debug!(error = %error, "another role refused a request");
                Self::new(error.code.http(), "The request could not be processed")
            }
        }
    }
}

impl From<tonic::Status> for ApiError {
    fn from(status: tonic::Status) -> Self {
        ServiceError::from(status).into()
    }
}

/// An error of the OAuth endpoints, in RFC 6749's words.
#[derive(Debug, Clone)]
pub(crate) struct OAuthError {
    /// The code that programs look at.
    pub(crate) error: &'static str,
    /// The sentence for developers.
    pub(crate) description: &'static str,
    status: StatusCode,
}

impl OAuthError {
    const fn new(status: StatusCode, error: &'static str, description: &'static str) -> Self {
        Self {
            error,
            description,
            status,
        }
    }

    /// 401: unknown app or wrong secret.
    pub(crate) const fn invalid_client() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method.",
        )
    }

    /// 400: a code that is unknown, used, expired, or another app's.
    pub(crate) const fn invalid_grant() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_grant",
            "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client.",
        )
    }

    /// 400: unknown scopes, or more than the app registered.
    pub(crate) const fn invalid_scope() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_scope",
            "The requested scope is invalid, unknown, or malformed.",
        )
    }

    /// 400: the password grant and others.
    pub(crate) const fn unsupported_grant_type() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "The authorization grant type is not supported by the authorization server.",
        )
    }

    /// 400: a parameter is missing or wrong.
    pub(crate) const fn invalid_request(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// 403: somebody else's token.
    pub(crate) const fn unauthorized_client() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "unauthorized_client",
            "You are not authorized to revoke this token",
        )
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        (
            self.status,
            [(header::CACHE_CONTROL, "no-store")],
            Json(body),
        )
            .into_response()
    }
}

impl From<OAuthError> for ApiError {
    fn from(error: OAuthError) -> Self {
        Self::with_body(
            error.status,
            json!({ "error": error.error, "error_description": error.description }),
        )
        .header(header::CACHE_CONTROL, "no-store")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internals_never_reach_the_body() {
        let errors: [ApiError; 3] = [
            sqlx::Error::Protocol("canary".to_owned()).into(),
            ServiceError::new(ErrorCode::Internal, "canary").into(),
            QueueError::Refused("canary".to_owned()).into(),
        ];
        for error in errors {
            assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert!(!error.body.to_string().contains("canary"));
        }
    }

    #[test]
    fn a_database_that_is_away_is_a_503_with_a_time_to_come_back() {
        let response = ApiError::from(sqlx::Error::PoolTimedOut).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "10");
    }
}
