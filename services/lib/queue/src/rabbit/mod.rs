//! The queue on RabbitMQ: quorum queues, confirmed publishing, consumers that survive.
//!
//! Written against what RabbitMQ 3.10 has (quorum queues, per-consumer prefetch, at-least-once
//! dead-lettering) and nothing that 4.x took away (global prefetch, mirrored queues). Publishing
//! and consuming have a connection each, because an alarm blocks a publishing connection
//! entirely and consuming is what ends the alarm. Reconnecting is ours, not the client
//! library's: see [`link`].

mod consumer;
mod dead;
mod deferred;
mod fault;
mod link;
mod publisher;
mod topology;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgPool;
use tidegate_model::Secret;

use self::link::Link;
use self::publisher::{Item, Publisher};
use self::topology::Topology;
use crate::metrics::{PUBLISH_FAILURES, PUBLISHED};
use crate::{Consumer, Outgoing, Queue, QueueError, QueueStats, envelope};

/// How to reach a RabbitMQ.
#[derive(Debug, Clone)]
pub struct RabbitOptions {
    /// `amqp://user:password@host:5672/vhost` or `amqps://...`.
    pub url: Secret<String>,
    /// For `amqps://`: certificates in PEM, one of whose owners must have signed the broker's.
    pub authorities: String,
    /// The instance prefix, the same as of [`tidegate_model::Queues`]: names the dead queue.
    pub prefix: String,
}

/// The queue on RabbitMQ. Clones share their connections.
#[derive(Clone)]
pub struct RabbitQueue {
    publisher: Arc<Publisher>,
    consuming: Arc<Link>,
    topology: Arc<Topology>,
    /// Where messages wait for another try.
    pool: PgPool,
}

impl RabbitQueue {
    /// Only checks the URL: connections are made when first needed, and again whenever they are
    /// lost, so that a node starts while its broker is down. What must wait for another try
    /// waits in the database behind `pool`, whence a [`crate::Relay`] brings it back.
    pub fn new(options: &RabbitOptions, pool: PgPool) -> Result<Self, QueueError> {
        let topology = Arc::new(Topology::new(&options.prefix));
        let publishing = Link::new(options, "tidegate publishes")?;
        Ok(Self {
            publisher: Arc::new(Publisher::new(publishing, Arc::clone(&topology))),
            consuming: Arc::new(Link::new(options, "tidegate consumes")?),
            topology,
            pool,
        })
    }

    /// Whether the broker lets us in, for readiness and `tidegate doctor`.
    pub async fn check(&self) -> Result<(), QueueError> {
        self.consuming.connection().await.map(|_| ())
    }

    /// The name of the queue of dead messages.
    pub fn dead_queue(&self) -> &str {
        self.topology.dead_queue()
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn declare(&self, queues: &[String]) -> Result<(), QueueError> {
        let connection = self.consuming.connection().await?;
        self.topology.declare(&connection, queues).await
    }

    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let counted = batch.into_iter().map(|outgoing| (outgoing, 0)).collect();
        self.publish_again(counted).await
    }

    async fn publish_again(&self, batch: Vec<(Outgoing, u32)>) -> Vec<Result<(), QueueError>> {
        let mut results = Vec::with_capacity(batch.len());
        let (mut places, mut items) = (Vec::new(), Vec::new());
        for (place, (outgoing, redeliveries)) in batch.into_iter().enumerate() {
            match envelope::encode(&outgoing.message) {
                Ok(payload) => {
                    places.push(place);
                    let item = Item::new(outgoing.queue, payload.into_bytes());
                    items.push(deferred::counted(item, redeliveries));
                    results.push(Ok(()));
                }
                Err(error) => results.push(Err(error)),
            }
        }
        let outcomes = self.publisher.publish(items).await;
        for (place, outcome) in places.into_iter().zip(outcomes) {
            results[place] = outcome;
        }
        let failed = results.iter().filter(|result| result.is_err()).count();
        PUBLISHED.inc_by((results.len() - failed) as u64);
        PUBLISH_FAILURES.inc_by(failed as u64);
        results
    }

    /// Prefetch is divided among the queues (at least one each), because RabbitMQ counts it per
    /// consumer and quorum queues know no other way: with more queues than `prefetch`, what
    /// waits in this process is one message per queue, of which `prefetch` are handed out.
    async fn consume(
        &self,
        queues: &[String],
        prefetch: u16,
    ) -> Result<Box<dyn Consumer>, QueueError> {
        let source = consumer::Source {
            link: Arc::clone(&self.consuming),
            publisher: Arc::clone(&self.publisher),
            topology: Arc::clone(&self.topology),
            pool: self.pool.clone(),
            queues: queues.to_vec(),
            prefetch: prefetch.max(1),
        };
        Ok(Box::new(source.start().await?))
    }

    /// AMQP tells what is ready, not what is in consumers' hands: `unacked` is 0 here; the
    /// broker's own metrics have it.
    async fn stats(&self, queues: &[String]) -> Result<Vec<QueueStats>, QueueError> {
        let connection = self.consuming.connection().await?;
        self.topology.stats(&connection, queues).await
    }
}
