//! `GET` and `POST /api/v1/markers`: how far somebody has read.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::auth::{Scope, User};
use crate::client::entities::datetime;
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, blank_as_none};
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    timeline: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    home: Option<Position>,
    notifications: Option<Position>,
}

/// Where somebody is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Position {
    #[serde(deserialize_with = "blank_as_none")]
    last_read_id: Option<i64>,
    /// The version that the client has seen; a newer one here is a conflict.
    #[serde(deserialize_with = "blank_as_none")]
    version: Option<i32>,
}

#[derive(sqlx::FromRow)]
struct Marker {
    timeline: String,
    last_read_id: i64,
    version: i32,
    updated_at: OffsetDateTime,
}

impl Marker {
    fn render(&self) -> Value {
        json!({
            "last_read_id": self.last_read_id.to_string(),
            "version": self.version,
            "updated_at": datetime(self.updated_at),
        })
    }
}

pub(crate) async fn get(
    State(app): State<App>,
    user: User,
    Params(query): Params<Query>,
) -> ApiResult<Json<Map<String, Value>>> {
    user.require(Scope::ReadStatuses)?;
    let rows: Vec<Marker> = sqlx::query_as(
        "select timeline, last_read_id, version, updated_at from markers
         where account_id = $1 and timeline = any($2)",
    )
    .bind(user.account_id())
    .bind(&query.timeline)
    .fetch_all(&app.deps.pool)
    .await?;
    Ok(Json(by_name(&rows)))
}

pub(crate) async fn set(
    State(app): State<App>,
    user: User,
    Params(body): Params<Body>,
) -> ApiResult<Json<Map<String, Value>>> {
    user.require(Scope::WriteStatuses)?;
    let mut transaction = tidegate_store::begin(&app.deps.pool).await?;
    let mut rows = Vec::new();
    for (timeline, position) in [("home", body.home), ("notifications", body.notifications)] {
        if let Some(Position {
            last_read_id: Some(id),
            version,
        }) = position
        {
            rows.push(move_to(&mut transaction, user.account_id(), timeline, id, version).await?);
        }
    }
    transaction.commit().await?;
    Ok(Json(by_name(&rows)))
}

/// Each write has the next version; one that saw another version than the last is refused.
async fn move_to(
    connection: &mut PgConnection,
    account_id: i64,
    timeline: &str,
    last_read_id: i64,
    seen_version: Option<i32>,
) -> ApiResult<Marker> {
    let row: Option<Marker> = sqlx::query_as(
        "insert into markers (account_id, timeline, last_read_id) values ($1, $2, $3)
         on conflict (account_id, timeline) do update
             set last_read_id = excluded.last_read_id, version = markers.version + 1,
                 updated_at = now()
             where $4::int is null or markers.version = $4
         returning timeline, last_read_id, version, updated_at",
    )
    .bind(account_id)
    .bind(timeline)
    .bind(last_read_id)
    .bind(seen_version)
    .fetch_optional(connection)
    .await?;
    row.ok_or_else(|| ApiError::conflict("Conflict during update, please try again"))
}

fn by_name(rows: &[Marker]) -> Map<String, Value> {
    rows.iter()
        .map(|row| (row.timeline.clone(), row.render()))
        .collect()
}
