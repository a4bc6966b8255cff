//! The instance, told to everybody.

pub(crate) mod activity;
pub(crate) mod instance_info;
pub(crate) mod languages;
pub(crate) mod peers;
pub(crate) mod texts;
