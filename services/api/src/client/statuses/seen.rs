//! The post that a path names, through the viewer's eyes. What they may not see is not there.

use sqlx::PgConnection;
use tidegate_store::statuses::{self, Status};

use crate::error::{ApiError, ApiResult};

/// The post, if the viewer may see it.
pub(crate) async fn seen(
    connection: &mut PgConnection,
    viewer: Option<i64>,
    id: i64,
) -> ApiResult<Status> {
    statuses::visible(connection, &[id], viewer)
        .await?
        .pop()
        .ok_or_else(ApiError::not_found)
}

/// The post, if it is the viewer's own.
pub(crate) async fn own(connection: &mut PgConnection, viewer: i64, id: i64) -> ApiResult<Status> {
    statuses::by_id(connection, id)
        .await?
        .filter(|status| status.account_id == viewer)
        .ok_or_else(ApiError::not_found)
}
