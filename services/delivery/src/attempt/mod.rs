//! One attempt at one inbox, and what its answer means.

mod classify;
mod sender;
#[cfg(test)]
mod tests;

use std::task::Poll;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;

use crate::egress::EgressError;
use crate::signer::Scheme;

pub(crate) use self::classify::{Class, classify};
pub(crate) use self::sender::Sender;

/// What came of a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The inbox answered.
    Answered {
        /// Its status.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It did not.
    Failed(EgressError),
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attempted {
    pub(crate) reply: Reply,
    /// The scheme that was answered with 2xx.
    pub(crate) accepted: Option<Scheme>,
    /// Whether a byte of the request may have reached the host.
    pub(crate) touched: bool,
    /// When the host answered, by its own clock.
    pub(crate) server_date: Option<OffsetDateTime>,
    /// From the signature to the answer.
    pub(crate) took: Duration,
}

impl Attempted {
    /// An attempt that was not answered.
    pub(crate) fn failed(error: EgressError) -> Self {
        Self {
            touched: error.may_have_arrived(),
            reply: Reply::Failed(error),
            accepted: None,
            server_date: None,
            took: Duration::ZERO,
        }
    }

    /// The HTTP status, if there was one.
    pub(crate) const fn status(&self) -> Option<u16> {
        match self.reply {
            Reply::Answered { status, .. } => Some(status),
            Reply::Failed(_) => None,
        }
    }

    /// Whether nobody answered.
    pub(crate) const fn is_without_answer(&self) -> bool {
        matches!(self.reply, Reply::Failed(_))
    }
}

/// Where a request is when it is asked whether it may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// About to begin.
    Start,
    /// Begun, and not answered yet.
    UnderWay,
}

/// What a request passes before it leaves: whether it may still be sent, and the place among the
/// signatures that it gives up once it is signed.
pub(crate) struct Gate {
    turn: Option<OwnedSemaphorePermit>,
    is_open: Box<dyn Fn(Stage) -> bool + Send + Sync>,
}

impl Gate {
    pub(crate) fn new(
        turn: OwnedSemaphorePermit,
        is_open: impl Fn(Stage) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            turn: Some(turn),
            is_open: Box::new(is_open),
        }
    }

    /// The signature is made.
    fn signed(&mut self) {
        self.turn = None;
    }

    fn is_open(&self) -> bool {
        (self.is_open)(Stage::Start)
    }

    /// Drives a request as long as it may be under way. `None`: no longer; a process that was
    /// frozen while it connected must not send when it wakes, and finds that out before the
    /// connection does.
    async fn drive<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        let mut request = std::pin::pin!(request);
        std::future::poll_fn(|context| {
            if (self.is_open)(Stage::UnderWay) {
                request.as_mut().poll(context).map(Some)
            } else {
                Poll::Ready(None)
            }
        })
        .await
    }
}
