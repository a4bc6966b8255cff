//! The outbox: messages commit with the change that they belong to, and are published after.
//!
//! A row is born leased to the process that wrote it, whose relay publishes it right after the
//! commit; other processes take it only when the lease ran out. The relay itself lives in the
//! queue crate, which owns publishing.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::types::Json;
use tidegate_model::Message;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::StoreError;

/// How long a fresh row belongs to its writer. Longer than any healthy publish, short enough
/// that a crashed process's posts move on within seconds (design section 5.1).
pub const LEASE: Duration = Duration::from_secs(5);

/// This process's way into the outbox. Clones are the same process.
#[derive(Debug, Clone)]
pub struct OutboxHandle {
    owner: Uuid,
    wake: Arc<Notify>,
}

impl Default for OutboxHandle {
    fn default() -> Self {
        Self {
            owner: Uuid::new_v4(),
            wake: Arc::new(Notify::new()),
        }
    }
}

/// A row as the relay claims it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OutboxRow {
    /// Its id, in order of insertion.
    pub id: i64,
    /// The queue that it goes to.
    pub queue: String,
    /// What it says.
    pub payload: Json<Message>,
    /// How often it was claimed before.
    pub attempts: i32,
}

impl OutboxHandle {
    /// Who this process is, in `lease_owner`.
    pub const fn owner(&self) -> Uuid {
        self.owner
    }

    /// Adds a message within the caller's transaction. Call [`Self::wake`] after the commit.
    pub async fn add(
        &self,
        connection: &mut PgConnection,
        queue: &str,
        message: &Message,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "insert into outbox (queue, payload, lease_owner, leased_until)
             values ($1, $2, $3, now() + make_interval(secs => $4))",
        )
        .bind(queue)
        .bind(Json(message))
        .bind(self.owner)
        .bind(LEASE.as_secs_f64())
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Tells this process's relay that something was committed.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until something was committed. For the relay.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}
