//! Signing up with a browser, and confirming an address.

use axum::{extract::State, http::StatusCode, response::Response};
use minijinja::context;
use serde::Deserialize;

use super::{
    Browser, FormAction, PageError, PageResult,
    page::{render, render_with},
};
use crate::{
    params::Params,
    signup::{self, NewUser, SignUpError, confirmation},
    state::App,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SignUp {
    username: String,
    email: String,
    password: String,
    agreement: bool,
    reason: String,
    csrf: String,
}

/// `GET /auth/sign_up`.
pub(super) async fn show(State(app): State<App>, browser: Browser) -> PageResult {
    let mode = app.registrations().await?;
    Ok(render(
        &app,
        &browser,
        FormAction::OwnSite,
        "sign_up.html",
        context! {
            mode => mode.as_str(),
            open => mode.is_enabled(),
            rules => app.options.rules,
            domain => app.deps.instance.domain,
        },
    ))
}

/// `POST /auth/sign_up`.
pub(super) async fn sign_up(
    State(app): State<App>,
    browser: Browser,
    Params(given): Params<SignUp>,
) -> PageResult {
    browser.check_csrf(&given.csrf)?;
    let mode = app.registrations().await?;
    let new = NewUser {
        username: given.username.clone(),
        email: given.email.clone(),
        password: given.password,
        agreement: given.agreement,
        locale: "en".to_owned(),
        reason: given.reason.clone(),
        app_id: None,
    };
    let created = match signup::sign_up(&app, new).await {
        Ok(created) => created,
        Err(SignUpError::Invalid(problems)) => {
            return Ok(render_with(
                &app,
                &browser,
                FormAction::OwnSite,
                StatusCode::UNPROCESSABLE_ENTITY,
                "sign_up.html",
                context! {
                    mode => mode.as_str(),
                    open => mode.is_enabled(),
                    rules => app.options.rules,
                    domain => app.deps.instance.domain,
                    problems => problems.sentences(),
                    username => given.username,
                    email => given.email,
                    reason => given.reason,
                },
            ));
        }
        Err(SignUpError::Api(error)) => return Err(error.into()),
    };
    let text = if !created.confirmed {
        "Almost there: we have sent you a mail. Open the link in it within two days."
    } else if !created.approved {
        "Thank you. An operator will look at your request."
    } else {
        "Welcome! Your account is ready: sign in with any Mastodon app, or on this page."
    };
    Ok(message(
        &app,
        &browser,
        StatusCode::OK,
        "Your account",
        text,
    ))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Confirm {
    confirmation_token: String,
}

/// `GET /auth/confirmation?confirmation_token=`.
pub(super) async fn confirm(
    State(app): State<App>,
    browser: Browser,
    Params(given): Params<Confirm>,
) -> PageResult {
    if confirmation::confirm(&app, &given.confirmation_token).await? {
        let text = "Your address is confirmed. Sign in with any Mastodon app, or on this page.";
        Ok(message(&app, &browser, StatusCode::OK, "Confirmed", text))
    } else {
        Err(PageError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "This link is not valid any more. If your address is not confirmed yet, ask for another mail.",
        ))
    }
}

/// `GET /auth/confirmation/new`.
pub(super) async fn resend_form(State(app): State<App>, browser: Browser) -> Response {
    render(
        &app,
        &browser,
        FormAction::OwnSite,
        "resend.html",
        context! {},
    )
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resend {
    email: String,
    csrf: String,
}

/// `POST /auth/confirmation`: the answer does not tell whether the address is known.
pub(super) async fn resend(
    State(app): State<App>,
    browser: Browser,
    Params(given): Params<Resend>,
) -> PageResult {
    browser.check_csrf(&given.csrf)?;
    confirmation::resend_to_address(&app, given.email.trim()).await?;
    let text = "If an account with this address waits for its confirmation, a mail is on its way.";
    Ok(message(&app, &browser, StatusCode::OK, "Mail", text))
}

fn message(
    app: &App,
    browser: &Browser,
    status: StatusCode,
    heading: &str,
    text: &str,
) -> Response {
    render_with(
        app,
        browser,
        FormAction::OwnSite,
        status,
        "message.html",
        context! { heading, text },
    )
}
