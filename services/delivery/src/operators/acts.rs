//! Who did what: a bounded table, written with the act itself.

use sqlx::PgConnection;
use tidegate_store::StoreError;

use super::OperatorError;

/// Acts that are kept: years of a quiet instance, some megabytes at most.
const KEPT: i64 = 10_000;

/// Characters of a reason: a few sentences. The table refuses more.
const MAX_REASON: usize = 500;

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A local account, through the API.
    Account(i64),
    /// Whoever may run commands on the machine.
    CommandLine,
}

/// Who acts, and why.
#[derive(Debug, Clone)]
pub struct Why {
    by: By,
    reason: String,
}

impl Why {
    /// Refuses reasons that are longer than anybody reads.
    pub fn new(by: By, reason: &str) -> Result<Self, OperatorError> {
        let reason = reason.trim();
        if reason.chars().count() > MAX_REASON {
            return Err(OperatorError::invalid(format!(
                "the reason is longer than {MAX_REASON} characters"
            )));
        }
        Ok(Self {
            by,
            reason: reason.to_owned(),
        })
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }
}

/// Writes an act down and forgets the oldest; returns its number.
pub(super) async fn record(
    connection: &mut PgConnection,
    why: &Why,
    act: &'static str,
    target: &str,
) -> Result<i64, StoreError> {
    let account_id = match why.by {
        By::Account(id) => Some(id),
        By::CommandLine => None,
    };
    let id: i64 = sqlx::query_scalar(
        "insert into operator_acts (account_id, act, target, reason)
         values ($1, $2, $3, $4) returning id",
    )
    .bind(account_id)
    .bind(act)
    .bind(target)
    .bind(&why.reason)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("delete from operator_acts where id <= $1")
        .bind(id - KEPT)
        .execute(&mut *connection)
        .await?;
    Ok(id)
}

/// Adds to the rows that an act moved.
pub(super) async fn add_moved(
    connection: &mut PgConnection,
    id: i64,
    moved: i64,
) -> Result<(), StoreError> {
    sqlx::query("update operator_acts set moved = moved + $2 where id = $1")
        .bind(id)
        .bind(moved)
        .execute(connection)
        .await?;
    Ok(())
}
