//! What remote servers ask of us: discovery, actors, collections, posts, and the inbox.
//!
//! No remote host is ever awaited here (design section 8); what must be fetched is left to the
//! fanout and delivery roles.

mod activitypub;
mod actors;
mod collections;
mod discovery;
mod documents;
mod inbox;
mod notes;
mod reader;

use axum::{
    Router,
    routing::{get, post},
};

use crate::state::App;

pub(crate) use activitypub::wants_activity;
pub(crate) use actors::actor_response;
pub(crate) use documents::actor as actor_doc;
pub(crate) use inbox::Inbox;

/// The routes of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/.well-known/webfinger", get(discovery::webfinger))
        .route("/.well-known/host-meta", get(discovery::host_meta))
        .route(
            "/.well-known/host-meta.json",
            get(discovery::host_meta_json),
        )
        .route("/.well-known/nodeinfo", get(discovery::nodeinfo_index))
        .route("/nodeinfo/2.0", get(discovery::nodeinfo))
        .route("/actor", get(actors::instance))
        .route("/actor/inbox", post(inbox::shared))
        .route("/actor/outbox", get(collections::instance_outbox))
        .route("/inbox", post(inbox::shared))
        .route("/users/{name}", get(actors::show))
        .route("/users/{name}/inbox", post(inbox::personal))
        .route("/users/{name}/outbox", get(collections::outbox))
        .route("/users/{name}/followers", get(collections::followers))
        .route("/users/{name}/following", get(collections::following))
        .route("/users/{name}/statuses/{id}", get(notes::show))
        .route("/users/{name}/statuses/{id}/activity", get(notes::activity))
        .route("/users/{name}/statuses/{id}/replies", get(notes::replies))
}
