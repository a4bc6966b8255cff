//! `GET /api/v1/timelines/tag/{hashtag}`: public posts with hashtags.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::auth::{MaybeUser, Scope};
use crate::client::load;
use crate::client::page::read_page;
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::params::Params;
use crate::state::App;

/// Further hashtags of each kind. Mastodon's number.
const MORE_TAGS: usize = 4;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    any: Vec<String>,
    all: Vec<String>,
    none: Vec<String>,
    local: bool,
    remote: bool,
    only_media: bool,
}

pub(crate) async fn tag(
    State(app): State<App>,
    viewer: MaybeUser,
    paging: Paging,
    Path(hashtag): Path<String>,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    viewer.require(Scope::ReadStatuses)?;
    let viewer = viewer.account_id();
    let instance = &app.deps.instance;
    let mut any = names(&query.any);
    any.extend(names(&[hashtag]));
    let mut connection = app.deps.pool.acquire().await?;
    let page = read_page!(
        &mut *connection,
        paging,
        paging.limit(20, 40),
        "select s.id, s.id from statuses s join accounts a on a.id = s.account_id
         where s.id < $1 and s.id > $2
           and s.visibility = 'public' and s.deleted_at is null and s.reblog_of_id is null
           and exists (select 1 from status_tags t where t.status_id = s.id and t.name = any($4))
           and not exists (select 1 from unnest($5::text[]) as wanted (name)
                where not exists (select 1 from status_tags t
                                  where t.status_id = s.id and t.name = wanted.name))
           and not exists (select 1 from status_tags t where t.status_id = s.id and t.name = any($6))
           and (not $7 or s.local) and (not $8 or not s.local)
           and (not $9 or s.attachments <> '[]')
           and a.suspended_at is null and a.deleted_at is null
           and ($10::bigint is null or not exists (select 1 from mutes m
                where m.account_id = $10 and m.target_id = s.account_id
                  and (m.expires_at is null or m.expires_at > now())))",
        by "s.id",
        any,
        names(&query.all),
        names(&query.none),
        query.local,
        query.remote,
        query.only_media,
        viewer,
    )?;
    let body = load::visible_in_order(&mut connection, instance, viewer, &page.items()).await?;
    let links = page.links(&paging, instance, Links::Always);
    Ok((links, Json(body)).into_response())
}

/// Names as they are stored: lower-case, without #.
fn names(texts: &[String]) -> Vec<String> {
    texts
        .iter()
        .map(|text| text.trim_start_matches('#').to_lowercase())
        .filter(|name| !name.is_empty())
        .take(MORE_TAGS)
        .collect()
}
