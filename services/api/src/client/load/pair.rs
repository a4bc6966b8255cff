//! The two sides of a relationship.

use axum::Json;
use tidegate_store::accounts::Account;

use crate::client::entities::Relationship;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

/// The viewer's account and the one that they act on; 404 when that is not there.
pub(crate) async fn pair(app: &App, viewer: i64, target: i64) -> ApiResult<(Account, Account)> {
    let mut connection = app.deps.pool.acquire().await?;
    let viewer = load::account_of(&mut connection, viewer).await?;
    let target = load::account_of(&mut connection, target).await?;
    Ok((viewer, target))
}

/// How they stand to each other now.
pub(crate) async fn relationship_to(
    app: &App,
    viewer: i64,
    target: i64,
) -> ApiResult<Json<Relationship>> {
    let mut connection = app.deps.pool.acquire().await?;
    Ok(Json(
        load::relationship(&mut connection, viewer, target).await?,
    ))
}
