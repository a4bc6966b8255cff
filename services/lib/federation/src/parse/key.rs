//! Which keys an actor lists, and whose a key document says it is.

use super::{Document, ParseError, shape};
use crate::keys::PublicKey;
use serde_json::Value;
use tidegate_model::same_origin;

/// More keys of one actor than this are not read.
const MAX_KEYS: usize = 10;

/// The public half, as SPKI PEM, of the key with this id, if the actor document lists it as
/// its own: `publicKey` with `owner`, or `assertionMethod` with `controller`, being the actor
/// (attacks A8, A11).
pub fn actor_key(actor: &Document, key_id: &str) -> Result<String, ParseError> {
    keys(actor)
        .find(|(id, _)| *id == key_id)
        .map(|(_, key)| key.to_pem())
        .ok_or(ParseError::Authority("the actor does not list this key"))
}

/// The actor's first usable key, RSA before Ed25519: its id and SPKI PEM.
pub(super) fn first_key(actor: &Document) -> Option<(String, String)> {
    keys(actor)
        .next()
        .map(|(id, key)| (id.to_owned(), key.to_pem()))
}

fn keys(actor: &Document) -> impl Iterator<Item = (&str, PublicKey)> {
    let owner = actor.id().unwrap_or_default();
    let pems = shape::each(actor.get("publicKey"))
        .take(MAX_KEYS)
        .filter_map(move |key| {
            let pem = key.get("publicKeyPem").and_then(Value::as_str)?;
            Some((own(key, "owner", owner)?, PublicKey::from_pem(pem).ok()?))
        });
    let multikeys = shape::each(actor.get("assertionMethod"))
        .take(MAX_KEYS)
        .filter_map(move |key| {
            let text = key.get("publicKeyMultibase").and_then(Value::as_str)?;
            Some((
                own(key, "controller", owner)?,
                PublicKey::from_multibase(text).ok()?,
            ))
        });
    pems.chain(multikeys)
}

/// The id of a key that says it belongs to `owner` and lives at its origin.
fn own<'a>(key: &'a Value, property: &str, owner: &str) -> Option<&'a str> {
    let id = key
        .get("id")
        .and_then(Value::as_str)
        .and_then(shape::web_url)?;
    let is_own = key.get(property).and_then(Value::as_str) == Some(owner);
    (is_own && same_origin(id, owner)).then_some(id)
}

/// A document that is a key and no actor. It proves nothing until the owner's own document
/// lists it ([`actor_key`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDocument {
    /// The key's id.
    pub id: String,
    /// The actor to fetch, of the same origin.
    pub owner: String,
}

/// Reads a key document: with `publicKeyPem` of its own, or wrapping one in `publicKey`
/// without being an actor.
pub fn key_document(document: &Document) -> Result<KeyDocument, ParseError> {
    let key = if document.get("publicKeyPem").is_string()
        || document.get("publicKeyMultibase").is_string()
    {
        Some(document.clone())
    } else {
        shape::each(document.get("publicKey")).find_map(Document::of)
    }
    .ok_or(ParseError::Missing("publicKey"))?;
    let id = key.id().ok_or(ParseError::Missing("id"))?;
    let owner = shape::id(key.get("owner"))
        .or_else(|| shape::id(key.get("controller")))
        .ok_or(ParseError::Missing("owner"))?;
    if !same_origin(id, owner) {
        return Err(ParseError::Authority(
            "the key's owner is of another origin",
        ));
    }
    Ok(KeyDocument {
        id: id.to_owned(),
        owner: owner.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::generate;
    use serde_json::json;

    const BOB: &str = "https://p.test/users/bob";
    const KEY: &str = "https://p.test/users/bob#main-key";

    fn actor(fields: Value) -> Document {
        let mut actor = json!({"id": BOB});
        actor
            .as_object_mut()
            .expect("an object")
            .extend(fields.as_object().expect("an object").clone());
        Document::of(&actor).expect("an object")
    }

    #[test]
    fn a_listed_key_is_found_in_either_property() {
        let pairs = generate().expect("pairs");
        let actor = actor(json!({
            "publicKey": [{"id": KEY, "owner": BOB, "publicKeyPem": pairs.rsa_public_pem}],
            "assertionMethod": {
                "id": format!("{BOB}#ed"), "controller": BOB,
                "publicKeyMultibase": pairs.ed25519_public,
            },
        }));
        assert_eq!(actor_key(&actor, KEY), Ok(pairs.rsa_public_pem.clone()));
        assert!(actor_key(&actor, &format!("{BOB}#ed")).is_ok());
        assert!(actor_key(&actor, BOB).is_err());
        assert_eq!(
            first_key(&actor),
            Some((KEY.to_owned(), pairs.rsa_public_pem))
        );
    }

    #[test]
    fn a_key_of_somebody_else_is_not_the_actors() {
        let pem = generate().expect("pairs").rsa_public_pem;
        for key in [
            json!({"id": KEY, "owner": "https://p.test/users/eve", "publicKeyPem": pem}),
            json!({"id": KEY, "publicKeyPem": pem}),
            json!({"id": "https://e.test/key", "owner": BOB, "publicKeyPem": pem}),
            json!({"id": KEY, "owner": BOB, "publicKeyPem": "nonsense"}),
            json!({"owner": BOB, "publicKeyPem": pem}),
            json!(KEY),
        ] {
            assert_eq!(first_key(&actor(json!({"publicKey": key}))), None, "{key}");
        }
    }

    #[test]
    fn a_key_document_cannot_name_an_owner_elsewhere() {
        let read = |value: Value| key_document(&Document::of(&value).expect("an object"));
        assert_eq!(
            read(json!({"id": KEY, "owner": BOB, "publicKeyPem": "x"})),
            Ok(KeyDocument {
                id: KEY.to_owned(),
                owner: BOB.to_owned()
            })
        );
        assert!(read(json!({"id": BOB, "publicKey": {"id": KEY, "owner": BOB}})).is_ok());
        assert!(matches!(
            read(json!({"id": "https://e.test/k", "owner": BOB, "publicKeyPem": "x"})),
            Err(ParseError::Authority(_))
        ));
        assert!(read(json!({"id": BOB})).is_err());
    }
}
