//! Timelines.

pub(crate) mod home;
pub(crate) mod home_list;
pub(crate) mod kept;
pub(crate) mod public;
pub(crate) mod tag;
