//! What anybody may look at: the front page, profiles, posts.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use minijinja::context;
use tidegate_model::INSTANCE_ACTOR_USERNAME;
use tidegate_store::{
    accounts::{self, Account},
    statuses::{self, Status},
};

use super::{Browser, FormAction, PageError, PageResult, page::render, see_other};
use crate::{
    client,
    federation::{self, wants_activity},
    state::App,
};

/// Posts on a profile: one screen or two; apps show the rest.
const POSTS_ON_PROFILE: i64 = 20;

/// `GET /`.
pub(super) async fn landing(State(app): State<App>, browser: Browser) -> PageResult {
    let mode = app.registrations().await?;
    Ok(render(
        &app,
        &browser,
        FormAction::OwnSite,
        "landing.html",
        context! {
            description => app.options.description,
            contact => app.options.contact_email,
            mode => mode.as_str(),
            open => mode.is_enabled(),
            domain => app.deps.instance.domain,
            base => app.deps.instance.base(),
        },
    ))
}

/// `GET /about`: who runs this server, and its rules; the instance documents point here.
pub(super) async fn about(State(app): State<App>, browser: Browser) -> Response {
    let values = context! {
        description => app.options.description,
        contact => app.options.contact_email,
        rules => app.options.rules,
        domain => app.deps.instance.domain,
    };
    render(&app, &browser, FormAction::OwnSite, "about.html", values)
}

/// `GET /privacy-policy`: the same words as the API's.
pub(super) async fn privacy(State(app): State<App>, browser: Browser) -> Response {
    let values = context! {
        policy => minijinja::Value::from_safe_string(client::PRIVACY.to_owned()),
    };
    render(&app, &browser, FormAction::OwnSite, "privacy.html", values)
}

async fn local_account(app: &App, name: &str) -> Result<Account, PageError> {
    if name.eq_ignore_ascii_case(INSTANCE_ACTOR_USERNAME) {
        return Err(PageError::not_found());
    }
    accounts::by_handle(&app.deps.pool, name, None)
        .await?
        .filter(|account| account.suspended_at.is_none())
        .ok_or_else(PageError::not_found)
}

/// `GET /@name`: the page, or the actor document for those who ask for it.
pub(super) async fn profile(
    State(app): State<App>,
    browser: Browser,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if wants_activity(&headers) {
        return federation::actor_response(&app, &name)
            .await
            .into_response();
    }
    varies(profile_page(&app, &browser, &name).await.into_response())
}

async fn profile_page(app: &App, browser: &Browser, name: &str) -> PageResult {
    let account = local_account(app, name).await?;
    let ids: Vec<i64> = sqlx::query_scalar(
        "select id from statuses
         where account_id = $1 and deleted_at is null and reblog_of_id is null
           and visibility in ('public', 'unlisted')
         order by id desc limit $2",
    )
    .bind(account.id)
    .bind(POSTS_ON_PROFILE)
    .fetch_all(&app.deps.pool)
    .await?;
    let mut posts = statuses::visible(&app.deps.pool, &ids, None).await?;
    posts.sort_by_key(|post| std::cmp::Reverse(post.id));
    let posts: Vec<_> = posts
        .iter()
        .map(|post| shown(app, &account, post))
        .collect();
    Ok(render(
        app,
        browser,
        FormAction::OwnSite,
        "profile.html",
        context! {
            account => shown_account(app, &account),
            posts,
            alternate => account.uri,
        },
    ))
}

/// `GET /@name/:id`.
pub(super) async fn post(
    State(app): State<App>,
    browser: Browser,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if wants_activity(&headers) {
        return see_other(&format!(
            "/users/{}/statuses/{}",
            escape(&name),
            escape(&id)
        ));
    }
    varies(post_page(&app, &browser, &name, &id).await.into_response())
}

async fn post_page(app: &App, browser: &Browser, name: &str, id: &str) -> PageResult {
    let account = local_account(app, name).await?;
    let id: i64 = id.parse().map_err(|_| PageError::not_found())?;
    let post = statuses::visible(&app.deps.pool, &[id], None)
        .await?
        .into_iter()
        .find(|post| post.account_id == account.id && post.reblog_of_id.is_none())
        .ok_or_else(PageError::not_found)?;
    Ok(render(
        app,
        browser,
        FormAction::OwnSite,
        "post.html",
        context! {
            account => shown_account(app, &account),
            post => shown(app, &account, &post),
            alternate => post.uri,
        },
    ))
}

fn escape(part: &str) -> String {
    percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn shown_account(app: &App, account: &Account) -> minijinja::Value {
    let name = if account.display_name.is_empty() {
        &account.username
    } else {
        &account.display_name
    };
    context! {
        name,
        handle => format!("@{}@{}", account.username, app.deps.instance.domain),
        note => account.note,
        url => account.url,
        posts => account.statuses_count,
        following => account.following_count,
        followers => account.followers_count,
        hidden => account.hide_collections.unwrap_or(false),
        noindex => !account.indexable,
    }
}

fn shown(app: &App, account: &Account, post: &Status) -> minijinja::Value {
    let at = post.created_at;
    context! {
        url => app.deps.instance.status_page(&account.username, post.id),
        warning => post.spoiler_text,
        // Safe HTML: made or sanitised before it was stored.
        content => minijinja::Value::from_safe_string(post.content.clone()),
        language => post.language,
        at => format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()),
        iso => at.unix_timestamp(),
        replies => post.replies_count,
        reblogs => post.reblogs_count,
        favourites => post.favourites_count,
    }
}

/// For documents that exist as page and as activity at one address.
fn varies(mut response: Response) -> Response {
    response.headers_mut().insert(
        header::VARY,
        HeaderValue::from_static("Accept, Cookie, Origin"),
    );
    response
}

/// To the page of a local actor, for browsers that open its id.
pub(crate) fn redirect_or_page(location: &str) -> Response {
    varies(super::found(location))
}
