//! What the delivery role counts. A remote host is never a label, but for the twenty that most
//! waits for.

use std::sync::LazyLock;

use tidegate_model::{DeliveryState, Lane};
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

/// Rows by state. Measured by one delivery process at a time; 0 in the others.
pub(crate) static ROWS: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_delivery_rows",
    "Rows of deliveries by state that are still kept: queued, parked and dead up to a million \
     each; delivered and cancelled once a minute, above a million rows as an estimate.",
    ["state"]
);

/// How long the oldest queued row waits. Measured as [`ROWS`].
pub(crate) static OLDEST: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_delivery_oldest_queued_age_seconds",
    "Seconds since the oldest queued row of a lane was published, among the oldest million; 0 \
     while none is queued.",
    ["lane"]
);

/// Remote hosts by how they are. Measured as [`ROWS`].
pub(crate) static HOSTS: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_delivery_hosts",
    "Remote hosts that something was sent to: ok, failing, unavailable, or paused by an operator \
     whatever they are besides.",
    ["state"]
);

/// The one exception: a remote host as a label, twenty at most.
pub(crate) static WORST_WAITING: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_delivery_worst_host_waiting_rows",
    "Rows that wait for the twenty hosts that most wait for, among a million.",
    ["host"]
);

/// Of the same hosts.
pub(crate) static WORST_SILENT: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_delivery_worst_host_silent_seconds",
    "Seconds since one of the twenty hosts that most wait for last took something, or since it \
     began to fail if it never did.",
    ["host"]
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

/// The windows one by one.
pub(crate) static HOSTS_BY_WINDOW: LazyLock<IntGaugeVec> = gauge!(
    "tidegate_delivery_hosts_by_window",
    "Remote hosts in memory by how many requests their window allows at once.",
    ["window"]
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

/// How wrong our clock is.
pub(crate) static CLOCK_SKEW: LazyLock<IntGauge> = gauge!(
    "tidegate_delivery_clock_skew_seconds",
    "By how many seconds most of the hosts that answered last are ahead of this machine's clock."
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

/// What a POST can come to: classes of answers, then kinds of errors.
const ANSWERS: [&str; 24] = [
    "2xx",
    "3xx",
    "4xx",
    "429",
    "5xx",
    "other",
    "bad_url",
    "blocked_address",
    "broken",
    "connect",
    "connect_timeout",
    "dns",
    "dns_no_address",
    "dns_no_name",
    "dns_temporary",
    "dns_timeout",
    "timeout",
    "tls",
    "tls_certificate",
    "tls_expired",
    "tls_issuer",
    "tls_name",
    "tls_not_yet_valid",
    "tls_version",
];

/// Shows every label value from the start: a rate over what appears with its first event misses
/// that event.
pub(crate) fn prepare() {
    for lane in Lane::ALL.map(Lane::as_str) {
        for answer in ANSWERS {
            ATTEMPTS.with_label_values(&[answer, lane]);
        }
        for outcome in ["delivered", "parked", "dead", "cancelled"] {
            OUTCOMES.with_label_values(&[outcome, lane]);
        }
        LAG.with_label_values(&[lane]);
        REQUEST_SECONDS.with_label_values(&[lane]);
        IN_FLIGHT.with_label_values(&[lane]);
    }
    forget_service();
    for (counter, values) in [
        (&REPUBLISHED_EVENTS, ["plan", "fanout_status"]),
        (&PROBES, ["back", "failed"]),
        (&REPLAYED, ["timed", "backlog"]),
        (&SIGNATURES, ["cavage", "rfc9421"]),
    ] {
        for value in values {
            counter.with_label_values(&[value]);
        }
    }
    for counter in [&REPUBLISHED, &SUSPECTS, &PANICS] {
        LazyLock::force(counter);
    }
    for gauge in [
        &SHARDS_OWNED,
        &HOSTS_KNOWN,
        &IN_MEMORY,
        &WINDOWS,
        &OWN_OUTAGE,
        &OWN_UNAUTHORIZED,
        &CLOCK_SKEW,
    ] {
        LazyLock::force(gauge);
    }
    windows([]);
}

/// What is true of the whole service is said by one process; here it is 0 from now on.
pub(crate) fn forget_service() {
    for state in DeliveryState::ALL {
        ROWS.with_label_values(&[state.as_str()]).set(0);
    }
    for state in HOST_STATES {
        HOSTS.with_label_values(&[state]).set(0);
    }
    for lane in Lane::ALL {
        OLDEST.with_label_values(&[lane.as_str()]).set(0);
    }
}

/// How a host can be.
pub(crate) const HOST_STATES: [&str; 4] = ["ok", "failing", "unavailable", "paused"];

/// Counts hosts by these windows.
pub(crate) fn windows(sizes: impl IntoIterator<Item = u32>) {
    const SIZES: [(u32, &str); 5] = [
        (1, "1"),
        (2, "2"),
        (4, "3-4"),
        (8, "5-8"),
        (u32::MAX, "9 and more"),
    ];
    let (mut hosts, mut sum) = ([0; SIZES.len()], 0);
    for size in sizes {
        let place = SIZES.partition_point(|(most, _)| *most < size);
        hosts[place] += 1;
        sum += i64::from(size);
    }
    for ((_, label), count) in SIZES.iter().zip(hosts) {
        HOSTS_BY_WINDOW.with_label_values(&[label]).set(count);
    }
    WINDOWS.set(sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_counted_by_size() {
        windows([1, 2, 2, 3, 4, 5, 8, 9, 16]);
        let of = |label| HOSTS_BY_WINDOW.with_label_values(&[label]).get();
        assert_eq!(
            ["1", "2", "3-4", "5-8", "9 and more"].map(of),
            [1, 2, 2, 2, 2]
        );
        assert_eq!(WINDOWS.get(), 50);
    }
}
