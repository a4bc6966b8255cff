//! PostgreSQL, the truth: pool, migrations, the rows that more than one service reads or writes,
//! and the outbox. Queries of a single service live in that service.
//!
//! Functions take a connection or executor and never begin a transaction of their own, so that a
//! change, its activities and its outbox rows commit together; the caller owns the transaction.

pub mod accounts;
pub mod activities;
pub mod blocks;
pub mod favourites;
pub mod follows;
pub mod home;
pub mod inboxes;
pub mod notifications;
pub mod settings;
pub mod shards;
pub mod statuses;

mod error;
mod outbox;
mod pool;
mod transaction;
mod vault;

pub use error::{StoreError, is_unique_violation};
pub use outbox::{LEASE, OutboxHandle, OutboxRow};
pub use pool::{PoolOptions, connect, migrate, pending_migrations, server_version};
pub use transaction::{ReadOnly, begin, begin_steady};
pub use vault::{KeyVault, VaultError};
