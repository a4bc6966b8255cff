//! The queue seam: durable messages with acknowledgement, on RabbitMQ or in a table of the
//! database. What is common (encoding, the outbox relay, batching) lives here, above the seam;
//! a backend only moves bytes.

pub mod envelope;
mod metrics;
mod relay;
mod seam;
mod table;

pub use relay::Relay;
pub use seam::{Consumer, Delivered, Handle, Outgoing, Queue, QueueError, QueueStats};
pub use table::{TableQueue, VISIBILITY};
