//! `GET /api/v2/search`: accounts, posts by their URL, hashtags. With `resolve`, what is not
//! known here is asked for where it lives: the way in which people follow remote accounts.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidegate_store::statuses;

use super::accounts::{AccountQuery, find_accounts};
use super::tags::find_tags;
use crate::auth::{MaybeUser, Scope};
use crate::client::actions::resolve::{self, Found};
use crate::client::entities::{Account, Status, Tag, account};
use crate::client::load;
use crate::error::{ApiError, ApiResult};
use crate::pagination::Paging;
use crate::params::Params;
use crate::state::App;

/// Longer texts are no search.
const MAX_QUERY_BYTES: usize = 2_048;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    q: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    resolve: bool,
    following: bool,
}

impl Query {
    fn wants(&self, kind: &str) -> bool {
        self.kind
            .as_deref()
            .is_none_or(|wanted| wanted.is_empty() || wanted == kind)
    }
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    accounts: Vec<Account>,
    statuses: Vec<Status>,
    hashtags: Vec<Tag>,
    collections: [(); 0],
}

pub(crate) async fn search(
    State(app): State<App>,
    viewer: MaybeUser,
    paging: Paging,
    Params(query): Params<Query>,
) -> ApiResult<Json<Results>> {
    viewer.require(Scope::ReadSearch)?;
    if viewer.account_id().is_none() && (query.resolve || paging.offset > 0) {
        return Err(ApiError::new(
            axum::http::StatusCode::UNAUTHORIZED,
            "Search queries that resolve remote resources or use an offset need a signed-in user",
        ));
    }
    let text = query.q.trim();
    if text.is_empty() {
        return Err(ApiError::bad_request("Missing parameter: q"));
    }
    if text.len() > MAX_QUERY_BYTES {
        return Err(ApiError::bad_request("q is too long"));
    }
    let viewer = viewer.account_id();
    if text.starts_with("https://") || text.starts_with("http://") {
        return by_url(&app, viewer, &query, text).await;
    }
    if query.resolve && query.wants("accounts") && text.trim_start_matches('@').contains('@') {
        resolve::handle(&app, text).await?;
    }
    let instance = &app.deps.instance;
    let limit = paging.limit(20, 40);
    let mut results = Results::default();
    let mut connection = app.deps.pool.acquire().await?;
    if query.wants("accounts") && !text.starts_with('#') {
        let found = find_accounts(
            &mut connection,
            instance,
            &AccountQuery {
                text,
                viewer,
                following: query.following,
                limit,
                offset: paging.offset,
            },
        )
        .await?;
        results.accounts = load::accounts_in_order(&mut connection, instance, &found).await?;
    }
    if query.wants("hashtags") && !text.starts_with('@') {
        let signed_in = viewer.is_some();
        results.hashtags = find_tags(
            &mut connection,
            instance,
            text,
            signed_in,
            limit,
            paging.offset,
        )
        .await?;
    }
    Ok(Json(results))
}

async fn by_url(
    app: &App,
    viewer: Option<i64>,
    query: &Query,
    url: &str,
) -> ApiResult<Json<Results>> {
    let mut results = Results::default();
    let found = if query.resolve {
        resolve::url(app, url).await?
    } else {
        resolve::known(app, url).await?
    };
    let mut connection = app.deps.pool.acquire().await?;
    match found {
        Some(Found::Account(row)) if query.wants("accounts") && row.suspended_at.is_none() => {
            results.accounts.push(account(&row, &app.deps.instance));
        }
        Some(Found::Status(row)) if query.wants("statuses") => {
            let seen = statuses::visible(&mut *connection, &[row.id], viewer).await?;
            results.statuses =
                load::statuses(&mut connection, &app.deps.instance, viewer, &seen).await?;
        }
        _ => {}
    }
    Ok(Json(results))
}
