//! `GET /api/v1/timelines/public`: public posts, from here or from everywhere.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::auth::{MaybeUser, Scope};
use crate::client::load;
use crate::client::page::read_page;
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::params::Params;
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    local: bool,
    remote: bool,
    only_media: bool,
}

pub(crate) async fn public(
    State(app): State<App>,
    viewer: MaybeUser,
    paging: Paging,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    viewer.require(Scope::ReadStatuses)?;
    let viewer = viewer.account_id();
    let instance = &app.deps.instance;
    let mut connection = app.deps.pool.acquire().await?;
    // Answers to others are left out: without their other half they tell strangers nothing.
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(20, 40),
        "select s.id, s.id from statuses s join accounts a on a.id = s.account_id
         where s.id < $1 and s.id > $2
           and s.visibility = 'public' and s.deleted_at is null and s.reblog_of_id is null
           and (s.in_reply_to_uri is null or s.in_reply_to_account_id = s.account_id)
           and (not $4 or s.local) and (not $5 or not s.local)
           and (not $6 or s.attachments <> '[]')
           and a.suspended_at is null and a.deleted_at is null
           and ($7::bigint is null or not exists (select 1 from blocks b
                where (b.account_id = $7 and b.target_id = s.account_id)
                   or (b.target_id = $7 and b.account_id = s.account_id)))
           and ($7::bigint is null or not exists (select 1 from mutes m
                where m.account_id = $7 and m.target_id = s.account_id
                  and (m.expires_at is null or m.expires_at > now())))",
        by "s.id",
        query.local,
        query.remote,
        query.only_media,
        viewer,
    )?;
    let body = load::visible_in_order(&mut connection, instance, viewer, &page.items()).await?;
    let links = page.links(&paging, instance, Links::Always);
    Ok((links, Json(body)).into_response())
}
