//! Accounts, and what the viewer does about them.

pub(crate) mod block;
pub(crate) mod blocks;
pub(crate) mod familiar_followers;
pub(crate) mod follow;
pub(crate) mod follow_lists;
pub(crate) mod follow_requests;
pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod mute;
pub(crate) mod mutes;
pub(crate) mod note;
pub(crate) mod relationships;
pub(crate) mod remove_from_followers;
pub(crate) mod search;
pub(crate) mod show;
pub(crate) mod statuses;
pub(crate) mod unfollow;
pub(crate) mod update_credentials;
pub(crate) mod verify_credentials;
