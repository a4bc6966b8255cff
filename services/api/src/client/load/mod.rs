//! From rows to shapes, in batches: a page of any length costs the same number of statements.

mod accounts;
mod context;
mod notifications;
mod pair;
mod relationships;
mod statuses;

pub(crate) use accounts::{account_of, accounts, accounts_in_order, credentials};
pub(crate) use context::context;
pub(crate) use notifications::{NotificationRow, notifications};
pub(crate) use pair::{pair, relationship_to};
pub(crate) use relationships::{relationship, relationships};
pub(crate) use statuses::{safe, status, statuses, visible_in_order};
