//! Search.

pub(crate) mod accounts;
pub(crate) mod everything;
pub(crate) mod tags;
