//! What every backend of the queue must do, run on each of them, killed processes and a killed
//! broker included; the outbox relay; and what only RabbitMQ can get wrong.

mod backend;
mod broker;
mod dead;
mod deferred;
mod kills;
mod relay;
mod suite;
