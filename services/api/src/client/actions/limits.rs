//! How much a local author may write. The numbers are Mastodon's, which clients expect.

/// Characters of a display name: Mastodon's limit up to 4.5, which every server takes.
pub(crate) const DISPLAY_NAME_CHARACTERS: usize = 30;

/// Characters of a biography.
pub(crate) const NOTE_CHARACTERS: usize = 500;

/// Profile fields.
pub(crate) const FIELDS: usize = 4;

/// Characters of a field's name, and of its value.
pub(crate) const FIELD_CHARACTERS: usize = 255;

/// Characters of a private note about somebody.
pub(crate) const COMMENT_CHARACTERS: usize = 2_000;

/// Mentioned accounts of one post that are addressed; the rest stay plain text. More than a
/// person needs, few enough that one post cannot be used to ring thousands of bells.
pub(crate) const MENTIONS: usize = 50;

/// How many handles that are not known here are looked up for one post, and for how long in
/// all: the author waits for it.
pub(crate) const UNKNOWN_MENTIONS: usize = 10;
/// See [`UNKNOWN_MENTIONS`].
pub(crate) const UNKNOWN_MENTIONS_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// Accounts that one account may follow. Mastodon's number.
pub(crate) const FOLLOWS: i64 = 7_500;

/// How long an `Idempotency-Key` gives the same post.
pub(crate) const IDEMPOTENCY_SECONDS: f64 = 3_600.0;

/// Bytes of an `Idempotency-Key`: a UUID or a hash, with room.
pub(crate) const IDEMPOTENCY_KEY_BYTES: usize = 255;
