//! The alarm about documents that speak for somebody else (A9): nothing of them is kept, and an
//! operator sees that somebody tries.

use std::sync::LazyLock;

use tidegate_proto::{EGRESS_CLASS, EGRESS_FORGERIES};
use tidegate_telemetry::prometheus::IntCounter;
use tonic::Status;

static IMPERSONATIONS: LazyLock<IntCounter> = tidegate_telemetry::counter!(
    "tidegate_api_impersonations_total",
    "Documents fetched for a search that claim another server's id or handle; nothing is kept."
);

/// Counts one.
pub(super) fn seen() {
    IMPERSONATIONS.inc();
}

/// Counts an answer of the delivery role that says that it met one.
pub(super) fn seen_in(status: &Status) {
    let class = status.metadata().get(EGRESS_CLASS);
    if class.is_some_and(|class| EGRESS_FORGERIES.iter().any(|forgery| class == forgery)) {
        seen();
    }
}
