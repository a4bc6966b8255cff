//! `DELETE /api/v1/statuses/{id}`: gone, with its text given back for another try.

use axum::Json;
use axum::extract::State;

use super::own;
use crate::auth::{Scope, User};
use crate::client::actions::delete;
use crate::client::entities::{Content, Status};
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

pub(crate) async fn delete(
    State(app): State<App>,
    user: User,
    Id(id): Id,
) -> ApiResult<Json<Status>> {
    user.require(Scope::WriteStatuses)?;
    let viewer = user.account_id();
    let (author, row, mut body) = {
        let mut connection = app.deps.pool.acquire().await?;
        let row = own(&mut connection, viewer, id).await?;
        let author = load::account_of(&mut connection, viewer).await?;
        let body = load::status(&mut connection, &app.deps.instance, Some(viewer), &row).await?;
        (author, row, body)
    };
    delete::delete(&app, &author, &row).await?;
    body.body = Content::Text(row.text);
    Ok(Json(body))
}
