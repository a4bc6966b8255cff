//! What the queue counts.

use std::sync::LazyLock;

use tidegate_telemetry::prometheus::{Gauge, IntCounter, IntGauge, register_gauge};
use tidegate_telemetry::{counter, gauge};

/// Messages that are durable in their queue.
pub(crate) static PUBLISHED: LazyLock<IntCounter> = counter!(
    "tidegate_queue_published_total",
    "Messages published and confirmed."
);

/// Messages that were not taken.
pub(crate) static PUBLISH_FAILURES: LazyLock<IntCounter> = counter!(
    "tidegate_queue_publish_failures_total",
    "Messages that the queue did not confirm, refused or returned."
);

/// Messages moved to the dead messages.
pub(crate) static BURIED: LazyLock<IntCounter> = counter!(
    "tidegate_queue_buried_total",
    "Messages moved to the dead messages with a reason."
);

/// Whether the broker asked us to stop publishing.
pub(crate) static BLOCKED: LazyLock<IntGauge> = gauge!(
    "tidegate_queue_blocked",
    "1 while the broker blocks publishing (memory or disk alarm), else 0."
);

/// Connections that were lost.
pub(crate) static RECONNECTS: LazyLock<IntCounter> = counter!(
    "tidegate_queue_reconnects_total",
    "Connections to the broker made anew after the first."
);

/// Outbox rows published and deleted.
pub(crate) static OUTBOX_PUBLISHED: LazyLock<IntCounter> = counter!(
    "tidegate_outbox_published_total",
    "Outbox rows published by this process."
);

/// Outbox rows that stayed.
pub(crate) static OUTBOX_FAILURES: LazyLock<IntCounter> = counter!(
    "tidegate_outbox_publish_failures_total",
    "Attempts to publish an outbox row that failed; the row stays."
);

/// The one number to watch: how far publishing is behind posting.
pub(crate) static OUTBOX_AGE: LazyLock<Gauge> = LazyLock::new(|| {
    register_gauge!(
        "tidegate_outbox_oldest_age_seconds",
        "Age of the oldest outbox row of the instance; 0 when there is none."
    )
    .expect("a metric is registered once, by the static that holds it")
});
