//! Hashtags by their beginning, and `GET /api/v1/tags/{name}`.

use axum::Json;
use axum::extract::{Path, State};
use sqlx::PgConnection;
use tidegate_federation::html::hashtag_url;
use tidegate_model::Instance;
use tidegate_store::StoreError;

use super::accounts::escaped;
use crate::auth::{MaybeUser, Scope};
use crate::client::entities::Tag;
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// Hashtags that begin with `text`, for a viewer who is signed in or not.
pub(crate) async fn find_tags(
    connection: &mut PgConnection,
    instance: &Instance,
    text: &str,
    signed_in: bool,
    limit: i64,
    offset: i64,
) -> Result<Vec<Tag>, StoreError> {
    let word = text.trim().trim_start_matches('#').to_lowercase();
    if word.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = sqlx::query_scalar(
        "select t.name from status_tags t join statuses s on s.id = t.status_id
         where t.name like $1 and s.visibility = 'public' and s.deleted_at is null
         group by t.name order by count(*) desc, t.name limit $2 offset $3",
    )
    .bind(format!("{}%", escaped(&word)))
    .bind(limit)
    .bind(offset)
    .fetch_all(connection)
    .await?;
    Ok(names
        .iter()
        .map(|name| tag(instance, name, signed_in))
        .collect())
}

/// A hashtag; following and featuring them is not built, so that nobody does.
fn tag(instance: &Instance, name: &str, signed_in: bool) -> Tag {
    Tag {
        // Hashtags are known by their names; a client needs some id.
        id: name.to_owned(),
        name: name.to_owned(),
        url: hashtag_url(instance, name),
        history: [],
        following: signed_in.then_some(false),
        featuring: signed_in.then_some(false),
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    viewer: MaybeUser,
    Path(name): Path<String>,
) -> ApiResult<Json<Tag>> {
    viewer.require(Scope::Read)?;
    let name = name.trim_start_matches('#').to_lowercase();
    let proper = !name.is_empty()
        && name.chars().count() <= 100
        && name
            .chars()
            .all(|one| one.is_alphanumeric() || matches!(one, '_' | '·' | '・'));
    if !proper {
        return Err(ApiError::not_found());
    }
    Ok(Json(tag(
        &app.deps.instance,
        &name,
        viewer.account_id().is_some(),
    )))
}
