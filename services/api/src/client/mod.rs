//! Mastodon's client API: one endpoint a file, grouped by what it is about. `routes` holds the
//! one table of paths, scopes and how far each is built; `entities` the shapes, `load` what
//! fills them, `actions` what endpoints do to the database.

mod accounts;
mod actions;
mod admin;
mod entities;
mod handle;
mod id;
mod instance;
mod load;
mod misc;
mod notifications;
mod page;
mod routes;
mod search;
mod statuses;
mod timelines;
mod unbuilt;

#[cfg(test)]
mod tests;

pub(crate) use entities::field_value;
pub(crate) use instance::texts::PRIVACY;
pub(crate) use routes::{ROUTES, routes};
