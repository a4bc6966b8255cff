//! Notifications of API version 1.

pub(crate) mod clear;
pub(crate) mod dismiss;
pub(crate) mod list;
pub(crate) mod show;
pub(crate) mod unread_count;
