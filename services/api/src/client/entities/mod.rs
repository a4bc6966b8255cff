//! The JSON shapes of the client API. Only data: who fills them is in [`super::load`].
//!
//! Ids are text, times are UTC with milliseconds, and a key that Mastodon always sends is always
//! sent, because clients parse strictly.

mod account;
mod instance;
mod media;
mod notification;
mod relationship;
mod status;
mod tag;
mod time;

pub(crate) use account::{
    Account, CredentialAccount, CredentialSource, MutedAccount, Role, account, field_value,
    plain_fields,
};
pub(crate) use instance::{Facts, instance_v1, instance_v2};
pub(crate) use media::{CustomEmoji, MediaAttachment, emoji, media};
pub(crate) use notification::Notification;
pub(crate) use relationship::Relationship;
pub(crate) use status::{
    Application, Content, Context, Mention, QuoteApproval, Status, StatusEdit, StatusSource,
    ViewerFlags,
};
pub(crate) use tag::{StatusTag, Tag};
pub(crate) use time::{date, datetime, midnight};
