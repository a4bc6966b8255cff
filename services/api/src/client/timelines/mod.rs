//! Timelines.

pub(crate) mod bookmarks;
pub(crate) mod favourites;
pub(crate) mod home;
pub(crate) mod home_list;
pub(crate) mod public;
pub(crate) mod tag;
