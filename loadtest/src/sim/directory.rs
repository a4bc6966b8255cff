//! What simulated hosts know about foreign actors: where they are reached and how they sign.
//! Everything is learned over HTTP, as a stranger would.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use serde_json::Value;
use url::Url;

use super::Sim;
use crate::{
    error::SimError,
    signature::{Claim, RequestView, keys::PublicKey, verdict},
    world::{Actor, Recipient},
};

/// Actors and keys are asked for again after this time. A signature that does not verify
/// asks again at once.
const TIME_TO_LIVE: Duration = Duration::from_mins(10);

/// Foreign actors remembered; a tested server has a few hundred.
const REMEMBERED: u64 = 10_000;

/// What is worth knowing of a foreign actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteActor {
    /// Its id.
    pub id: String,
    /// `preferredUsername`.
    pub username: String,
    /// Where it is reached.
    pub recipient: Recipient,
}

/// A foreign key with the actor that it belongs to.
#[derive(Debug, Clone)]
struct ForeignKey {
    owner: String,
    key: PublicKey,
}

#[derive(Debug)]
pub(super) struct Directory {
    actors: Cache<String, Arc<RemoteActor>>,
    keys: Cache<String, Arc<ForeignKey>>,
}

impl Default for Directory {
    fn default() -> Self {
        let size = REMEMBERED;
        Self {
            actors: Cache::builder()
                .max_capacity(size)
                .time_to_live(TIME_TO_LIVE)
                .build(),
            keys: Cache::builder()
                .max_capacity(size)
                .time_to_live(TIME_TO_LIVE)
                .build(),
        }
    }
}

impl Sim {
    /// A foreign actor, asked for in the name of a simulated host's instance actor.
    pub(super) async fn remote_actor(
        &self,
        asking: &Actor,
        uri: &str,
    ) -> Result<Arc<RemoteActor>, SimError> {
        let fetch = async {
            let document = self.fetch_document(asking, uri).await?;
            read_actor(&document)
                .map(Arc::new)
                .map_err(|reason| unusable(uri, reason))
        };
        let found = self
            .shared
            .directory
            .actors
            .try_get_with(uri.to_owned(), fetch)
            .await;
        found.map_err(|error: Arc<SimError>| unusable(uri, &error.to_string()))
    }

    async fn foreign_key(&self, asking: &Actor, key_id: &str) -> Result<Arc<ForeignKey>, SimError> {
        let fetch = async { self.fetch_key(asking, key_id).await.map(Arc::new) };
        let found = self
            .shared
            .directory
            .keys
            .try_get_with(key_id.to_owned(), fetch)
            .await;
        found.map_err(|error: Arc<SimError>| unusable(key_id, &error.to_string()))
    }

    /// Gets a key from where its id says, and believes it only if the actor that it claims to
    /// belong to lists it.
    async fn fetch_key(&self, asking: &Actor, key_id: &str) -> Result<ForeignKey, SimError> {
        let address = key_id.split('#').next().unwrap_or(key_id);
        let document = self.fetch_document(asking, address).await?;
        if let Some((owner, pem)) = listed_key(&document, key_id) {
            return read_key(key_id, owner, pem);
        }
        let owner = document["owner"]
            .as_str()
            .ok_or_else(|| unusable(key_id, "no such key"))?;
        let actor = self.fetch_document(asking, owner).await?;
        let listed = listed_key(&actor, key_id);
        let (owner, pem) = listed.ok_or_else(|| unusable(key_id, "its owner does not list it"))?;
        read_key(key_id, owner, pem)
    }

    /// A signed GET for an ActivityStreams document; its `id` must be the address.
    async fn fetch_document(&self, asking: &Actor, url: &str) -> Result<Value, SimError> {
        let answer = self.signed_get(asking, url).await?;
        if !answer.is_success() {
            return Err(unusable(url, &format!("status {}", answer.status)));
        }
        let document = answer.json().ok_or_else(|| unusable(url, "not JSON"))?;
        if document["id"].as_str().map(without_fragment) != Some(url) {
            return Err(unusable(url, "its id is another one"));
        }
        Ok(document)
    }

