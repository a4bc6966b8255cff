//! A node at work: its tasks in two groups, because what the roles finish at the end still needs
//! the relay, the way to other roles and the metrics.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::PgPool;
use tidegate_queue::{QueueError, Relay, measure_outbox};
use tidegate_store::shards::{self, Shards};
use tidegate_telemetry::Stop;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use super::assembly::Assembly;
use super::services::Shared;
use super::{Ports, dead_messages, gauges, http, rpc};
use crate::config::{Config, Shutdown};
use crate::lifecycle::{self, Health, Tasks};
use crate::roles::Roles;

/// The relay and the servers have nothing left to do once the roles have ended.
const BASE_GRACE: Duration = Duration::from_secs(5);

/// Between two tries to declare the queues: a broker takes about 7 s to start.
const DECLARE_AGAIN: Duration = Duration::from_secs(1);

/// The parts of a running node.
pub(crate) struct Node {
    roles: Tasks,
    base: Tasks,
    health: Health,
    rpc_health: HealthReporter,
}

impl Node {
    /// Starts everything; returns once the node takes work.
    pub(crate) async fn start(
        config: &Config,
        roles: Roles,
        ports: Ports,
        pool: PgPool,
    ) -> anyhow::Result<Self> {
        let (rpc_health, rpc_health_server) = health_reporter();
        let mut node = Self {
            roles: Tasks::new(),
            base: Tasks::new(),
            health: Health::default(),
            rpc_health,
        };
        let stop = node.base.stop_signal().clone();
        let metrics =
            tidegate_telemetry::metrics_router().merge(lifecycle::router(node.health.clone()));
        node.base.spawn(
            "metrics",
            http::serve(ports.metrics, metrics, Vec::new(), stop.clone()),
        );
        bring_schema_up_to_date(&pool, roles).await?;
        agree_on_shards(&pool, config.queue.shards).await?;
        let shared = Shared::open(config, &pool)?;
        // Remote servers ask for it before they answer our signed requests, whichever role is up.
        tidegate_delivery::ensure_instance_actor(&shared.pool, &shared.vault, &shared.instance)
            .await
            .context("the instance's own actor cannot be used")?;
        node.depend_on_stores(roles, &shared);

        let mut assembly = Assembly::new(config, roles, &shared, &mut node.roles, &mut node.base)?;
        // Health says nothing worth hiding, and orchestrators cannot send a token.
        assembly.serve(rpc_health_server);
        assembly.add_delivery()?;
        assembly.add_fanout()?;
        assembly.add_api(ports.http)?;
        let (routes, pipe) = assembly.finish();

        if let Some(listener) = ports.rpc {
            let serving = rpc::serve_tcp(routes.clone(), listener, stop.clone());
            node.base.spawn("rpc", serving);
        }
        node.base
            .spawn("rpc-inside", rpc::serve_pipe(routes, pipe, stop.clone()));
        node.base
            .spawn("relay", relay(shared.clone(), stop.clone()));
        if let (Some(broker), true) = (shared.broker.clone(), roles.fanout) {
            let draining = dead_messages::drain(broker, shared.pool.clone(), stop.clone());
            node.base.spawn("dead-messages", draining);
        }
        node.base.spawn("gauges", gauges::run(shared, roles, stop));
        node.health.set_serving(true);
        Ok(node)
    }

    /// Waits until a part ends that should not, and says how.
    pub(crate) async fn crash(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.roles.crash() => error,
            error = self.base.crash() => error,
        }
    }

    /// Says "not ready" for a while, then finishes what is in hand.
    pub(crate) async fn stop(self, shutdown: &Shutdown) -> anyhow::Result<()> {
        self.health.set_serving(false);
        self.rpc_health
            .set_service_status("", ServingStatus::NotServing)
            .await;
        tokio::time::sleep(shutdown.drain.0).await;
        self.end(shutdown.grace.0).await
    }

    /// Ends all parts, the roles first.
    pub(crate) async fn end(self, grace: Duration) -> anyhow::Result<()> {
        let roles = self.roles.end(grace).await;
        let base = self.base.end(BASE_GRACE).await;
        roles.and(base)
    }

    /// Readiness needs the database with our schema, and where messages are consumed the queue.
    /// It does not ask for what a role can do without: home timelines are read from the database
    /// while Redis is away, and an api takes posts while the broker is (the outbox keeps them),
    /// so that a load balancer must not take it out for that. `tidegate doctor` asks for all.
    fn depend_on_stores(&self, roles: Roles, shared: &Shared) {
        let pool = shared.pool.clone();
        let database = move || {
            let pool = pool.clone();
            async move {
                match tidegate_store::pending_migrations(&pool).await? {
                    0 => Ok(()),
                    pending => bail!("{pending} migrations are pending"),
                }
            }
        };
        self.health
            .depend_on("database", Arc::new(move || Box::pin(database())));
        let (Some(broker), true) = (shared.broker.clone(), roles.fanout || roles.delivery) else {
            return;
        };
        let broker = move || {
            let broker = broker.clone();
            async move { Ok(broker.check().await?) }
        };
        self.health
            .depend_on("queue", Arc::new(move || Box::pin(broker())));
    }
}

/// Publishes what was committed, once the queues are there; how long it waits is told from the
/// start.
async fn relay(shared: Shared, stop: Stop) -> anyhow::Result<()> {
    let measuring = measure_outbox(shared.pool.clone(), stop.soft.clone());
    let publishing = async {
        declare_queues(&shared, &stop).await?;
        Relay::new(
            shared.pool.clone(),
            shared.queue.clone(),
            shared.outbox.clone(),
        )
        .run(stop.soft.clone())
        .await;
        anyhow::Ok(())
    };
    tokio::try_join!(publishing, async {
        measuring.await;
        Ok(())
    })?;
    Ok(())
}

/// Declares the queues, again and again while the broker is away: posting works meanwhile.
pub(super) async fn declare_queues(shared: &Shared, stop: &Stop) -> anyhow::Result<()> {
    loop {
        match shared.queue.declare(&shared.queues.all()).await {
            Ok(()) => return Ok(()),
            Err(QueueError::Unavailable(why)) => {
                tracing::warn!(why, "the queues cannot be declared yet; trying again");
            }
            Err(error) => return Err(error).context("queue.url: the queues cannot be declared"),
        }
        if !stop.sleep(DECLARE_AGAIN).await {
            return Ok(());
        }
    }
}

async fn bring_schema_up_to_date(pool: &PgPool, roles: Roles) -> anyhow::Result<()> {
    let pending = tidegate_store::pending_migrations(pool).await?;
    if pending > 0 && !roles.is_all() {
        bail!(
            "{pending} migrations are pending: run `tidegate migrate` once, before any node of \
             this version starts"
        );
    }
    if pending > 0 {
        tidegate_store::migrate(pool)
            .await
            .context("the migration failed and changed nothing")?;
    }
    Ok(())
}

/// All processes of an instance have one number of shards. The first one to start decides it.
async fn agree_on_shards(pool: &PgPool, mine: u32) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    let Shards { count, changing } = shards::adopt(&mut connection, mine).await?;
    if changing {
        bail!(
            "a change to {count} delivery shards is not finished: run `tidegate admin shards set \
             {count}`, then start with queue.shards = {count}"
        );
    }
    if count != mine {
        bail!(
            "queue.shards is {mine}, but this instance has {count} delivery shards: set \
             queue.shards = {count}, or change the number with `tidegate admin shards set {mine}` \
             while no delivery process runs"
        );
    }
    Ok(())
}
