//! Mastodon's client API: one file per family of endpoints.

use axum::Router;

use crate::state::App;

/// The client API's routes.
pub(crate) fn routes() -> Router<App> {
    Router::new()
}
