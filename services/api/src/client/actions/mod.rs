//! What the endpoints do to the database, each in one transaction: rows, activities, messages.
//! An answer is given only after the commit.

pub(crate) mod block;
pub(crate) mod compose;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod favourite;
pub(crate) mod follow;
mod forgery;
pub(crate) mod idempotency;
pub(crate) mod limits;
pub(crate) mod outgoing;
pub(crate) mod post;
pub(crate) mod profile;
pub(crate) mod reblog;
pub(crate) mod requests;
pub(crate) mod resolve;
mod unit;

pub(crate) use unit::Unit;
