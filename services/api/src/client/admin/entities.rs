//! The shapes of the admin API.

use serde::Serialize;
use tidegate_proto::delivery::v1 as proto;
use time::OffsetDateTime;

use crate::client::entities::datetime;

/// A time of the contract as clients read it.
pub(crate) fn from_millis(millis: Option<i64>) -> Option<String> {
    let nanos = i128::from(millis?) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .map(datetime)
}

fn set(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A remote host.
#[derive(Debug, Serialize)]
pub(crate) struct AdminHost {
    pub(super) host: String,
    state: String,
    paused_at: Option<String>,
    paused_reason: Option<String>,
    backlog: bool,
    failing_since: Option<String>,
    unavailable_since: Option<String>,
    next_probe_at: Option<String>,
    failed_days: i32,
    last_success_at: Option<String>,
    last_failure_at: Option<String>,
    last_error: Option<String>,
    rate: Option<f64>,
    queued: i64,
    parked: i64,
    dead: i64,
    counted_to: i64,
}

impl From<proto::Host> for AdminHost {
    fn from(host: proto::Host) -> Self {
        Self {
            host: host.host,
            state: host.state,
            paused_at: from_millis(host.paused_at),
            paused_reason: set(host.paused_reason),
            backlog: host.backlog,
            failing_since: from_millis(host.failing_since),
            unavailable_since: from_millis(host.unavailable_since),
            next_probe_at: from_millis(host.next_probe_at),
            failed_days: host.failed_days,
            last_success_at: from_millis(host.last_success_at),
            last_failure_at: from_millis(host.last_failure_at),
            last_error: set(host.last_error),
            rate: host.rate,
            queued: host.queued,
            parked: host.parked,
            dead: host.dead,
            counted_to: host.counted_to,
        }
    }
}

/// One delivery; ids are text, as everywhere.
#[derive(Debug, Serialize)]
pub(crate) struct Delivery {
    /// What pages go on after.
    pub(super) id: String,
    activity_id: String,
    inbox_id: String,
    kind: String,
    account_id: String,
    status_id: Option<String>,
    host: String,
    inbox_url: String,
    lane: String,
    state: String,
    reason: Option<String>,
    attempts: i32,
    last_status: Option<i32>,
    last_error: Option<String>,
    next_try_at: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl From<proto::Delivery> for Delivery {
    fn from(row: proto::Delivery) -> Self {
        Self {
            id: format!("{}-{}", row.activity_id, row.inbox_id),
            activity_id: row.activity_id.to_string(),
            inbox_id: row.inbox_id.to_string(),
            kind: row.kind,
            account_id: row.account_id.to_string(),
            status_id: (row.status_id != 0).then(|| row.status_id.to_string()),
            host: row.host,
            inbox_url: row.inbox_url,
            lane: row.lane,
            state: row.state,
            reason: set(row.reason),
            attempts: row.attempts,
            last_status: (row.last_status != 0).then_some(row.last_status),
            last_error: set(row.last_error),
            next_try_at: from_millis(row.next_try_at),
            created_at: from_millis(Some(row.created_at)),
            updated_at: from_millis(Some(row.updated_at)),
        }
    }
}

/// A host after somebody's act, and what happens now.
#[derive(Debug, Serialize)]
pub(crate) struct Steered {
    pub(super) host: Option<AdminHost>,
    pub(super) note: String,
}

/// How far many rows were moved.
#[derive(Debug, Serialize)]
pub(crate) struct Movement {
    moved: i64,
    left: i64,
    waiting: i64,
    finished: bool,
    note: String,
}

impl From<proto::Progress> for Movement {
    fn from(progress: proto::Progress) -> Self {
        Self {
            moved: progress.moved,
            left: progress.left,
            waiting: progress.waiting,
            finished: progress.finished,
            note: progress.note,
        }
    }
}
