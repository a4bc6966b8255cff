//! Real servers for tests: PostgreSQL, Redis and RabbitMQ, started once in the ignored folder
//! `.tidegate/test` of the workspace and shared by every test process, each test with a database,
//! key prefix or virtual host of its own; private instances for tests that kill them; and a proxy
//! that breaks and mends the network.
//!
//! A server that is not installed fails the test with the command that installs it; nothing is
//! ever skipped. Everything listens on 127.0.0.1 only. `TIDEGATE_TEST_POSTGRES`,
//! `TIDEGATE_TEST_REDIS` and `TIDEGATE_TEST_RABBITMQ` name servers to use instead.

mod certificates;
mod contents;
mod database;
mod home;
mod http;
mod logs;
mod network;
mod postgres;
mod private_postgres;
mod program;
mod proxy;
mod rabbit_cluster;
mod rabbit_queues;
mod rabbitmq;
mod redis_server;
mod vhost;

pub use certificates::Certificates;
pub use contents::{Contents, contents, differences};
pub use database::TestDatabase;
pub use logs::Logs;
pub use postgres::Postgres;
pub use private_postgres::PrivatePostgres;
pub use program::program;
pub use proxy::BreakableProxy;
pub use rabbit_cluster::{RabbitCluster, Replicas};
pub use rabbitmq::RabbitMq;
pub use redis_server::Redis;
pub use vhost::TestVhost;
