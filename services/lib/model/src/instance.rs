//! Who we are: the domain of our handles and the URLs of everything we publish.
//!
//! URLs are stored in remote databases for ever, so every one of them is made here.

use url::Url;

/// The name of the actor that signs fetches and speaks for the instance.
pub const INSTANCE_ACTOR_USERNAME: &str = "instance.actor";

/// The instance's public identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The right-hand side of handles, for example `example.org`.
    pub domain: String,
    /// The origin of all URLs without a trailing slash, for example `https://example.org`.
    base: String,
}

impl Instance {
    /// An instance with handles of `domain` and URLs below the origin of `base_url`.
    pub fn new(domain: impl Into<String>, base_url: &Url) -> Self {
        Self {
            domain: domain.into(),
            base: base_url.origin().ascii_serialization(),
        }
    }

    /// The origin of all our URLs, without a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether `url` is one of ours.
    pub fn owns(&self, url: &str) -> bool {
        crate::same_origin(&self.base, url)
    }

    /// The id of a local actor.
    pub fn actor(&self, username: &str) -> String {
        format!("{}/users/{username}", self.base)
    }

    /// The page of a local actor.
    pub fn profile(&self, username: &str) -> String {
        format!("{}/@{username}", self.base)
    }

    /// The username in one of our actor ids.
    pub fn username_of<'a>(&self, actor_uri: &'a str) -> Option<&'a str> {
        let name = actor_uri
            .strip_prefix(self.base.as_str())?
            .strip_prefix("/users/")?;
        (!name.is_empty() && !name.contains(['/', '?', '#'])).then_some(name)
    }

    /// The id of a local actor's RSA key.
    pub fn key_id(&self, username: &str) -> String {
        format!("{}#main-key", self.actor(username))
    }

    /// The id of a local actor's Ed25519 key (FEP-521a).
    pub fn ed25519_key_id(&self, username: &str) -> String {
        format!("{}#ed25519-key", self.actor(username))
    }

    /// One of a local actor's endpoints: `inbox`, `outbox`, `followers`, `following`.
    pub fn actor_endpoint(&self, username: &str, name: &str) -> String {
        format!("{}/{name}", self.actor(username))
    }

    /// The inbox that all local actors share.
    pub fn shared_inbox(&self) -> String {
        format!("{}/inbox", self.base)
    }

    /// The id of the instance actor.
    pub fn instance_actor(&self) -> String {
        format!("{}/actor", self.base)
    }

    /// The id of the instance actor's key.
    pub fn instance_key_id(&self) -> String {
        format!("{}/actor#main-key", self.base)
    }

    /// The id of a local post.
    pub fn status(&self, username: &str, id: i64) -> String {
        format!("{}/statuses/{id}", self.actor(username))
    }

    /// The page of a local post.
    pub fn status_page(&self, username: &str, id: i64) -> String {
        format!("{}/@{username}/{id}", self.base)
    }

    /// The page of a hashtag.
    pub fn tag(&self, name: &str) -> String {
        format!("{}/tags/{name}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> Instance {
        Instance::new(
            "example.org",
            &Url::parse("https://social.example.org/").expect("a URL"),
        )
    }

    #[test]
    fn usernames_are_found_only_in_actor_ids() {
        let us = instance();
        assert_eq!(us.username_of(&us.actor("ada")), Some("ada"));
        assert_eq!(us.username_of(&us.status("ada", 7)), None);
        assert_eq!(
            us.username_of("https://social.example.org.evil.test/users/ada"),
            None
        );
        assert_eq!(us.username_of("https://other.test/users/ada"), None);
    }

    #[test]
    fn only_our_origin_is_ours() {
        let us = instance();
        assert!(us.owns("https://social.example.org/users/ada"));
        assert!(!us.owns("http://social.example.org/users/ada"));
        assert!(!us.owns("https://social.example.org.evil.test/"));
    }
}
