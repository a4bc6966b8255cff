//! Signing in and out with a browser.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use axum_extra::extract::CookieJar;
use minijinja::context;
use serde::Deserialize;

use super::{
    Browser, FormAction, PageResult, browser,
    page::{render, render_with, see_other},
};
use crate::{params::Params, signup::password, state::App};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SignIn {
    email: String,
    password: String,
    return_to: String,
    csrf: String,
}

/// Where to go afterwards: only back to a consent page, never to another site (attack F1).
fn back_to(return_to: &str) -> &str {
    if return_to.starts_with("/oauth/authorize?") {
        return_to
    } else {
        "/"
    }
}

/// `GET /auth/sign_in`.
pub(super) async fn show(
    State(app): State<App>,
    browser: Browser,
    Params(given): Params<SignIn>,
) -> Response {
    render(
        &app,
        &browser,
        // A successful sign-in may be followed by redirects, but only within this site.
        FormAction::OwnSite,
        "sign_in.html",
        context! { return_to => back_to(&given.return_to) },
    )
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    password_hash: String,
    confirmed: bool,
    approved: bool,
    disabled: bool,
}

/// `POST /auth/sign_in`. Unknown addresses and wrong passwords take the same time and get the
/// same answer.
pub(super) async fn sign_in(
    State(app): State<App>,
    browser: Browser,
    Params(given): Params<SignIn>,
) -> PageResult {
    browser.check_csrf(&given.csrf)?;
    let login = given.email.trim();
    let row: Option<Row> = sqlx::query_as(
        "select u.id, u.password_hash, u.confirmed_at is not null as confirmed, u.approved,
                u.disabled or a.suspended_at is not null as disabled
         from users u join accounts a on a.id = u.account_id
         where (lower(u.email) = lower($1)
                or ($1 not like '%@%' and a.domain is null and lower(a.username) = lower($1)))
           and a.deleted_at is null",
    )
    .bind(login)
    .fetch_optional(&app.deps.pool)
    .await?;
    let stored = row.as_ref().map(|row| row.password_hash.clone());
    let is_right = password::check(&app, given.password.clone(), stored).await?;
    let problem = match &row {
        Some(row) if is_right && row.disabled => Some("Your login is currently disabled."),
        Some(row) if is_right && !row.confirmed => {
            Some("Your address is not confirmed yet. Open the link in the mail that we sent you.")
        }
        Some(row) if is_right && !row.approved => Some("Your login is currently pending approval."),
        Some(_) if is_right => None,
        _ => Some("Invalid e-mail address or password."),
    };
    if let Some(problem) = problem {
        return Ok(render_with(
            &app,
            &browser,
            FormAction::OwnSite,
            StatusCode::UNPROCESSABLE_ENTITY,
            "sign_in.html",
            context! {
                problem,
                email => login,
                return_to => back_to(&given.return_to),
            },
        ));
    }
    let mut response = see_other(back_to(&given.return_to));
    if let Some(row) = row {
        browser::begin(&app, row.id, &mut response).await?;
    }
    Ok(response)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SignOut {
    csrf: String,
}

/// `POST /auth/sign_out`.
pub(super) async fn sign_out(
    State(app): State<App>,
    browser: Browser,
    jar: CookieJar,
    Params(given): Params<SignOut>,
) -> PageResult {
    browser.check_csrf(&given.csrf)?;
    let mut response = see_other("/");
    browser::end(&app, &jar, &mut response).await?;
    Ok(response.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site_after_signing_in() {
        for target in [
            "https://evil.test/",
            "//evil.test",
            "/\\evil.test",
            "/oauth/authorize.evil",
            "",
        ] {
            assert_eq!(back_to(target), "/");
        }
        assert_eq!(back_to("/oauth/authorize?x=1"), "/oauth/authorize?x=1");
    }
}
