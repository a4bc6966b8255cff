//! Many rows moved by an operator: batch by batch, oldest first, each batch a transaction of its
//! own that also adds to the record of the act. Progress is told after each.

use futures::{Stream, stream};
use sqlx::PgConnection;
use tidegate_model::DeliveryState;

use super::deliveries::{Cursor, matching, pairs};
use super::filter::Narrowed;
use super::{Filter, OperatorError, Operators, Why, acts, purge, replay};

/// Rows of one batch: a transaction of some tens of milliseconds, so that the engine's outcomes
/// for the same rows hardly wait.
const BATCH: i64 = 1_000;

/// What is done to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveKind {
    /// Dead ones get another life.
    Replay,
    /// Parked and dead ones are cancelled.
    Purge,
}

impl MoveKind {
    const fn act(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Purge => "purge",
        }
    }

    const fn states(self) -> &'static [DeliveryState] {
        match self {
            Self::Replay => &[DeliveryState::Dead],
            Self::Purge => &[DeliveryState::Parked, DeliveryState::Dead],
        }
    }
}

/// An operator's wish to move rows.
#[derive(Debug, Clone)]
pub struct Move {
    /// What is done.
    pub kind: MoveKind,
    /// To which rows.
    pub filter: Filter,
    /// Must be set when the filter is empty.
    pub all: bool,
    /// At most so many rows; 0 means all that match.
    pub limit: i64,
    /// By whom, and why.
    pub why: Why,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows that were moved.
    pub moved: i64,
    /// Rows that match and stay: follow requests that were withdrawn when they died, and what
    /// somebody else moved meanwhile.
    pub left: i64,
    /// Of the replayed: rows whose host fails, is unavailable or is paused.
    pub waiting: i64,
    /// Whether nothing more comes.
    pub finished: bool,
}

impl Progress {
    /// What happens to the moved rows, in a sentence.
    pub fn note(&self, kind: MoveKind) -> String {
        let mut sentences = vec![match kind {
            MoveKind::Purge => format!("{} deliveries are cancelled.", self.moved),
            MoveKind::Replay => format!(
                "{} deliveries are to be sent again, in order, as their hosts take them.",
                self.moved
            ),
        }];
        if self.waiting > 0 {
            sentences.push(format!(
                "{} of them wait for hosts that fail, are unavailable or are paused: they are \
                 sent when a probe succeeds or the host is resumed, and are dead again when an \
                 unavailable host does not answer its next probe.",
                self.waiting
            ));
        }
        if self.left > 0 {
            sentences.push(format!(
                "{} stay as they are: follow requests that were withdrawn when they died, or \
                 rows that somebody else moved meanwhile.",
                self.left
            ));
        }
        sentences.join(" ")
    }
}

/// What one batch came to.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) rows: i64,
    pub(super) waiting: i64,
    /// Whether somebody is to be told by mail.
    pub(super) mail: bool,
}

struct Moving {
    operators: Operators,
    order: Move,
    narrowed: Option<Narrowed>,
    act: Option<i64>,
    /// The states that are still to be gone through, and where in the first of them.
    states: Vec<DeliveryState>,
    after: Cursor,
    progress: Progress,
}

impl Operators {
    /// Moves rows while the stream is read: whoever stops reading stops the work after the batch
    /// in hand.
    pub fn moving(
        &self,
        order: Move,
    ) -> impl Stream<Item = Result<Progress, OperatorError>> + Send + use<> {
        let moving = Moving {
            operators: self.clone(),
            order,
            narrowed: None,
            act: None,
            states: Vec::new(),
            after: Cursor::default(),
            progress: Progress::default(),
        };
        stream::try_unfold(moving, |mut moving| async move {
            if moving.progress.finished {
                return Ok(None);
            }
            moving.step().await?;
            Ok(Some((moving.progress, moving)))
        })
    }
}

impl Moving {
    async fn step(&mut self) -> Result<(), OperatorError> {
        let narrowed = match self.narrowed.take() {
            Some(narrowed) => narrowed,
            None => self.begin().await?,
        };
        let done = self.batch(&narrowed).await;
        self.narrowed = Some(narrowed);
        done
    }

    async fn begin(&mut self) -> Result<Narrowed, OperatorError> {
        let order = &self.order;
        let act = order.kind.act();
        if order.filter.is_empty() && !order.all {
            return Err(OperatorError::invalid(format!(
                "without a filter this would {act} every delivery that can be: name a host, an \
                 actor, a reason, an age, a status or an activity, or say that all are meant"
            )));
        }
        if order.limit < 0 {
            return Err(OperatorError::invalid("a limit is at least 1"));
        }
        let states = order.kind.states();
        let what = match order.kind {
            MoveKind::Replay => "replay is for",
            MoveKind::Purge => "purge is for",
        };
        let operators = &self.operators;
        let narrowed = order
            .filter
            .narrow(&operators.pool, &operators.instance, states, states, what)
            .await?;
        self.states.clone_from(&narrowed.states);
        Ok(narrowed)
    }

    /// One batch of the first state; the next step goes on behind it.
    async fn batch(&mut self, narrowed: &Narrowed) -> Result<(), OperatorError> {
        let Some(&state) = self.states.first() else {
            self.progress.finished = true;
            return Ok(());
        };
        let wanted = match self.order.limit {
            0 => BATCH,
            limit => BATCH.min(limit - self.progress.moved),
        };
        let mut transaction = tidegate_store::begin(&self.operators.pool).await?;
        let pairs: Vec<(i64, i64)> = matching(pairs, state, narrowed, self.after, wanted)
            .fetch_all(&mut *transaction)
            .await?;
        let moved = self.apply(&mut transaction, &pairs).await?;
        let act = self.note(&mut transaction, moved.rows).await?;
        transaction.commit().await?;
        self.act = Some(act);
        if moved.mail {
            self.operators.outbox.wake();
        }
        self.progress.moved += moved.rows;
        self.progress.waiting += moved.waiting;
        self.progress.left += pairs.len() as i64 - moved.rows;
        match pairs.last() {
            Some(&(activity_id, inbox_id)) if pairs.len() as i64 == wanted => {
                self.after = Cursor {
                    activity_id,
                    inbox_id,
                };
            }
            _ => {
                self.states.remove(0);
                self.after = Cursor::default();
            }
        }
        let is_enough = self.order.limit > 0 && self.progress.moved >= self.order.limit;
        self.progress.finished = is_enough || self.states.is_empty();
        Ok(())
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        pairs: &[(i64, i64)],
    ) -> Result<Moved, OperatorError> {
        if pairs.is_empty() {
            return Ok(Moved::default());
        }
        let moved = match self.order.kind {
            MoveKind::Replay => replay::rows(connection, pairs).await?,
            MoveKind::Purge => {
                let operators = &self.operators;
                purge::rows(connection, &operators.outbox, &operators.queues, pairs).await?
            }
        };
        Ok(moved)
    }

    async fn note(&self, connection: &mut PgConnection, moved: i64) -> Result<i64, OperatorError> {
        let order = &self.order;
        let act = if let Some(act) = self.act {
            act
        } else {
            let target = order.filter.in_words();
            acts::record(connection, &order.why, order.kind.act(), &target).await?
        };
        acts::add_moved(connection, act, moved).await?;
        Ok(act)
    }
}
