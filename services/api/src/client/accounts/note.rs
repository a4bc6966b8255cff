//! `POST /api/v1/accounts/{id}/note`: a private remark about somebody.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::auth::{Scope, User};
use crate::client::actions::limits::COMMENT_CHARACTERS;
use crate::client::entities::Relationship;
use crate::client::id::Id;
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    comment: String,
}

pub(crate) async fn note(
    State(app): State<App>,
    user: User,
    Id(id): Id,
    Params(body): Params<Body>,
) -> ApiResult<Json<Relationship>> {
    user.require(Scope::WriteAccounts)?;
    if body.comment.chars().count() > COMMENT_CHARACTERS {
        return Err(ApiError::validation("Comment is too long"));
    }
    let viewer = user.account_id();
    let mut connection = app.deps.pool.acquire().await?;
    load::account_of(&mut connection, id).await?;
    if body.comment.is_empty() {
        sqlx::query("delete from account_notes where account_id = $1 and target_id = $2")
            .bind(viewer)
            .bind(id)
            .execute(&mut *connection)
            .await?;
    } else {
        sqlx::query(
            "insert into account_notes (account_id, target_id, comment) values ($1, $2, $3)
             on conflict (account_id, target_id) do update set comment = excluded.comment",
        )
        .bind(viewer)
        .bind(id)
        .bind(&body.comment)
        .execute(&mut *connection)
        .await?;
    }
    Ok(Json(load::relationship(&mut connection, viewer, id).await?))
}
