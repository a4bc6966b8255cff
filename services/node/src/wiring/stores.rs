//! Chooses the queue and the timelines by their URLs. Connections are made when first needed, so
//! that a node starts while a broker or a cache is away.

use std::sync::Arc;

use anyhow::Context;
use sqlx::PgPool;
use tidegate_model::Clock;
use tidegate_queue::{Queue, RabbitOptions, RabbitQueue, TableQueue};
use tidegate_timeline::{MemoryTimelines, RedisOptions, RedisTimelines, Timelines};

use super::authorities;
use crate::config::Config;

/// A queue, and the broker behind it if there is one.
pub(crate) struct OpenQueue {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) broker: Option<RabbitQueue>,
}

/// The queue that `queue.url` names.
pub(crate) fn open_queue(config: &Config, pool: &PgPool) -> anyhow::Result<OpenQueue> {
    if config.queue.is_table() {
        return Ok(OpenQueue {
            queue: Arc::new(TableQueue::new(pool.clone())),
            broker: None,
        });
    }
    let options = RabbitOptions {
        url: config.queue.url.clone(),
        authorities: authorities::for_url(config.queue.url.expose(), &config.queue.extra_ca_files)
            .context("queue")?,
        prefix: config.queue.prefix.clone(),
    };
    let broker = RabbitQueue::new(&options, pool.clone()).context("queue.url")?;
    Ok(OpenQueue {
        queue: Arc::new(broker.clone()),
        broker: Some(broker),
    })
}

/// The timelines that `timelines.url` names.
pub(crate) fn open_timelines(config: &Config, clock: &Clock) -> anyhow::Result<Arc<dyn Timelines>> {
    if config.timelines.is_memory() {
        let lists = usize::try_from(config.timelines.memory_accounts)?;
        return Ok(Arc::new(MemoryTimelines::new(lists, clock.clone())));
    }
    let options = RedisOptions {
        url: config.timelines.url.clone(),
        authorities: authorities::for_url(
            config.timelines.url.expose(),
            &config.timelines.extra_ca_files,
        )
        .context("timelines")?,
        prefix: config.timelines.prefix.clone(),
    };
    Ok(Arc::new(
        RedisTimelines::new(&options, clock.clone()).context("timelines.url")?,
    ))
}
