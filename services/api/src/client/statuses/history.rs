//! `GET /api/v1/statuses/{id}/history`: every version of a post, oldest first.

use axum::Json;
use axum::extract::State;
use time::OffsetDateTime;

use super::seen;
use crate::auth::{MaybeUser, Scope};
use crate::client::entities::{StatusEdit, account, datetime, emoji, media};
use crate::client::id::Id;
use crate::client::load;
use crate::error::ApiResult;
use crate::state::App;

/// Versions shown at most, the newest; more is nobody's reading.
const MAX_VERSIONS: i64 = 100;

#[derive(sqlx::FromRow)]
struct Version {
    content: String,
    spoiler_text: String,
    sensitive: bool,
    created_at: OffsetDateTime,
}

pub(crate) async fn history(
    State(app): State<App>,
    viewer: MaybeUser,
    Id(id): Id,
) -> ApiResult<Json<Vec<StatusEdit>>> {
    viewer.require(Scope::ReadStatuses)?;
    let mut connection = app.deps.pool.acquire().await?;
    let row = seen(&mut connection, viewer.account_id(), id).await?;
    let author = load::account_of(&mut connection, row.account_id).await?;
    let mut versions: Vec<Version> = sqlx::query_as(
        "select content, spoiler_text, sensitive, created_at from status_edits
         where status_id = $1 order by id desc limit $2",
    )
    .bind(id)
    .bind(MAX_VERSIONS)
    .fetch_all(&mut *connection)
    .await?;
    versions.reverse();
    versions.push(Version {
        content: row.content.clone(),
        spoiler_text: row.spoiler_text.clone(),
        sensitive: row.sensitive,
        created_at: row.edited_at.unwrap_or(row.created_at),
    });
    let author = account(&author, &app.deps.instance);
    let body = versions
        .into_iter()
        .map(|version| StatusEdit {
            content: load::safe(&row, &version.content),
            spoiler_text: version.spoiler_text,
            sensitive: version.sensitive,
            created_at: datetime(version.created_at),
            account: author.clone(),
            media_attachments: row
                .attachments
                .iter()
                .enumerate()
                .map(|(index, stored)| media(row.id, index, stored))
                .collect(),
            emojis: row.emojis.iter().map(emoji).collect(),
        })
        .collect();
    Ok(Json(body))
}
