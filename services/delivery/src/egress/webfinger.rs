//! From a handle to an actor. Who answers for a handle is its domain, and the actor's own host
//! must agree, so that nobody lends his name to somebody else's account.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tidegate_federation::parse::is_activity_content_type;
use tidegate_model::canonical_host;
use url::Url;

use super::EgressError;
use super::fetch::{Document, Fetcher};

/// What we ask WebFinger for.
const ACCEPT_JRD: &str = "application/jrd+json, application/json";

/// Longer handles are nobody's: a DNS name and as much again.
const MAX_HANDLE_BYTES: usize = 512;

/// Links of one answer that are looked at.
const MAX_LINKS: usize = 100;

/// The two halves of a handle, canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handle {
    user: String,
    domain: String,
}

impl Handle {
    /// Reads `user@domain`, with or without `acct:` or a leading @.
    pub(super) fn parse(text: &str) -> Result<Self, EgressError> {
        let refused = EgressError::BadUrl("not a handle");
        let text = text.strip_prefix("acct:").unwrap_or(text);
        let text = text.strip_prefix('@').unwrap_or(text);
        let (user, domain) = text.split_once('@').ok_or(refused.clone())?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@:\\".contains(c);
        if text.len() > MAX_HANDLE_BYTES || user.is_empty() || user.contains(odd) {
            return Err(refused);
        }
        // A handle has no port: a host is a name (design section 11).
        if domain.contains(':') {
            return Err(refused);
        }
        Ok(Self {
            user: user.to_owned(),
            domain: canonical_host(domain).map_err(|_| refused)?,
        })
    }

    fn is(&self, other: &Self) -> bool {
        self.domain == other.domain && self.user.eq_ignore_ascii_case(&other.user)
    }

    /// `user@domain`.
    pub(super) fn text(&self) -> String {
        format!("{}@{}", self.user, self.domain)
    }
}

#[derive(Deserialize)]
struct Jrd {
    subject: String,
    #[serde(default)]
    links: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    rel: String,
    #[serde(default, rename = "type")]
    media_type: String,
    #[serde(default)]
    href: String,
}

impl Jrd {
    fn actor(&self) -> Result<Url, EgressError> {
        let link = self
            .links
            .iter()
            .take(MAX_LINKS)
            .find(|link| link.rel == "self" && is_activity_content_type(&link.media_type))
            .ok_or(EgressError::Malformed)?;
        Url::parse(&link.href).map_err(|_| EgressError::Malformed)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActorName {
    preferred_username: String,
}

impl Fetcher {
    /// The actor behind a handle, and the handle that both its domain and its own host stand for.
    pub(super) async fn resolve(&self, text: &str) -> Result<(Document, String), EgressError> {
        let asked = Handle::parse(text)?;
        let (proven, href) = self.finger_with_hop(&asked).await?;
        let actor = self.document(&href).await?;
        if Url::parse(&actor.id).ok().as_ref() != Some(&href) {
            return Err(EgressError::WrongSubject);
        }
        let name: ActorName =
            serde_json::from_slice(&actor.body).map_err(|_| EgressError::Malformed)?;
        let home = Handle::parse(&format!(
            "{}@{}",
            name.preferred_username,
            href.host_str().unwrap_or_default()
        ))?;
        // When the handle's domain is not the actor's host, that host must say the same.
        if !home.is(&proven) {
            let (subject, back) = self.finger(&home).await?;
            if back != href || !subject.is(&proven) {
                return Err(EgressError::WrongSubject);
            }
        }
        Ok((actor, proven.text()))
    }

    /// The handle that the domain stands for, and its actor. A domain may point to one other
    /// handle, whose domain must then answer for it.
    async fn finger_with_hop(&self, asked: &Handle) -> Result<(Handle, Url), EgressError> {
        let (subject, href) = self.finger(asked).await?;
        if subject.is(asked) {
            return Ok((subject, href));
        }
        let (confirmed, same) = self.finger(&subject).await?;
        if confirmed.is(&subject) && same == href {
            Ok((confirmed, href))
        } else {
            Err(EgressError::WrongSubject)
        }
    }

    async fn finger(&self, handle: &Handle) -> Result<(Handle, Url), EgressError> {
        let jrd = match self.finger_over("https", handle).await {
            Err(EgressError::Tls(_) | EgressError::Connect | EgressError::Broken)
                if self.client.options().allow_plain_http =>
            {
                self.finger_over("http", handle).await?
            }
            other => other?,
        };
        if !jrd.subject.starts_with("acct:") {
            return Err(EgressError::WrongSubject);
        }
        let subject = Handle::parse(&jrd.subject).map_err(|_| EgressError::WrongSubject)?;
        Ok((subject, jrd.actor()?))
    }

    async fn finger_over(&self, scheme: &str, handle: &Handle) -> Result<Jrd, EgressError> {
        let resource = format!("acct:{}", handle.text());
        let url = format!(
            "{scheme}://{}/.well-known/webfinger?resource={}",
            handle.domain,
            utf8_percent_encode(&resource, NON_ALPHANUMERIC)
        );
        let url = Url::parse(&url).map_err(|_| EgressError::BadUrl("not a handle"))?;
        let (_, answer) = self.follow(&url, ACCEPT_JRD, false).await?;
        serde_json::from_slice(&answer.body).map_err(|_| EgressError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_in_every_usual_spelling() {
        for text in [
            "bob@p.test",
            "@bob@p.test",
            "acct:bob@P.test",
            "bob@p.test.",
        ] {
            assert_eq!(Handle::parse(text).expect("a handle").text(), "bob@p.test");
        }
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        for text in [
            "",
            "bob",
            "@bob",
            "bob@",
            "@p.test",
            "bob@p.test:8080",
            "bob@a@b.test",
            "b b@p.test",
            "b/../x@p.test",
            "bob@p.test/x",
            "bob@p.test?x",
            "bob@p.test%00.e.test",
        ] {
            assert!(Handle::parse(text).is_err(), "{text}");
        }
    }
}
