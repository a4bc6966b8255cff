//! What the delivery role offers to other roles over gRPC.

mod deliveries;
mod egress;
mod hosts;

pub use deliveries::DeliveriesService;
pub use egress::EgressService;
pub use hosts::HostsService;

use time::OffsetDateTime;

use crate::operators::{By, OperatorError, Why};

/// As the contract writes times.
fn millis(at: OffsetDateTime) -> i64 {
    (at.unix_timestamp_nanos() / 1_000_000) as i64
}

/// An empty text of the contract is none.
fn set(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Calls come from the api role, which knows who asks it.
fn who(account_id: i64, reason: &str) -> Result<Why, OperatorError> {
    if account_id <= 0 {
        return Err(OperatorError::Invalid(
            "the account that acts is not named".to_owned(),
        ));
    }
    Why::new(By::Account(account_id), reason)
}
