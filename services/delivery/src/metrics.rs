//! What the delivery role counts. A remote host is never a label.

use std::sync::LazyLock;

use tidegate_telemetry::prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};
use tidegate_telemetry::{counter, gauge, histogram};

/// Rows that reached an outcome: delivered, parked, dead, cancelled.
pub(crate) static OUTCOMES: LazyLock<IntCounterVec> = counter!(
    "tidegate_delivery_outcomes_total",
    "Outcomes of rows of deliveries.",
    ["outcome", "lane"]
);

/// POSTs by what came of them; a second try with the other signature counts as its own.
pub(crate) static ATTEMPTS: LazyLock<IntCounterVec> = counter!(
    "tidegate_delivery_attempts_total",
    "POSTs to remote inboxes by class of answer.",
    ["answer", "lane"]
);

/// From the commit of an activity to the 2xx of an inbox.
pub(crate) static LAG: LazyLock<HistogramVec> = histogram!(
    "tidegate_delivery_lag_seconds",
    "Seconds from the activity's commit to the 2xx of an inbox.",
    ["lane"],
    vec![
        0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 10800.0, 86400.0
    ]
);

/// One POST, from the first byte to the answer.
pub(crate) static REQUEST_SECONDS: LazyLock<HistogramVec> = histogram!(
    "tidegate_delivery_request_seconds",
    "Seconds of one POST to a remote inbox.",
    ["lane"],
    vec![
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0
    ]
);

/// POSTs that are under way.
pub(crate) static IN_FLIGHT: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_delivery_in_flight",
    "POSTs to remote inboxes under way.",
    ["lane"]
);

/// Rows by state. Measured by every delivery process.
pub(crate) static ROWS: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_delivery_rows",
    "Rows of deliveries by state: queued, parked and dead up to a million each; delivered and \
     cancelled among a million rows that are still kept, once a minute.",
    ["state"]
);

/// Plan and FanoutStatus messages that the reconciler published again; normally none.
pub(crate) static REPUBLISHED_EVENTS: LazyLock<IntCounterVec> = counter!(
    "tidegate_delivery_republished_events_total",
    "Plan and FanoutStatus messages published again because nothing came of them; normally 0.",
    ["message"]
);

/// Rows that the reconciler published again; normally none.
pub(crate) static REPUBLISHED: LazyLock<IntCounter> = counter!(
    "tidegate_delivery_republished_total",
    "Rows whose message was lost and was published again; normally 0."
);

/// Probes of failing hosts, by what came of them.
pub(crate) static PROBES: LazyLock<IntCounterVec> = counter!(
    "tidegate_delivery_probes_total",
    "Probes of failing hosts: back or failed.",
    ["outcome"]
);

/// Rows that were parked and are taken up again.
pub(crate) static REPLAYED: LazyLock<IntCounterVec> = counter!(
    "tidegate_delivery_replayed_total",
    "Parked rows taken up again: because their time came (timed) or their host takes them (backlog).",
    ["kind"]
);

/// Shards whose lease this process has.
pub(crate) static SHARDS_OWNED: LazyLock<IntGauge> = gauge!(
    "tidegate_delivery_shards_owned",
    "Shards that this process delivers for."
);

/// Hosts that this process has in memory.
pub(crate) static HOSTS_KNOWN: LazyLock<IntGauge> = gauge!(
    "tidegate_delivery_hosts_in_memory",
    "Remote hosts that this process has in memory."
);

/// Rows that this process has in memory.
pub(crate) static IN_MEMORY: LazyLock<IntGauge> = gauge!(
    "tidegate_delivery_rows_in_memory",
    "Rows of deliveries that this process has in hand."
);

/// The sum of the windows of the hosts in memory.
pub(crate) static WINDOWS: LazyLock<IntGauge> = gauge!(
    "tidegate_delivery_window_requests",
    "Requests that the windows of all hosts in memory allow together."
);

/// Whether our own way out is taken for broken.
pub(crate) static OWN_OUTAGE: LazyLock<IntGauge> = gauge!(
    "tidegate_delivery_own_outage",
    "1 while most hosts fail together, so that the fault is taken for our own."
);

/// Whether our signatures are taken for wrong.
pub(crate) static OWN_UNAUTHORIZED: LazyLock<IntGauge> = gauge!(
    "tidegate_delivery_own_unauthorized",
    "1 while several hosts answer 401, so that our clock or keys are taken for wrong."
);

/// Private-key operations.
pub(crate) static SIGNATURES: LazyLock<IntCounterVec> = counter!(
    "tidegate_delivery_signatures_total",
    "Signatures made, by scheme.",
    ["scheme"]
);

/// Questions of other roles to the way out.
pub(crate) static FETCHES: LazyLock<IntCounterVec> = counter!(
    "tidegate_delivery_fetches_total",
    "Fetches for other roles by kind and class of answer.",
    ["kind", "answer"]
);

/// Messages that came back so often that they are handled alone.
pub(crate) static SUSPECTS: LazyLock<IntCounter> = counter!(
    "tidegate_delivery_suspect_messages_total",
    "Messages of deliveries that came back too often and were set apart; normally 0."
);

/// Panics while a row was worked on; the row is dead with the reason poison.
pub(crate) static PANICS: LazyLock<IntCounter> = counter!(
    "tidegate_delivery_panics_total",
    "Panics while a delivery was worked on; normally 0."
);
