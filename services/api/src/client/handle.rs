//! Handles as people type them: `ada`, `@ada`, `ada@far.test`, `@ada@far.test`.

use tidegate_model::{Instance, canonical_host};

/// The longest name of a remote account that is looked for. Mastodon's number.
const MAX_USERNAME_BYTES: usize = 2_048;

/// Who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) username: String,
    /// `None` for accounts that live here, however they were spelled.
    pub(crate) domain: Option<String>,
}

impl Handle {
    /// Reads a handle; `None` when it is none.
    pub(crate) fn parse(text: &str, instance: &Instance) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("acct:").unwrap_or(text);
        let text = text.strip_prefix('@').unwrap_or(text);
        let (username, domain) = match text.split_once('@') {
            Some((username, domain)) => (username, Some(domain)),
            None => (text, None),
        };
        let proper = !username.is_empty()
            && username.len() <= MAX_USERNAME_BYTES
            && username
                .chars()
                .all(|one| one.is_alphanumeric() || matches!(one, '_' | '.' | '-'));
        if !proper {
            return None;
        }
        let domain = match domain {
            Some(domain) => {
                let host = canonical_host(domain).ok()?;
                (host != instance.domain).then_some(host)
            }
            None => None,
        };
        Some(Self {
            username: username.to_owned(),
            domain,
        })
    }

    /// `user@domain`, for a remote one.
    pub(crate) fn remote(&self) -> Option<String> {
        let domain = self.domain.as_ref()?;
        Some(format!("{}@{domain}", self.username))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    fn parse(text: &str) -> Option<(String, Option<String>)> {
        let us = Instance::new(
            "here.test",
            &Url::parse("https://here.test").expect("a URL"),
        );
        Handle::parse(text, &us).map(|handle| (handle.username, handle.domain))
    }

    #[test]
    fn every_spelling_of_a_local_handle_is_local() {
        for text in [
            "ada",
            "@ada",
            " ada ",
            "ada@here.test",
            "@ada@HERE.test",
            "acct:ada@here.test",
        ] {
            assert_eq!(parse(text), Some(("ada".to_owned(), None)), "{text}");
        }
    }

    #[test]
    fn remote_handles_have_one_spelling_of_their_host() {
        assert_eq!(
            parse("@Bob@Far.Test"),
            Some(("Bob".to_owned(), Some("far.test".to_owned())))
        );
    }

    #[test]
    fn what_is_no_handle_is_none() {
        for text in [
            "",
            "@",
            "@@far.test",
            "a b",
            "bob@",
            "bob@a b",
            "bob@far.test@x",
            "b/c",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
