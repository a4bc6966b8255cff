//! Fetching documents: signed by the instance actor, redirects by hand, and believed only from
//! their own origin (R1).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use sqlx::PgPool;
use tidegate_federation::ACCEPT_ACTIVITY;
use tidegate_model::{Instance, Lane};
use tokio::sync::OnceCell;
use url::Url;

use super::budget::Budget;
use super::client::{Answer, HttpClient};
use super::{EgressError, content_type};
use crate::signer::{Scheme, SignError, Signer};

/// Redirects that one GET follows: what Mastodon follows, and enough for `www.` and a trailing
/// slash.
const MAX_REDIRECTS: usize = 3;

/// A document that its own origin served under its own id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its id, exactly as it is written in it.
    pub id: String,
    /// The bytes as served, decompressed.
    pub body: Bytes,
}

#[derive(Deserialize)]
struct Head {
    id: String,
}

/// Fetches in the name of the instance.
pub(super) struct Fetcher {
    pub(super) client: HttpClient,
    pub(super) budget: Budget,
    pub(super) signer: Signer,
    pub(super) instance: Instance,
    pub(super) pool: PgPool,
    /// The instance actor's account, looked up on first use.
    pub(super) actor: OnceCell<i64>,
}

impl Fetcher {
    /// Fetches an ActivityStreams document and checks where it comes from. When it says that its
    /// id is another address of the same origin, that one is asked, once.
    pub(super) async fn document(&self, url: &Url) -> Result<Document, EgressError> {
        let (found_at, first) = self.activity(url).await?;
        let id = id_of(&first, &found_at)?;
        if id == found_at {
            return finish(first);
        }
        let (found_at, second) = self.activity(&id).await?;
        if id_of(&second, &found_at)? == found_at {
            finish(second)
        } else {
            Err(EgressError::WrongId)
        }
    }

    /// The body of an ActivityStreams document and the URL that served it.
    async fn activity(&self, url: &Url) -> Result<(Url, Bytes), EgressError> {
        let (found_at, answer) = self.follow(url, ACCEPT_ACTIVITY, true).await?;
        if !content_type::is_activity(&answer.headers) {
            return Err(EgressError::WrongType);
        }
        Ok((found_at, answer.body))
    }

    /// GET with redirects. Each hop is checked and paid for like the first; a signature is made
    /// for each hop anew and never for another origin than the one that was asked for.
    pub(super) async fn follow(
        &self,
        url: &Url,
        accept: &'static str,
        signed: bool,
    ) -> Result<(Url, Answer), EgressError> {
        let mut at = url.clone();
        at.set_fragment(None);
        for _ in 0..=MAX_REDIRECTS {
            if self.instance.owns(at.as_str()) {
                return Err(EgressError::BadUrl("one of our own"));
            }
            let sign = signed && at.origin() == url.origin();
            let answer = self.hop(&at, accept, sign).await?;
            match answer.status {
                status if status.is_success() => return Ok((at, answer)),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => at = next_hop(&at, &answer.headers)?,
                status => return Err(EgressError::Status(status.as_u16())),
            }
        }
        Err(EgressError::Redirect("too many"))
    }

    async fn hop(
        &self,
        url: &Url,
        accept: &'static str,
        sign: bool,
    ) -> Result<Answer, EgressError> {
        let first = self
            .once(url, accept, sign.then_some(Scheme::Cavage))
            .await?;
        if sign && first.status == StatusCode::UNAUTHORIZED {
            return self.once(url, accept, Some(Scheme::Rfc9421)).await;
        }
        Ok(first)
    }

    async fn once(
        &self,
        url: &Url,
        accept: &'static str,
        scheme: Option<Scheme>,
    ) -> Result<Answer, EgressError> {
        self.client.check(url)?;
        self.budget.spend(url.host_str().unwrap_or_default())?;
        let mut headers = match scheme {
            Some(scheme) => self.sign(url, scheme).await?,
            None => HeaderMap::new(),
        };
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        self.client.get(url.clone(), headers).await
    }

    async fn sign(&self, url: &Url, scheme: Scheme) -> Result<HeaderMap, EgressError> {
        let failed = |error: SignError| {
            tracing::error!(%error, "the instance actor could not sign a fetch");
            EgressError::Signing
        };
        let actor = self
            .actor
            .get_or_try_init(|| self.find_actor())
            .await
            .map_err(failed)?;
        // Somebody waits for what is fetched.
        self.signer
            .sign(*actor, Lane::Now, scheme, Method::GET, url, None)
            .await
            .map_err(failed)
    }

    async fn find_actor(&self) -> Result<i64, SignError> {
        let uri = self.instance.instance_actor();
        let account = tidegate_store::accounts::by_uri(&self.pool, &uri).await?;
        account.map(|found| found.id).ok_or(SignError::NoKeys)
    }
}

/// Where a redirect leads, if it may lead there.
fn next_hop(from: &Url, headers: &HeaderMap) -> Result<Url, EgressError> {
    let location = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or(EgressError::Redirect("it leads nowhere"))?;
    let mut to = from
        .join(location)
        .map_err(|_| EgressError::Redirect("it leads nowhere"))?;
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(EgressError::Redirect("from https to something else"));
    }
    to.set_fragment(None);
    Ok(to)
}

/// The id in a document, which must be of the origin that served it.
fn id_of(body: &[u8], found_at: &Url) -> Result<Url, EgressError> {
    let head: Head = serde_json::from_slice(body).map_err(|_| EgressError::Malformed)?;
    let id = Url::parse(&head.id).map_err(|_| EgressError::WrongId)?;
    if id.host().is_some() && id.origin() == found_at.origin() {
        Ok(id)
    } else {
        Err(EgressError::WrongId)
    }
}

fn finish(body: Bytes) -> Result<Document, EgressError> {
    let head: Head = serde_json::from_slice(&body).map_err(|_| EgressError::Malformed)?;
    Ok(Document { id: head.id, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn hop(from: &str, location: &str) -> Result<Url, EgressError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, location.parse().expect("a value"));
        next_hop(&url(from), &headers)
    }

    #[test]
    fn a_redirect_never_leaves_https() {
        for to in [
            "http://a.test/",
            "file:///etc/passwd",
            "gopher://a.test/",
            "data:,x",
            "",
        ] {
            let got = hop("https://a.test/x", to);
            assert!(
                matches!(got, Err(EgressError::Redirect(_))) || to.is_empty(),
                "{to}: {got:?}"
            );
        }
        assert_eq!(hop("https://a.test/x", "/y#z"), Ok(url("https://a.test/y")));
        assert_eq!(
            hop("https://a.test/x", "//b.test/y"),
            Ok(url("https://b.test/y"))
        );
    }

    #[test]
    fn an_id_of_another_origin_is_refused() {
        let at = url("https://a.test/users/bob");
        for id in [
            "https://b.test/users/bob",
            "http://a.test/users/bob",
            "https://a.test:8443/x",
            "x",
            "",
        ] {
            let body = serde_json::json!({ "id": id }).to_string();
            assert_eq!(
                id_of(body.as_bytes(), &at),
                Err(EgressError::WrongId),
                "{id}"
            );
        }
        assert_eq!(id_of(b"[]", &at), Err(EgressError::Malformed));
        assert_eq!(id_of(br#"{"id":"https://A.test/users/bob"}"#, &at), Ok(at));
    }
}
