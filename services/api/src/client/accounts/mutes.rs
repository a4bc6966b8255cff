//! `GET /api/v1/mutes`: whom the viewer mutes, and until when.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use time::OffsetDateTime;

use crate::auth::{Scope, User};
use crate::client::entities::{MutedAccount, datetime};
use crate::client::load;
use crate::client::page::read_page;
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::state::App;

pub(crate) async fn mutes(
    State(app): State<App>,
    user: User,
    paging: Paging,
) -> ApiResult<Response> {
    user.require(Scope::ReadMutes)?;
    let instance = &app.deps.instance;
    let viewer = user.account_id();
    let mut connection = app.deps.pool.acquire().await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(40, 80),
        "select id, target_id from mutes where id < $1 and id > $2 and account_id = $4
           and (expires_at is null or expires_at > now())",
        by "id",
        viewer,
    )?;
    let items = page.items();
    let ends: HashMap<i64, OffsetDateTime> = sqlx::query_as(
        "select target_id, expires_at from mutes
         where account_id = $1 and target_id = any($2) and expires_at is not null",
    )
    .bind(viewer)
    .bind(&items)
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .collect();
    let mut accounts = load::accounts(&mut connection, instance, &items).await?;
    let body: Vec<MutedAccount> = items
        .iter()
        .filter_map(|id| {
            Some(MutedAccount {
                account: accounts.remove(id)?,
                mute_expires_at: ends.get(id).copied().map(datetime),
            })
        })
        .collect();
    let links = page.links(&paging, instance, Links::WhenFull);
    Ok((links, Json(body)).into_response())
}
