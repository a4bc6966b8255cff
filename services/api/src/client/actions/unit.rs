//! One unit of work: a transaction, and what happens once it is committed.

use std::ops::{Deref, DerefMut};

use sqlx::{PgConnection, Postgres, Transaction};
use tidegate_model::{Message, Queues};
use tidegate_store::activities::{self, Draft};
use tidegate_store::{OutboxHandle, StoreError};

use crate::error::ApiResult;
use crate::state::App;

/// A transaction that also collects what is published after its commit. Dropped without
/// [`Unit::commit`] it leaves no trace.
pub(crate) struct Unit<'a> {
    transaction: Transaction<'static, Postgres>,
    outbox: &'a OutboxHandle,
    queues: &'a Queues,
    published: bool,
}

impl<'a> Unit<'a> {
    pub(crate) async fn begin(app: &'a App) -> ApiResult<Self> {
        Ok(Self {
            transaction: tidegate_store::begin(&app.deps.pool).await?,
            outbox: &app.deps.outbox,
            queues: &app.deps.queues,
            published: false,
        })
    }

    /// Writes down an activity and the message that plans its deliveries.
    pub(crate) async fn send(&mut self, draft: &Draft) -> Result<(), StoreError> {
        activities::enqueue(&mut self.transaction, self.outbox, self.queues, draft).await?;
        self.published = true;
        Ok(())
    }

    /// Writes down the message that puts a status into its local audience's timelines.
    pub(crate) async fn fan_out(&mut self, status_id: i64) -> Result<(), StoreError> {
        let message = Message::FanoutStatus { status_id };
        self.outbox
            .add(&mut self.transaction, &self.queues.fanout(), &message)
            .await?;
        self.published = true;
        Ok(())
    }

    /// Commits; only after this may the caller tell anybody that it is done.
    pub(crate) async fn commit(self) -> ApiResult<()> {
        self.transaction.commit().await?;
        if self.published {
            self.outbox.wake();
        }
        Ok(())
    }
}

impl Deref for Unit<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for Unit<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}
