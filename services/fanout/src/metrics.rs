//! What the role counts.

use std::sync::LazyLock;

use tidegate_telemetry::prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge};
use tidegate_telemetry::{counter, gauge, histogram};

/// Appends to home timelines that the store answered.
pub(crate) static APPENDED: LazyLock<IntCounter> = counter!(
    "tidegate_fanout_appended_entries_total",
    "Home-timeline appends that were answered, absent lists included."
);

/// Ranges of followers.
pub(crate) static RANGES: LazyLock<IntCounterVec> = counter!(
    "tidegate_fanout_ranges_total",
    "Ranges of local followers: done, or already done when the message came.",
    ["outcome"]
);

/// From a status's id to its fan-out.
pub(crate) static LAG: LazyLock<HistogramVec> = histogram!(
    "tidegate_fanout_lag_seconds",
    "Time from a status's creation to the end of its fan-out (small) or of one range.",
    ["lane"],
    vec![
        0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0
    ]
);

/// Notifications inserted.
pub(crate) static NOTIFICATIONS: LazyLock<IntCounter> = counter!(
    "tidegate_fanout_notifications_total",
    "Notifications inserted; repeats insert nothing."
);

/// Activities planned.
pub(crate) static PLANNED_ACTIVITIES: LazyLock<IntCounter> = counter!(
    "tidegate_fanout_planned_activities_total",
    "Activities whose audience was expanded and frozen."
);

/// Rows of `deliveries`.
pub(crate) static PLANNED_ROWS: LazyLock<IntCounter> = counter!(
    "tidegate_fanout_planned_deliveries_total",
    "Deliveries inserted by planning."
);

/// Activities taken in.
pub(crate) static INBOUND: LazyLock<IntCounterVec> = counter!(
    "tidegate_fanout_inbound_total",
    "Activities from elsewhere, by type and outcome.",
    ["type", "outcome"]
);

/// Documents that speak for somebody else: normally none, and worth an alarm (attacks A8, A9).
pub(crate) static IMPERSONATIONS: LazyLock<IntCounter> = counter!(
    "tidegate_fanout_impersonations_total",
    "Fetched documents that claim another server's id, key or handle; nothing of them is kept."
);

/// Requests whose key was not known.
pub(crate) static UNVERIFIED: LazyLock<IntCounterVec> = counter!(
    "tidegate_fanout_unverified_total",
    "Stored requests with an unknown key, by what became of them.",
    ["outcome"]
);

/// Home timelines rebuilt.
pub(crate) static REBUILDS: LazyLock<IntCounterVec> = counter!(
    "tidegate_fanout_rebuilds_total",
    "Home-timeline rebuilds by outcome.",
    ["outcome"]
);

/// Rebuilds that run or wait.
pub(crate) static REBUILDS_WAITING: LazyLock<IntGauge> = gauge!(
    "tidegate_fanout_rebuilds_in_hand",
    "Home-timeline rebuilds that run or wait for their turn."
);

/// Mails.
pub(crate) static MAILS: LazyLock<IntCounterVec> = counter!(
    "tidegate_fanout_mails_total",
    "Mails by outcome.",
    ["outcome"]
);
