//! The queue seam: durable messages with acknowledgement, on RabbitMQ or in a table of the
//! database. What is common (encoding, the outbox relay, batching) lives here, above the seam;
//! a backend only moves bytes.

mod age;
mod consume;
pub mod envelope;
mod metrics;
mod rabbit;
mod relay;
mod seam;
mod table;

pub use age::age_of_last_taken;
pub use consume::{Decision, Job, consume};
pub use rabbit::{RabbitOptions, RabbitQueue};
pub use relay::{Relay, measure_outbox};
pub use seam::{Consumer, Delivered, Handle, Outgoing, Queue, QueueError, QueueStats};
pub use table::{TableQueue, VISIBILITY};
