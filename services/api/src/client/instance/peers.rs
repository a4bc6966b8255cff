//! `GET /api/v1/instance/peers`: the names of all servers that this one knows.

use axum::Json;
use axum::extract::State;

use crate::error::ApiResult;
use crate::state::App;

/// Names given at most: about 1 MB, above what any server of the fediverse knows today.
const MAX_PEERS: i64 = 50_000;

pub(crate) async fn peers(State(app): State<App>) -> ApiResult<Json<Vec<String>>> {
    let domains = sqlx::query_scalar(
        "select distinct domain from accounts where domain is not null order by domain limit $1",
    )
    .bind(MAX_PEERS)
    .fetch_all(&app.deps.pool)
    .await?;
    Ok(Json(domains))
}
