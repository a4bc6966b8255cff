//! What operators see of hosts and deliveries, and how they steer them: one implementation for
//! the gRPC services and for the command line. Every act is written down with whoever did it, in
//! the transaction that has its effect.

mod acts;
mod deliveries;
mod error;
mod filter;
mod hosts;
mod moves;
mod per_status;
#[cfg(test)]
mod plans;
mod purge;
mod replay;
mod steer;

use sqlx::PgPool;
use tidegate_model::{Clock, Instance, Queues};
use tidegate_store::OutboxHandle;

pub use acts::{By, Why};
pub use deliveries::{Cursor, DeliveryView, ListedDeliveries};
pub use error::OperatorError;
pub use filter::Filter;
pub use hosts::{HostFilter, HostView};
pub use moves::{Move, MoveKind, Progress};
pub use per_status::{StatusDelivery, StatusHost};
pub use steer::Steered;

/// Rows of a page when nothing else is asked for, and at most: a page is held in memory.
const PAGE: (i64, i64) = (100, 1_000);

/// The operators' hand. Cheap to clone.
#[derive(Clone)]
pub struct Operators {
    pool: PgPool,
    outbox: OutboxHandle,
    queues: Queues,
    instance: Instance,
    clock: Clock,
}

impl Operators {
    /// Works on this database; mails to whoever asked for what is purged go through `outbox`.
    pub const fn new(
        pool: PgPool,
        outbox: OutboxHandle,
        queues: Queues,
        instance: Instance,
        clock: Clock,
    ) -> Self {
        Self {
            pool,
            outbox,
            queues,
            instance,
            clock,
        }
    }
}

/// How many rows a page has that `asked` was asked for.
fn page(asked: i64) -> Result<i64, OperatorError> {
    match asked {
        0 => Ok(PAGE.0),
        1.. => Ok(asked.min(PAGE.1)),
        _ => Err(OperatorError::invalid("a limit is at least 1")),
    }
}
