//! The few pages that people see in a browser: the way in, the consent page, public profiles
//! and posts. No scripts; one style sheet; every form carries a token against forgery.

mod browser;
mod page;
mod public;
mod sign_in;
mod sign_up;

use axum::{
    Router,
    http::header,
    response::IntoResponse,
    routing::{get, post},
};

use crate::state::App;

pub(crate) use browser::Browser;
pub(crate) use page::{FormAction, PageError, PageResult, found, render, see_other};
pub(crate) use public::redirect_or_page;

/// The routes of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(public::landing))
        .route("/about", get(public::about))
        .route("/privacy-policy", get(public::privacy))
        .route("/style.css", get(style))
        .route("/auth/sign_in", get(sign_in::show).post(sign_in::sign_in))
        .route("/auth/sign_out", post(sign_in::sign_out))
        .route("/auth/sign_up", get(sign_up::show).post(sign_up::sign_up))
        .route(
            "/auth/confirmation",
            get(sign_up::confirm).post(sign_up::resend),
        )
        .route("/auth/confirmation/new", get(sign_up::resend_form))
        .route("/@{name}", get(public::profile))
        .route("/@{name}/{id}", get(public::post))
}

/// The style sheet of all pages.
async fn style() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            // It changes with a release only.
            (header::CACHE_CONTROL, "public, max-age=3600"),
        ],
        include_str!("templates/style.css"),
    )
}
