//! What the engine's tasks tell the engine. The channel is bounded; the engine itself never
//! waits for anybody, so that no two can wait for each other.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::host_rows::HostRow;
use super::item::{Batch, Item, Origin};
use super::judge::Outcome;
use super::reading::Reading;
use super::recorder::Written;
use crate::attempt::Attempted;
use crate::lease::LeaseEvent;

/// Something happened.
pub(super) enum Event {
    Lease(LeaseEvent),
    /// Rows were read: a message's, due ones, or those of one host.
    Rows {
        batch: Arc<Batch>,
        reading: Arc<Reading>,
        origin: Origin,
        /// Whose backlogs were looked at, if they were.
        of_hosts: Vec<Arc<str>>,
    },
    /// A look at due rows ended; true: there may be more.
    Looked {
        more: bool,
    },
    /// Backlogs could not be read.
    FetchFailed {
        hosts: Vec<Arc<str>>,
        origin: Origin,
    },
    /// A request ended.
    Finished {
        id: u64,
        item: Item,
        sent: Box<Sent>,
    },
    Written(Written),
    /// Rows followed the new states of their hosts.
    Followed,
    /// Failing and unavailable hosts that are due.
    Due(Vec<HostRow>),
    /// Healthy hosts with a backlog.
    Backlogs(Vec<HostRow>),
    /// Hosts that somebody else touched, and the database's time when they were read.
    Steered {
        rows: Vec<HostRow>,
        read_at: OffsetDateTime,
    },
    /// An unavailable host was asked with a signed GET.
    Greeted {
        host: Arc<str>,
        answered: bool,
    },
}

/// What came of a request.
pub(super) enum Sent {
    /// There was an answer, or none.
    Attempted {
        attempted: Attempted,
        /// The rows of its message as they were right before.
        reading: Arc<Reading>,
    },
    /// It was not sent: not wanted, or not its turn.
    HeldBack(Outcome),
    /// The row has its end already.
    NotOpen,
    /// Nothing was decided: the shard is not ours any more, or the database was away. How long
    /// to leave the host alone.
    Left(Option<Duration>),
    /// The code has a fault.
    Panicked,
}
