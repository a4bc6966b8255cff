//! The delivery service: carries activities to the rest of the fediverse, and is the only
//! service with a way out.
//!
//! [`Delivery`] is built once per process. Its [`Delivery::run`] delivers what comes by queue and
//! what waits in the database, finds lost rows and looks after the table's partitions; its gRPC
//! services answer what other roles need from remote servers. All of them share one guarded
//! HTTP client ([`HttpClient`]).

mod attempt;
mod egress;
mod engine;
mod gauges;
mod host;
mod instance_actor;
mod lease;
mod lost_events;
mod metrics;
mod operators;
mod options;
mod partitions;
mod publish;
mod reconcile;
mod reshard;
mod service;
mod signer;
mod verify;
mod watermarks;

use std::sync::Arc;

use sqlx::PgPool;
use tidegate_model::{Clock, Instance, Queues};
use tidegate_proto::delivery::v1::deliveries_server::DeliveriesServer;
use tidegate_proto::delivery::v1::egress_server::EgressServer;
use tidegate_proto::delivery::v1::hosts_server::HostsServer;
use tidegate_queue::Queue;
use tidegate_store::{KeyVault, OutboxHandle};
use tidegate_telemetry::Stop;

pub use egress::{
    Answer, Document, EgressError, EgressOptions, HttpClient, Lookup, Resolved, WayOut,
    is_global_unicast,
};
pub use instance_actor::ensure_instance_actor;
pub use operators::{
    By, Cursor, DeliveryView, Filter, HostFilter, HostView, ListedDeliveries, Move, MoveKind,
    OperatorError, Operators, Progress, StatusDelivery, StatusHost, Steered, Why,
};
pub use options::DeliveryOptions;
pub use partitions::maintain as maintain_partitions;
pub use reshard::{ReshardError, Resharded, change_shards};
pub use service::{DeliveriesService, EgressService, HostsService};
pub use signer::{Scheme, SignError, Signer};
pub use verify::{Counts, Miscounted, Missing, Verification, verify};

/// What the delivery role needs from the node.
#[derive(Clone)]
#[expect(missing_docs, reason = "the types say it")]
pub struct DeliveryDeps {
    pub pool: PgPool,
    pub queue: Arc<dyn Queue>,
    pub queues: Queues,
    pub outbox: OutboxHandle,
    pub vault: KeyVault,
    pub instance: Instance,
    pub clock: Clock,
}

/// The delivery role of one process. Clones are the same role.
#[derive(Clone)]
pub struct Delivery {
    deps: DeliveryDeps,
    options: Arc<DeliveryOptions>,
    client: HttpClient,
    signer: Signer,
    way_out: WayOut,
    watermarks: watermarks::Watermarks,
}

impl Delivery {
    /// Builds the role. Fails when the options cannot work, or a file of certificate authorities
    /// cannot be read.
    pub fn new(deps: DeliveryDeps, options: DeliveryOptions) -> anyhow::Result<Self> {
        options.check()?;
        let client = HttpClient::new(options.egress.clone(), deps.instance.base())?;
        let signer = Signer::new(deps.pool.clone(), deps.vault.clone(), deps.clock.clone());
        let way_out = WayOut::new(
            client.clone(),
            signer.clone(),
            deps.pool.clone(),
            deps.instance.clone(),
        );
        Ok(Self {
            deps,
            options: Arc::new(options),
            client,
            signer,
            way_out,
            watermarks: watermarks::Watermarks::default(),
        })
    }

    /// Fetches for this process; other processes ask [`Self::egress_server`].
    pub const fn way_out(&self) -> &WayOut {
        &self.way_out
    }

    /// The gRPC service through which other roles fetch. The node adds the token check.
    pub fn egress_server(&self) -> EgressServer<EgressService> {
        EgressServer::new(EgressService::new(self.way_out.clone()))
    }

    /// What operators do, for this process; other processes ask the two servers below.
    pub fn operators(&self) -> Operators {
        let deps = self.deps.clone();
        Operators::new(
            deps.pool,
            deps.outbox,
            deps.queues,
            deps.instance,
            deps.clock,
        )
    }

    /// Deliveries for operators, without the server around it.
    pub fn deliveries_service(&self) -> DeliveriesService {
        DeliveriesService::new(self.deps.pool.clone(), self.operators())
    }

    /// The gRPC service that lists and steers deliveries. The node adds the token check.
    pub fn deliveries_server(&self) -> DeliveriesServer<DeliveriesService> {
        DeliveriesServer::new(self.deliveries_service())
    }

    /// The gRPC service that lists and steers hosts. The node adds the token check.
    pub fn hosts_server(&self) -> HostsServer<HostsService> {
        HostsServer::new(HostsService::new(self.operators()))
    }

    /// Delivers until stopped. Returns early only with an error that a restart may mend.
    pub async fn run(&self, stop: Stop) -> anyhow::Result<()> {
        let deps = &self.deps;
        ensure_instance_actor(&deps.pool, &deps.vault, &deps.instance).await?;
        deps.queue.declare(&deps.queues.for_delivery()).await?;
        let leases = lease::Leases::new(
            deps.pool.clone(),
            deps.queues.shards(),
            self.options.lease_options(),
        );
        let background = async {
            tokio::join!(
                reconcile::run(self, &leases, &stop),
                lost_events::run(self, &stop),
                partitions::run(self, &stop),
                gauges::run(self, &leases, &stop),
            );
            anyhow::Ok(())
        };
        let work = async {
            tokio::try_join!(Box::pin(engine::run(self, &leases, &stop)), background)?;
            Ok(())
        };
        tokio::select! {
            result = work => result,
            () = stop.hard.cancelled() => Ok(()),
        }
    }
}

/// Builds the role and delivers until stopped.
pub async fn run(deps: DeliveryDeps, options: DeliveryOptions, stop: Stop) -> anyhow::Result<()> {
    Box::pin(Delivery::new(deps, options)?.run(stop)).await
}
