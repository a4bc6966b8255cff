//! The api role: everything that people's apps, browsers and remote servers reach.
//!
//! `client` holds Mastodon's client API; `oauth`, `signup` and `pages` the way in; `federation`
//! what remote servers ask for and the inbox. Nothing here speaks to a remote host: that is the
//! delivery role's, asked over gRPC.

pub mod accounts_admin;
mod auth;
mod client;
mod coverage;
mod error;
mod federation;
mod health;
mod middleware;
mod oauth;
mod pagination;
mod params;
mod signup;
mod state;
mod sweep;
mod web;

use std::sync::Arc;

use axum::Router;
use sqlx::PgPool;
use tidegate_model::{Clock, Instance, Queues};
use tidegate_proto::{
    Rpc,
    delivery::v1::{
        deliveries_client::DeliveriesClient, egress_client::EgressClient, hosts_client::HostsClient,
    },
    fanout::v1::timelines_client::TimelinesClient,
};
use tidegate_queue::Queue;
use tidegate_store::{KeyVault, OutboxHandle};
use tidegate_telemetry::Stop;
use tidegate_timeline::Timelines;

pub use coverage::page as coverage_page;
pub use state::{ApiOptions, Registrations};

use state::App;

/// What the role works with; the node builds it. Cheap to clone.
#[derive(Clone)]
pub struct ApiDeps {
    /// The database.
    pub pool: PgPool,
    /// Where verified inbound activities are published.
    pub queue: Arc<dyn Queue>,
    /// The names of the queues.
    pub queues: Queues,
    /// Home timelines.
    pub timelines: Arc<dyn Timelines>,
    /// Messages that commit with a change.
    pub outbox: OutboxHandle,
    /// Encrypts new accounts' keys.
    pub vault: KeyVault,
    /// The way to remote servers.
    pub egress: EgressClient<Rpc>,
    /// Lists and steers remote hosts.
    pub hosts: HostsClient<Rpc>,
    /// Lists and steers deliveries.
    pub deliveries: DeliveriesClient<Rpc>,
    /// Asks for timelines to be rebuilt.
    pub rebuilds: TimelinesClient<Rpc>,
    /// Who we are.
    pub instance: Instance,
    /// What time it is.
    pub clock: Clock,
}

/// Everything public: client API, pages, federation endpoints.
pub fn router(deps: ApiDeps, options: ApiOptions) -> Router {
    let app = App::new(deps, options);
    let routes = Router::new()
        .merge(client::routes())
        .merge(federation::routes())
        .merge(health::routes())
        .merge(oauth::routes())
        .merge(signup::routes())
        .merge(web::routes());
    middleware::wrap(routes, app)
}

/// The role's background work: sweeping away what has expired. The outbox relay is the queue
/// crate's, run by the node for every role.
pub async fn run_tasks(deps: ApiDeps, options: ApiOptions, stop: Stop) -> anyhow::Result<()> {
    sweep::run(&deps, &options, &stop).await;
    Ok(())
}
