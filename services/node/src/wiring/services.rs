//! What each role is given, made from the configuration.

use std::sync::Arc;

use sqlx::PgPool;
use tidegate_api::{ApiDeps, ApiOptions, Registrations};
use tidegate_delivery::{DeliveryDeps, DeliveryOptions, EgressOptions, Operators};
use tidegate_fanout::{FanoutDeps, FanoutOptions, HeardFrom, MailOptions, MailRoute, Spending};
use tidegate_model::{Clock, Instance, Queues};
use tidegate_proto::delivery::v1::deliveries_client::DeliveriesClient;
use tidegate_proto::delivery::v1::egress_client::EgressClient;
use tidegate_proto::delivery::v1::hosts_client::HostsClient;
use tidegate_proto::fanout::v1::timelines_client::TimelinesClient;
use tidegate_proto::{Rpc, RpcAuth};
use tidegate_queue::{Queue, RabbitQueue};
use tidegate_store::{KeyVault, OutboxHandle};
use tidegate_timeline::Timelines;

use super::stores::OpenQueue;
use super::{open_queue, open_timelines, rpc};
use crate::config::{Config, RegistrationMode};

/// What all roles of a process share. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) pool: PgPool,
    pub(super) queue: Arc<dyn Queue>,
    /// The same queue when it is a broker: it can be asked how it is.
    pub(super) broker: Option<RabbitQueue>,
    pub(super) queues: Queues,
    pub(super) timelines: Arc<dyn Timelines>,
    pub(super) outbox: OutboxHandle,
    pub(super) vault: KeyVault,
    pub(super) instance: Instance,
    pub(super) clock: Clock,
}

impl Shared {
    /// Opens everything that the configuration names.
    pub(super) fn open(config: &Config, pool: &PgPool) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let OpenQueue { queue, broker } = open_queue(config, pool)?;
        Ok(Self {
            queue,
            broker,
            queues: Queues::new(config.queue.prefix.clone(), config.queue.shards),
            timelines: open_timelines(config, &clock)?,
            outbox: OutboxHandle::default(),
            vault: KeyVault::new(config.secrets.key_encryption_key.expose().as_bytes()),
            instance: config.instance.identity()?,
            pool: pool.clone(),
            clock,
        })
    }

    pub(super) fn api(&self, to_delivery: Rpc, to_fanout: Rpc) -> ApiDeps {
        let shared = self.clone();
        ApiDeps {
            pool: shared.pool,
            queue: shared.queue,
            queues: shared.queues,
            timelines: shared.timelines,
            outbox: shared.outbox,
            vault: shared.vault,
            egress: EgressClient::new(to_delivery.clone()),
            hosts: HostsClient::new(to_delivery.clone()),
            deliveries: DeliveriesClient::new(to_delivery),
            rebuilds: TimelinesClient::new(to_fanout),
            instance: shared.instance,
            clock: shared.clock,
        }
    }

    pub(super) fn fanout(&self, to_delivery: Rpc) -> FanoutDeps {
        let shared = self.clone();
        FanoutDeps {
            pool: shared.pool,
            queue: shared.queue,
            queues: shared.queues,
            timelines: shared.timelines,
            outbox: shared.outbox,
            vault: shared.vault,
            egress: EgressClient::new(to_delivery),
            instance: shared.instance,
            clock: shared.clock,
            heard_from: HeardFrom::default(),
            spending: Spending::default(),
        }
    }

    pub(super) fn delivery(&self) -> DeliveryDeps {
        let shared = self.clone();
        DeliveryDeps {
            pool: shared.pool,
            queue: shared.queue,
            queues: shared.queues,
            outbox: shared.outbox,
            vault: shared.vault,
            instance: shared.instance,
            clock: shared.clock,
        }
    }
}

/// What the api role's own functions need when a command calls them. Calls to other roles fail:
/// a command is alone.
pub(crate) fn api_for_commands(
    config: &Config,
    pool: &PgPool,
) -> anyhow::Result<(ApiDeps, ApiOptions)> {
    let auth = RpcAuth::new(config.rpc.token.expose())?;
    let (nowhere, _) = rpc::pipe().split();
    let alone = rpc::authenticated(nowhere, &auth);
    let deps = Shared::open(config, pool)?.api(alone.clone(), alone);
    Ok((deps, api_options(config)))
}

/// The operators' hand, for a command that works on the database itself.
pub(crate) async fn operators(config: &Config, pool: &PgPool) -> anyhow::Result<Operators> {
    let pending = tidegate_store::pending_migrations(pool).await?;
    anyhow::ensure!(
        pending == 0,
        "{pending} migrations are pending: run `tidegate migrate` first"
    );
    Ok(Operators::new(
        pool.clone(),
        OutboxHandle::default(),
        Queues::new(config.queue.prefix.clone(), config.queue.shards),
        config.instance.identity()?,
        Clock::system(),
    ))
}

pub(super) fn api_options(config: &Config) -> ApiOptions {
    ApiOptions {
        title: config.instance.title.clone(),
        description: config.instance.description.clone(),
        contact_email: config.instance.contact_email.clone(),
        registrations: match config.registrations.mode {
            RegistrationMode::Open => Registrations::Open,
            RegistrationMode::Approval => Registrations::Approval,
            RegistrationMode::Invite => Registrations::Invite,
            RegistrationMode::Closed => Registrations::Closed,
        },
        rules: config.instance.rules.clone(),
        confirm_email: config.registrations.confirm_email,
        allow_plain_http: config.egress.allow_plain_http,
        signature_window: config.federation.window(),
        ..ApiOptions::default()
    }
}

pub(super) fn fanout_options(config: &Config) -> FanoutOptions {
    let route = if config.mail.is_folder() {
        MailRoute::Folder(config.data_dir.join("mail"))
    } else {
        MailRoute::Smtp(config.mail.url.clone())
    };
    FanoutOptions {
        mail: MailOptions {
            route,
            from: config.mail.from.clone(),
            extra_ca_files: config.mail.extra_ca_files.clone(),
        },
        signature_window: config.federation.window(),
        ..FanoutOptions::default()
    }
}

pub(super) fn delivery_options(config: &Config) -> DeliveryOptions {
    let egress = &config.egress;
    DeliveryOptions {
        egress: EgressOptions {
            allow_networks: egress.allow_networks.clone(),
            allow_plain_http: egress.allow_plain_http,
            host_map: egress
                .host_map
                .iter()
                .map(|mapping| (mapping.suffix.clone(), mapping.address))
                .collect(),
            extra_ca_files: egress.extra_ca_files.clone(),
            ..EgressOptions::default()
        },
        posts_in_flight: config.delivery.posts_in_flight,
        ..DeliveryOptions::default()
    }
    .faster(config.delivery.hurry)
}
