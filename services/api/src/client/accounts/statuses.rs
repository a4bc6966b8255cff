//! `GET /api/v1/accounts/{id}/statuses`: what an account wrote and boosted.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::auth::{MaybeUser, Scope};
use crate::client::id::Id;
use crate::client::load;
use crate::client::page::{Page, read_page};
use crate::error::ApiResult;
use crate::pagination::{Links, Paging};
use crate::params::Params;
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    pinned: bool,
    only_media: bool,
    exclude_replies: bool,
    exclude_reblogs: bool,
    exclude_direct: bool,
    tagged: String,
}

pub(crate) async fn statuses(
    State(app): State<App>,
    viewer: MaybeUser,
    Id(id): Id,
    paging: Paging,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    viewer.require(Scope::ReadStatuses)?;
    let viewer = viewer.account_id();
    let instance = &app.deps.instance;
    let mut connection = app.deps.pool.acquire().await?;
    let author = load::account_of(&mut connection, id).await?;
    // Nothing can be pinned yet.
    let page = if query.pinned || author.suspended_at.is_some() {
        Page::default()
    } else {
        // The conditions on who may see what are those of `store::statuses::visible`, without
        // which a page full of hidden posts would come out empty and end the list.
        read_page!(
            &mut *connection,
            paging,
            paging.limit(20, 40),
            "select s.id, s.id from statuses s
             left join statuses o on o.id = s.reblog_of_id
             where s.id < $1 and s.id > $2 and s.account_id = $4 and s.deleted_at is null
               and (s.visibility in ('public', 'unlisted')
                    or s.account_id = $5
                    or exists (select 1 from mentions m
                               where m.status_id = s.id and m.account_id = $5)
                    or (s.visibility = 'private' and exists (
                        select 1 from follows f where f.account_id = $5 and f.target_id = $4
                                                  and f.state = 'accepted')))
               and (not $6 or coalesce(o.attachments, s.attachments) <> '[]')
               and (not $7 or s.in_reply_to_uri is null or s.in_reply_to_account_id = s.account_id)
               and (not $8 or s.reblog_of_id is null)
               and (not $9 or s.visibility <> 'direct')
               and ($10 = '' or exists (select 1 from status_tags t
                                        where t.status_id = s.id and t.name = $10))",
            by "s.id",
            id,
            viewer,
            query.only_media,
            query.exclude_replies,
            query.exclude_reblogs,
            query.exclude_direct,
            query.tagged.trim_start_matches('#').to_lowercase(),
        )?
    };
    let body = load::visible_in_order(&mut connection, instance, viewer, &page.items()).await?;
    let links = page.links(&paging, instance, Links::Always);
    Ok((links, Json(body)).into_response())
}
