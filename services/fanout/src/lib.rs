//! The fanout role: turns one event into all its effects. It puts posts into home timelines,
//! makes notifications, plans deliveries, takes in what other servers send, sends mail, and
//! rebuilds home timelines on request.
//!
//! Every effect has a unique key that absorbs its repeat (`docs/effects.md`), so that a message
//! may come any number of times, in any order, to any replica. No transaction is held across a
//! call to another machine, and no handler holds two connections.

mod inbound;
mod local;
mod mail;
mod metrics;
mod options;
mod plan;
mod rebuild;
mod smtp;
mod trouble;
mod unverified;

use std::sync::Arc;

use anyhow::Context;
use tidegate_model::{Clock, Instance, Message, Queues};
use tidegate_proto::Rpc;
use tidegate_proto::delivery::v1::egress_client::EgressClient;
use tidegate_queue::{Decision, Job, Queue, consume};
use tidegate_store::{KeyVault, OutboxHandle};
use tidegate_telemetry::Stop;
use tidegate_timeline::Timelines;
use tokio::task::JoinSet;

pub use inbound::{HeardFrom, Spending};
pub use mail::MailError;
pub use options::{Concurrency, FanoutOptions, MailOptions, MailRoute, RebuildOptions};
pub use rebuild::{TimelinesService, timelines_server};

/// What the role works with. Cheap to clone.
#[derive(Clone)]
pub struct FanoutDeps {
    /// PostgreSQL; a pool of two is enough.
    pub pool: sqlx::PgPool,
    /// Where messages come from and go to.
    pub queue: Arc<dyn Queue>,
    /// The queues' names.
    pub queues: Queues,
    /// Home timelines.
    pub timelines: Arc<dyn Timelines>,
    /// This process's outbox; the process runs its relay.
    pub outbox: OutboxHandle,
    /// Private keys. Answers to follows are signed by the delivery role; nothing here opens it.
    pub vault: KeyVault,
    /// The way out, in the delivery role.
    pub egress: EgressClient<Rpc>,
    /// Who we are.
    pub instance: Instance,
    /// The time.
    pub clock: Clock,
    /// Whom this process heard from lately; starts empty.
    pub heard_from: HeardFrom,
    /// What each origin's activities had fetched lately; starts empty.
    pub spending: Spending,
}

/// What every handler gets.
struct Service {
    deps: FanoutDeps,
    signature_window: time::Duration,
    mailer: mail::Mailer,
}

/// Consumes until `stop`; returns when what was in hand is finished, or at once on a hard stop.
/// Fails when a queue refuses for good or a consumer ends by itself.
pub async fn run(deps: FanoutDeps, options: FanoutOptions, stop: Stop) -> anyhow::Result<()> {
    let service = Arc::new(Service {
        mailer: mail::Mailer::new(&options.mail)?,
        signature_window: options.signature_window,
        deps,
    });
    let queues = &service.deps.queues;
    service
        .deps
        .queue
        .declare(&queues.all())
        .await
        .context("the queues cannot be declared")?;
    let many = options.concurrency;
    let consumers = [
        (queues.fanout(), many.fanout),
        (queues.fanout_ranges(), many.ranges),
        (queues.plan(), many.plan),
        (queues.inbound(), many.inbound),
        (queues.mail(), many.mail),
    ];
    let mut running = JoinSet::new();
    for (name, concurrency) in consumers {
        let (service, stop) = (Arc::clone(&service), stop.clone());
        running.spawn(async move {
            let queue = Arc::clone(&service.deps.queue);
            let names = [name];
            let handle = |job| handle(Arc::clone(&service), job);
            consume(queue.as_ref(), &names, concurrency, &stop, handle).await
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
        anyhow::ensure!(stop.is_stopping(), "a consumer ended without being asked");
    }
    Ok(())
}

/// One message, to the handler of its kind.
async fn handle(service: Arc<Service>, job: Job) -> Decision {
    let redeliveries = job.redeliveries;
    let outcome = match job.message {
        Message::FanoutStatus { status_id } => local::status(&service.deps, status_id).await,
        Message::FanoutRange {
            status_id,
            start,
            end,
        } => local::range(&service.deps, status_id, start, end).await,
        Message::Plan { activity_id } => plan::activity(&service.deps, activity_id).await,
        Message::Inbound {
            account_id,
            body,
            received_at,
        } => {
            let tried = inbound::Tried {
                since: received_at,
                redeliveries,
            };
            return inbound::message(&service.deps, account_id, &body, tried).await;
        }
        Message::Unverified { id } => {
            let window = service.signature_window;
            return unverified::message(&service.deps, window, id, redeliveries).await;
        }
        Message::Mail(mail) => {
            return service
                .mailer
                .message(&service.deps, &mail, redeliveries)
                .await;
        }
        Message::Deliver { .. } => {
            return Decision::Bury("a delivery in a queue of the fanout role".to_owned());
        }
    };
    match outcome {
        Ok(()) => Decision::Done,
        Err(trouble) => trouble.decide(&job.queue, redeliveries),
    }
}
