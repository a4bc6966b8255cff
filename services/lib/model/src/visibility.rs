//! Who may see a post.

use serde::{Deserialize, Serialize};

/// A post's visibility, in Mastodon's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody, and on public timelines.
    Public,
    /// Everybody, but not on public timelines.
    Unlisted,
    /// Followers and the mentioned.
    Private,
    /// The mentioned only.
    Direct,
}

impl Visibility {
    /// Every visibility, widest first.
    pub const ALL: [Self; 4] = [Self::Public, Self::Unlisted, Self::Private, Self::Direct];

    /// As the API and the database spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unlisted => "unlisted",
            Self::Private => "private",
            Self::Direct => "direct",
        }
    }

    /// The visibility of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    /// Whether anybody may read it.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Public | Self::Unlisted)
    }

    /// Whether its author's followers are addressed.
    pub const fn reaches_followers(self) -> bool {
        !matches!(self, Self::Direct)
    }
}
