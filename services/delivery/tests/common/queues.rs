//! Queues that are watched, or break.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_queue::{Consumer, Delivered, Outgoing, Queue, QueueError, QueueStats};

/// A queue whose consumers are counted, and take their time to end.
pub struct Watched {
    inner: Arc<dyn Queue>,
    open: Arc<AtomicUsize>,
    breaks: bool,
}

impl Watched {
    /// The consumers of `inner` are counted in `open`.
    pub fn new(inner: Arc<dyn Queue>, open: &Arc<AtomicUsize>) -> Self {
        Self {
            inner,
            open: Arc::clone(open),
            breaks: false,
        }
    }

    /// A queue of which taking a message panics.
    pub fn broken(inner: Arc<dyn Queue>) -> Self {
        Self {
            inner,
            open: Arc::default(),
            breaks: true,
        }
    }
}

#[async_trait]
impl Queue for Watched {
    async fn declare(&self, queues: &[String]) -> Result<(), QueueError> {
        self.inner.declare(queues).await
    }

    async fn publish(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.inner.publish(batch).await
    }

    async fn consume(
        &self,
        queues: &[String],
        prefetch: u16,
    ) -> Result<Box<dyn Consumer>, QueueError> {
        let inner = self.inner.consume(queues, prefetch).await?;
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Taking {
            inner,
            open: Arc::clone(&self.open),
            breaks: self.breaks,
        }))
    }

    async fn stats(&self, queues: &[String]) -> Result<Vec<QueueStats>, QueueError> {
        self.inner.stats(queues).await
    }
}

struct Taking {
    inner: Box<dyn Consumer>,
    open: Arc<AtomicUsize>,
    breaks: bool,
}

#[async_trait]
impl Consumer for Taking {
    async fn next(&mut self) -> Option<Delivered> {
        let next = self.inner.next().await;
        assert!(!self.breaks, "on purpose");
        next
    }

    async fn stop(&mut self) {
        self.inner.stop().await;
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        // Long enough that whoever does not wait for it is found out.
        std::thread::sleep(Duration::from_millis(300));
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}
