//! Who owns a key: the actor whose own document lists it (attack A8).

use serde::Deserialize;
use serde_json::Value;
use tidegate_federation::signature::KeyId;
use tidegate_model::same_origin;
use url::Url;

use super::EgressError;
use super::fetch::{Document, Fetcher};

/// Keys of one actor that are looked at, as others bound it too.
const MAX_KEYS: usize = 10;

#[derive(Deserialize)]
struct KeyDocument {
    owner: String,
}

impl Fetcher {
    /// The actor that lists this key as its own.
    pub(super) async fn owner_of(&self, key_id: &str) -> Result<Document, EgressError> {
        let plain_http = self.client.options().allow_plain_http;
        let key = KeyId::parse(key_id, &self.instance, plain_http)
            .map_err(|_| EgressError::BadUrl("not a key id that may be fetched"))?;
        let found = self.document(&key.document).await?;
        if lists_key(&found, key_id) {
            return Ok(found);
        }
        // A key in a document of its own names its owner, who must confirm it.
        let named: KeyDocument =
            serde_json::from_slice(&found.body).map_err(|_| EgressError::WrongOwner)?;
        if !same_origin(&named.owner, key_id) {
            return Err(EgressError::WrongOwner);
        }
        let owner = Url::parse(&named.owner).map_err(|_| EgressError::WrongOwner)?;
        let actor = self.document(&owner).await?;
        if lists_key(&actor, key_id) {
            Ok(actor)
        } else {
            Err(EgressError::WrongOwner)
        }
    }
}

/// Whether an actor document lists `key_id` as a key of its own.
fn lists_key(actor: &Document, key_id: &str) -> bool {
    let Ok(document) = serde_json::from_slice::<Value>(&actor.body) else {
        return false;
    };
    let lists = |property: &str, owner: &str| {
        one_or_many(&document[property])
            .iter()
            .take(MAX_KEYS)
            .any(|key| key["id"] == key_id && key[owner] == actor.id.as_str())
    };
    lists("publicKey", "owner") || lists("assertionMethod", "controller")
}

fn one_or_many(value: &Value) -> &[Value] {
    match value {
        Value::Array(many) => many,
        one => std::slice::from_ref(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lists(document: &Value, key_id: &str) -> bool {
        let actor = Document {
            id: document["id"].as_str().unwrap_or_default().to_owned(),
            body: document.to_string().into(),
        };
        lists_key(&actor, key_id)
    }

    #[test]
    fn an_actor_lists_its_keys_alone_or_in_a_list() {
        let (bob, key) = ("https://p.test/bob", "https://p.test/bob#main-key");
        let one = json!({"id": bob, "publicKey": {"id": key, "owner": bob}});
        let many = json!({"id": bob, "publicKey": [{"id": "x"}, {"id": key, "owner": bob}]});
        let multikey = json!({"id": bob, "assertionMethod": [{"id": key, "controller": bob}]});
        for document in [one, many, multikey] {
            assert!(lists(&document, key), "{document}");
            assert!(!lists(&document, "https://p.test/bob#other"));
        }
    }

    #[test]
    fn a_key_of_somebody_else_is_not_listed() {
        let (bob, key) = ("https://p.test/bob", "https://e.test/key");
        let foreign = json!({"id": bob, "publicKey": {"id": key, "owner": "https://e.test/eve"}});
        assert!(!lists(&foreign, key));
        let eleventh: Vec<Value> = (0..10)
            .map(|n| json!({"id": format!("{bob}#{n}"), "owner": bob}))
            .chain([json!({"id": key, "owner": bob})])
            .collect();
        assert!(!lists(&json!({"id": bob, "publicKey": eleventh}), key));
    }
}
