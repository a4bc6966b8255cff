//! Posts, and what the viewer does about them.

pub(crate) mod actors;
pub(crate) mod bookmark;
pub(crate) mod context;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod delivery;
pub(crate) mod edit;
pub(crate) mod favourite;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod reblog;
mod seen;
pub(crate) mod show;
pub(crate) mod source;

pub(crate) use seen::{own, seen};
