//! HTML both ways: remote HTML made safe, local text made HTML.

mod entities;
mod escape;
mod format;
mod sanitize;

pub use entities::{count_characters, hashtags_in, mentions_in};
pub use escape::escape;
pub use format::{MentionLink, format_status, hashtag_url};
pub use sanitize::{MAX_HTML_BYTES, plain_text, sanitize, sanitize_within};
