//! The consent page: a signed-in person lets an app act for them.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use minijinja::context;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::{
    OAuthApp, app_by_client_id,
    redirect::{OUT_OF_BAND, with_query},
};
use crate::{
    auth::{hash_token, is_subset, parse_list, random_token},
    params::Params,
    state::App,
    web::{Browser, FormAction, PageError, PageResult, found, render, see_other},
};

/// How long a code may be exchanged: an app does it at once, a person who copies it by hand
/// takes minutes.
const CODE_LIFETIME: time::Duration = time::Duration::minutes(10);

/// A SHA-256 in base64url has this many characters.
const CHALLENGE_CHARS: usize = 43;

/// What the app asks for; the consent form sends it back unchanged.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Request {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    scope: String,
    state: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    #[serde(skip_serializing)]
    force_login: bool,
    #[serde(skip_serializing)]
    decision: String,
    #[serde(skip_serializing)]
    csrf: String,
}

/// A request that may be shown to a person.
struct Checked {
    client: OAuthApp,
    scopes: Vec<String>,
    request: Request,
}

impl Checked {
    /// Where the browser goes with an error or a code.
    fn answer<'a>(&'a self, mut pairs: Vec<(&'a str, &'a str)>) -> Response {
        if let Some(state) = &self.request.state {
            pairs.push(("state", state));
        }
        found(&with_query(&self.request.redirect_uri, &pairs))
    }

    fn refuse(&self, error: &'static str, description: &'static str) -> Response {
        if self.request.redirect_uri == OUT_OF_BAND {
            return PageError::new(StatusCode::BAD_REQUEST, description).into_response();
        }
        self.answer(vec![("error", error), ("error_description", description)])
    }
}

/// Finds the app and checks the redirect letter by letter. Until that is done nothing is ever
/// redirected (attack F1); what is wrong later is told to the app.
async fn check(app: &App, request: Request) -> Result<Checked, Response> {
    let known = app_by_client_id(&app.deps.pool, &request.client_id)
        .await
        .map_err(|error| PageError::from(error).into_response())?;
    let Some(client) = known else {
        return Err(PageError::new(
            StatusCode::BAD_REQUEST,
            "This app is not known here. Ask it to register again, for example by signing out of it.",
        )
        .into_response());
    };
    if !client.redirect_uris.contains(&request.redirect_uri) {
        return Err(PageError::new(
            StatusCode::BAD_REQUEST,
            "The redirect URI is not one that the app registered.",
        )
        .into_response());
    }
    let mut checked = Checked {
        client,
        scopes: Vec::new(),
        request,
    };
    if checked.request.response_type != "code" {
        return Err(checked.refuse(
            "unsupported_response_type",
            "The authorization server does not support this response type.",
        ));
    }
    match parse_list(&checked.request.scope) {
        Some(scopes) if is_subset(&scopes, &checked.client.scopes) => checked.scopes = scopes,
        _ => {
            return Err(checked.refuse(
                "invalid_scope",
                "The requested scope is invalid, unknown, or malformed.",
            ));
        }
    }
    if !is_challenge(&mut checked.request) {
        return Err(checked.refuse(
            "invalid_request",
            "The code challenge must be a SHA-256 with code_challenge_method S256.",
        ));
    }
    Ok(checked)
}

/// Whether the challenge is absent or one of S256; an empty one becomes absent.
fn is_challenge(request: &mut Request) -> bool {
    request.code_challenge = request
        .code_challenge
        .take()
        .filter(|text| !text.is_empty());
    match &request.code_challenge {
        None => true,
        Some(challenge) => {
            request.code_challenge_method.as_deref() == Some("S256")
                && challenge.len() == CHALLENGE_CHARS
        }
    }
}

/// `GET /oauth/authorize`.
pub(super) async fn show(
    State(app): State<App>,
    browser: Browser,
    Params(request): Params<Request>,
) -> Response {
    let checked = match check(&app, request).await {
        Ok(checked) => checked,
        Err(response) => return response,
    };
    let session = match browser.session() {
        Some(session) if !checked.request.force_login => session,
        _ => return see_other(&sign_in_first(&checked.request)),
    };
    let username = session.username.clone();
    // No form-action on this page: browsers apply it to the redirect that follows the form too,
    // and that goes to the app.
    render(
        &app,
        &browser,
        FormAction::Anywhere,
        "authorize.html",
        context! {
            client => checked.client.name,
            website => checked.client.website,
            scopes => checked.scopes,
            username,
            out_of_band => checked.request.redirect_uri == OUT_OF_BAND,
            request => checked.request,
        },
    )
}

fn sign_in_first(request: &Request) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("response_type", &request.response_type)
        .append_pair("client_id", &request.client_id)
        .append_pair("redirect_uri", &request.redirect_uri)
        .append_pair("scope", &request.scope);
    for (name, value) in [
        ("state", &request.state),
        ("code_challenge", &request.code_challenge),
        ("code_challenge_method", &request.code_challenge_method),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let back = format!("/oauth/authorize?{}", query.finish());
    let escaped: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
    format!("/auth/sign_in?return_to={escaped}")
}

/// `POST /oauth/authorize`: the form of the consent page.
pub(super) async fn decide(
    State(app): State<App>,
    browser: Browser,
    Params(request): Params<Request>,
) -> Response {
    if let Err(error) = browser.check_csrf(&request.csrf) {
        return error.into_response();
    }
    let wants = request.decision == "approve";
    let checked = match check(&app, request).await {
        Ok(checked) => checked,
        Err(response) => return response,
    };
    let Some(session) = browser.session() else {
        return see_other(&sign_in_first(&checked.request));
    };
    if !wants {
        return checked.refuse(
            "access_denied",
            "The resource owner or authorization server denied the request.",
        );
    }
    match approve(&app, &checked, session.user_id).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

/// `DELETE /oauth/authorize`: "no", for clients that can send it.
pub(super) async fn deny(
    state: State<App>,
    browser: Browser,
    Params(mut request): Params<Request>,
) -> Response {
    "deny".clone_into(&mut request.decision);
    decide(state, browser, Params(request)).await
}

async fn approve(app: &App, checked: &Checked, user_id: i64) -> PageResult {
    let code = random_token();
    sqlx::query(
        "insert into oauth_codes (code_hash, app_id, user_id, redirect_uri, scopes,
                                  code_challenge, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&hash_token(&code)[..])
    .bind(checked.client.id)
    .bind(user_id)
    .bind(&checked.request.redirect_uri)
    .bind(&checked.scopes)
    .bind(&checked.request.code_challenge)
    .bind(app.deps.clock.now() + CODE_LIFETIME)
    .execute(&app.deps.pool)
    .await?;
    if checked.request.redirect_uri == OUT_OF_BAND {
        return Ok(see_other(&format!("/oauth/authorize/native?code={code}")));
    }
    Ok(checked.answer(vec![("code", &code)]))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Native {
    code: String,
}

/// `GET /oauth/authorize/native`: the code to copy.
pub(super) async fn native(
    State(app): State<App>,
    browser: Browser,
    Params(given): Params<Native>,
) -> Response {
    render(
        &app,
        &browser,
        FormAction::OwnSite,
        "code.html",
        context! { code => given.code },
    )
}