    /// The verdict on a request that came to a host.
    pub(super) async fn judge(
        &self,
        asking: &Actor,
        request: &RequestView<'_>,
        actor: Option<&str>,
    ) -> verdict::Verdict {
        use verdict::Verdict;
        let claim = match verdict::claim(request, std::time::SystemTime::now()) {
            None => return Verdict::Unsigned,
            Some(Err((scheme, refusal))) => {
                return Verdict::Invalid {
                    scheme,
                    reason: refusal.to_string(),
                };
            }
            Some(Ok(claim)) => claim,
        };
        match self.check(asking, &claim, actor).await {
            Ok(()) => Verdict::Valid {
                scheme: claim.scheme,
                key_id: claim.key_id,
            },
            Err(reason) => Verdict::Invalid {
                scheme: claim.scheme,
                reason,
            },
        }
    }

    async fn check(
        &self,
        asking: &Actor,
        claim: &Claim,
        actor: Option<&str>,
    ) -> Result<(), String> {
        let directory = &self.shared.directory;
        let was_known = directory.keys.contains_key(&claim.key_id);
        let fetched = self.foreign_key(asking, &claim.key_id).await;
        let mut key = fetched.map_err(|error| error.to_string())?;
        let mut good = key.key.verifies(&claim.base, &claim.signature);
        if !good && was_known {
            directory.keys.invalidate(&claim.key_id).await;
            let fetched = self.foreign_key(asking, &claim.key_id).await;
            key = fetched.map_err(|error| error.to_string())?;
            good = key.key.verifies(&claim.base, &claim.signature);
        }
        if !good {
            return Err("the signature is not by this key".to_owned());
        }
        match actor {
            Some(actor) if actor != key.owner => {
                Err(format!("signed by {} in the name of {actor}", key.owner))
            }
            _ => Ok(()),
        }
    }
}

/// Owner and PEM of the key with this id among those of an actor document, if the document owns it.
fn listed_key<'a>(document: &'a Value, key_id: &str) -> Option<(&'a str, &'a str)> {
    let id = document["id"].as_str()?;
    let keys = match &document["publicKey"] {
        Value::Array(keys) => keys.as_slice(),
        key @ Value::Object(_) => std::slice::from_ref(key),
        _ => return None,
    };
    let key = keys
        .iter()
        .find(|key| key["id"] == key_id && key["owner"] == id)?;
    Some((id, key["publicKeyPem"].as_str()?))
}

fn read_key(key_id: &str, owner: &str, pem: &str) -> Result<ForeignKey, SimError> {
    let key = PublicKey::from_pem(pem).map_err(|reason| unusable(key_id, reason))?;
    Ok(ForeignKey {
        owner: owner.to_owned(),
        key,
    })
}

fn read_actor(document: &Value) -> Result<RemoteActor, &'static str> {
    let text = |field: &str| document[field].as_str().map(str::to_owned);
    let id = text("id").ok_or("no id")?;
    let inbox = text("inbox").ok_or("no inbox")?;
    let shared_inbox = document["endpoints"]["sharedInbox"]
        .as_str()
        .map(str::to_owned);
    for address in [Some(&inbox), shared_inbox.as_ref()].into_iter().flatten() {
        Url::parse(address).map_err(|_| "an inbox that is no URL")?;
    }
    Ok(RemoteActor {
        username: text("preferredUsername").unwrap_or_default(),
        id,
        recipient: Recipient {
            inbox,
            shared_inbox,
        },
    })
}

fn without_fragment(url: &str) -> &str {
    url.split('#').next().unwrap_or(url)
}

fn unusable(url: &str, reason: &str) -> SimError {
    SimError::Document {
        url: url.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_counts_only_where_its_owner_lists_it() {
        let key =
            json!({ "id": "http://a.test/u#k", "owner": "http://a.test/u", "publicKeyPem": "P" });
        let document = json!({ "id": "http://a.test/u", "publicKey": [key] });
        assert_eq!(
            listed_key(&document, "http://a.test/u#k"),
            Some(("http://a.test/u", "P"))
        );
        assert!(listed_key(&document, "http://a.test/u#other").is_none());
        let foreign = json!({ "id": "http://e.test/u", "publicKey": document["publicKey"] });
        assert!(listed_key(&foreign, "http://a.test/u#k").is_none());
    }

    #[test]
    fn an_actor_without_an_inbox_is_not_usable() {
        assert_eq!(
            read_actor(&json!({ "id": "http://a.test/u" })),
            Err("no inbox")
        );
        let actor =
            json!({ "id": "http://a.test/u", "inbox": "http://a.test/u/in", "endpoints": null });
        let actor = read_actor(&actor).expect("usable");
        assert_eq!(actor.recipient.preferred(), "http://a.test/u/in");
    }
}
