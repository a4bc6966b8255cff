//! Calls of the delivery role for operators and authors, and what its refusals look like.

use std::time::Duration;

use tidegate_proto::{ErrorCode, ServiceError};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::error::{ApiError, ApiResult};

/// For an answer: a page takes well under a second, and the database gives up after 15 s.
const DEADLINE: Duration = Duration::from_secs(15);

/// A message that nobody waits for longer than [`DEADLINE`].
pub(crate) fn with_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// The answer, or what the asker is told instead.
pub(crate) async fn answered<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> ApiResult<T> {
    match timeout(DEADLINE, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(refused(status)),
        Err(_) => Err(ApiError::unavailable()),
    }
}

/// A page of at most `limit`, read to its end.
pub(super) async fn page<T>(mut stream: Streaming<T>, limit: usize) -> ApiResult<Vec<T>> {
    let reading = async {
        let mut rows = Vec::new();
        while rows.len() < limit {
            match stream.message().await.map_err(refused)? {
                Some(row) => rows.push(row),
                None => break,
            }
        }
        Ok(rows)
    };
    timeout(DEADLINE, reading)
        .await
        .unwrap_or_else(|_| Err(ApiError::unavailable()))
}

/// Operators are told what the delivery role says of their own wish; of its troubles they learn
/// as little as anybody.
pub(super) fn refused(status: Status) -> ApiError {
    let error = ServiceError::from(status);
    match error.code {
        ErrorCode::InvalidArgument | ErrorCode::NotFound | ErrorCode::Conflict => {
            ApiError::new(error.code.http(), error.message)
        }
        _ => error.into(),
    }
}

/// Rows of a page: 40 as in most of Mastodon's lists, at most 200, which is what a page of the
/// delivery role takes some milliseconds for.
pub(super) fn limit(asked: Option<i64>) -> ApiResult<usize> {
    let limit = asked.unwrap_or(40).min(200);
    usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .ok_or_else(|| ApiError::bad_request("limit must be positive"))
}
