//! Registering an app, and asking which one a token belongs to.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{OAuthApp, redirect};
use crate::{
    auth::{AppToken, hash_token, parse_list, random_token},
    error::{ApiError, ApiResult},
    params::Params,
    state::App,
};

/// Mastodon's limits, in characters and URIs; the last one is ours.
const MAX_NAME_CHARS: usize = 60;
const MAX_WEBSITE_CHARS: usize = 2_000;
const MAX_REDIRECTS: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NewApp {
    client_name: String,
    /// One text with a URI per line, or a list.
    redirect_uris: Vec<String>,
    scopes: String,
    website: Option<String>,
}

/// `POST /api/v1/apps`.
pub(super) async fn create(
    State(app): State<App>,
    Params(new): Params<NewApp>,
) -> ApiResult<Json<Value>> {
    let name = new.client_name.trim();
    if name.is_empty() {
        return Err(ApiError::validation("Application name can't be blank"));
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(ApiError::validation(
            "Application name is too long (maximum is 60 characters)",
        ));
    }
    let website = new.website.filter(|website| !website.trim().is_empty());
    if let Some(website) = &website {
        let is_web = website.starts_with("https://") || website.starts_with("http://");
        if !is_web || website.chars().count() > MAX_WEBSITE_CHARS {
            return Err(ApiError::validation("Website is not a valid URL"));
        }
    }
    let redirects: Vec<String> = new
        .redirect_uris
        .iter()
        .flat_map(|text| text.split_whitespace())
        .map(str::to_owned)
        .collect();
    if redirects.is_empty() {
        return Err(ApiError::validation("Redirect URI can't be blank"));
    }
    let usable = redirects.iter().all(|uri| redirect::may_register(uri));
    if !usable || redirects.len() > MAX_REDIRECTS {
        return Err(ApiError::validation(
            "Redirect URI must be an absolute URI.",
        ));
    }
    let scopes = parse_list(&new.scopes)
        .ok_or_else(|| ApiError::validation("Scopes doesn't match configured on the server."))?;
    let (client_id, secret) = (random_token(), random_token());
    let id: i64 = sqlx::query_scalar(
        "insert into apps (name, website, redirect_uris, scopes, client_id, client_secret_hash)
         values ($1, $2, $3, $4, $5, $6) returning id",
    )
    .bind(name)
    .bind(&website)
    .bind(&redirects)
    .bind(&scopes)
    .bind(&client_id)
    .bind(&hash_token(&secret)[..])
    .fetch_one(&app.deps.pool)
    .await?;
    let mut body = body(&OAuthApp {
        id,
        name: name.to_owned(),
        website,
        redirect_uris: redirects,
        scopes,
    });
    body["client_id"] = json!(client_id);
    body["client_secret"] = json!(secret);
    body["client_secret_expires_at"] = json!(0);
    Ok(Json(body))
}

/// `GET /api/v1/apps/verify_credentials`.
pub(super) async fn verify(State(app): State<App>, token: AppToken) -> ApiResult<Json<Value>> {
    let found: OAuthApp =
        sqlx::query_as("select id, name, website, redirect_uris, scopes from apps where id = $1")
            .bind(token.0.app_id)
            .fetch_one(&app.deps.pool)
            .await?;
    Ok(Json(body(&found)))
}

fn body(app: &OAuthApp) -> Value {
    json!({
        "id": app.id.to_string(),
        "name": app.name,
        "website": app.website,
        "scopes": app.scopes,
        "redirect_uris": app.redirect_uris,
        "redirect_uri": app.redirect_uris.join("\n"),
        // Deprecated by Mastodon, and web push is not built; old clients want the member.
        "vapid_key": "",
    })
}
