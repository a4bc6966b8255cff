//! What a person may do beside posting.

use super::User;
use crate::error::{ApiError, ApiResult};

/// A person's role; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UserRole {
    /// Posts.
    User,
    /// Moderates.
    Moderator,
    /// Administers.
    Admin,
    /// Owns the place.
    Owner,
}

impl UserRole {
    /// The role of the database's spelling; what is not known may nothing.
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "moderator" => Self::Moderator,
            "admin" => Self::Admin,
            "owner" => Self::Owner,
            _ => Self::User,
        }
    }
}

impl User {
    /// 403 unless the person has `role` or a higher one. As with any switch, a change is felt
    /// within five seconds.
    pub(crate) fn require_role(&self, role: UserRole) -> ApiResult<()> {
        if self.person.role >= role {
            Ok(())
        } else {
            Err(ApiError::not_allowed())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_the_unknown_is_the_least() {
        let roles = ["nonsense", "moderator", "admin", "owner"].map(UserRole::parse);
        assert!(roles.is_sorted());
        assert_eq!(roles[0], UserRole::parse("user"));
    }
}
