//! Handles: `@user@domain` in its spellings.

use std::fmt;
use tidegate_model::{INSTANCE_ACTOR_USERNAME, Instance, canonical_host};

/// Longer usernames than this are nobody's; Mastodon's own bound for remote ones.
const MAX_USERNAME_BYTES: usize = 2_048;

/// A handle with its domain in canonical spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handle {
    /// As written; compared without regard to case.
    pub username: String,
    /// Lower-case IDNA, no port.
    pub domain: String,
}

impl Handle {
    /// Reads `@user@domain`, `user@domain` or `acct:user@domain`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = match text.get(..5) {
            Some(scheme) if scheme.eq_ignore_ascii_case("acct:") => &text[5..],
            _ => text,
        };
        let (username, domain) = text.strip_prefix('@').unwrap_or(text).split_once('@')?;
        Some(Self {
            username: is_username(username).then(|| username.to_owned())?,
            domain: canonical_host(domain).ok()?,
        })
    }

    /// Whether both name the same account.
    pub fn is(&self, other: &Self) -> bool {
        self.domain == other.domain && self.username.to_lowercase() == other.username.to_lowercase()
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.username, self.domain)
    }
}

/// Letters, digits, `_`, and dots or dashes inside.
pub(super) fn is_username(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_USERNAME_BYTES
        && text
            .chars()
            .all(|one| one.is_alphanumeric() || matches!(one, '_' | '.' | '-'))
        && text.chars().any(|one| one.is_alphanumeric() || one == '_')
}

/// The local username that a WebFinger `resource` asks for: `acct:`, an actor's id or a
/// profile page. The instance actor answers to its handle and its id.
pub fn local_resource(us: &Instance, resource: &str) -> Option<String> {
    if resource == us.instance_actor() {
        return Some(INSTANCE_ACTOR_USERNAME.to_owned());
    }
    if let Some(name) = us.username_of(resource) {
        return is_username(name).then(|| name.to_owned());
    }
    if let Some(name) = resource
        .strip_prefix(us.base())
        .and_then(|path| path.strip_prefix("/@"))
    {
        return is_username(name).then(|| name.to_owned());
    }
    let handle = Handle::parse(resource)?;
    let ours = canonical_host(&us.domain).as_deref() == Ok(handle.domain.as_str())
        || tidegate_model::host_of(us.base()).as_deref() == Ok(handle.domain.as_str());
    ours.then_some(handle.username)
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    #[test]
    fn every_spelling_is_one_handle() {
        for text in [
            "@Ada@A.test",
            "Ada@a.test.",
            "acct:Ada@a.test",
            "ACCT:@Ada@a.test",
            " Ada@a.test:443 ",
        ] {
            assert_eq!(
                Handle::parse(text).map(|handle| handle.to_string()),
                Some("Ada@a.test".to_owned()),
                "{text}"
            );
        }
        let lower = Handle::parse("ada@a.test").expect("a handle");
        assert!(lower.is(&Handle::parse("ADA@a.test").expect("a handle")));
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        for text in [
            "",
            "@",
            "ada",
            "@ada",
            "ada@",
            "@@a.test",
            "a da@a.test",
            "ada@b@a.test",
            "a/b@a.test",
            "ada@a.test/x",
            "..@a.test",
            "ada@user:pw@a.test",
            "ada@a.test?x",
        ] {
            assert_eq!(Handle::parse(text), None, "{text}");
        }
    }

    #[test]
    fn resources_are_ours_or_nothing() {
        let us = Instance::new(
            "us.test",
            &Url::parse("https://web.us.test").expect("a URL"),
        );
        for resource in [
            "acct:ada@us.test",
            "ada@us.test",
            "acct:ada@web.us.test",
            "https://web.us.test/users/ada",
            "https://web.us.test/@ada",
        ] {
            assert_eq!(
                local_resource(&us, resource).as_deref(),
                Some("ada"),
                "{resource}"
            );
        }
        assert_eq!(
            local_resource(&us, "https://web.us.test/actor").as_deref(),
            Some(INSTANCE_ACTOR_USERNAME)
        );
        for resource in [
            "acct:ada@other.test",
            "https://other.test/users/ada",
            "https://web.us.test/users/ada/statuses/1",
            "https://web.us.test.evil.test/@ada",
            "",
        ] {
            assert_eq!(local_resource(&us, resource), None, "{resource}");
        }
    }
}
