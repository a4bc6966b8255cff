//! What clients ask for at start and beside everything else.

pub(crate) mod markers;
pub(crate) mod missing_picture;
pub(crate) mod preferences;
pub(crate) mod streaming;
