//! Actors of others.

use super::{Document, ParseError, handle::is_username, key::first_key, shape};
use crate::html::{plain_text, sanitize_within};
use serde_json::Value;
use tidegate_model::{RemoteActor, RemoteField, host_of, same_origin};

/// Types that are actors, in Mastodon's spelling.
const TYPES: [&str; 5] = ["Person", "Service", "Group", "Organization", "Application"];

/// What Mastodon takes of a name, in characters.
const MAX_NAME: usize = 2_048;

/// What Mastodon takes of a biography, in bytes; a longer one is shown as its text.
const MAX_SUMMARY_BYTES: usize = 20 * 1024;

/// What Mastodon takes of profile fields: how many, and the length of each half.
const MAX_FIELDS: usize = 50;
const MAX_FIELD: usize = 2_047;

/// Reads an actor document. That it came from its id's own URL is [`super::fetched`]'s to say;
/// here its parts are checked against its id.
///
/// `domain` of the result is the host of the id; a handle elsewhere needs WebFinger's word.
pub fn actor(document: &Document) -> Result<RemoteActor, ParseError> {
    let actor_type = document
        .types()
        .find(|kind| TYPES.contains(kind))
        .ok_or(ParseError::Unsupported)?;
    let uri = document.id().ok_or(ParseError::Missing("id"))?;
    let host = host_of(uri).map_err(|_| ParseError::Missing("id"))?;
    let username = shape::text(document.get("preferredUsername"))
        .filter(|name| is_username(name))
        .ok_or(ParseError::Missing("preferredUsername"))?;
    let inbox = shape::link(document.get("inbox")).ok_or(ParseError::Missing("inbox"))?;
    if !same_host(inbox, &host) {
        return Err(ParseError::Authority("the inbox is on another host"));
    }
    // A broken shared inbox costs nothing but itself: the actor's own one is there.
    let shared_inbox = shape::each(document.get("endpoints"))
        .find_map(|endpoints| shape::link(endpoints.get("sharedInbox")?))
        .filter(|url| same_host(url, &host));
    let (key_id, public_key_pem) = first_key(document).ok_or(ParseError::Missing("publicKey"))?;
    let (name, _) = shape::language_text(document.get("name"), document.get("nameMap"));
    let (summary, _) = shape::language_text(document.get("summary"), document.get("summaryMap"));
    let flag = |key: &str| document.get(key).as_bool();
    Ok(RemoteActor {
        uri: uri.to_owned(),
        url: shape::link(document.get("url"))
            .filter(|url| same_host(url, &host))
            .unwrap_or(uri)
            .to_owned(),
        actor_type: actor_type.to_owned(),
        username: username.to_owned(),
        display_name: shape::clipped(&plain_text(name.unwrap_or_default()), MAX_NAME)
            .replace('\n', " "),
        note: sanitize_within(summary.unwrap_or_default(), MAX_SUMMARY_BYTES),
        inbox: inbox.to_owned(),
        shared_inbox: shared_inbox.map(str::to_owned),
        outbox: collection(document, "outbox", uri),
        followers: collection(document, "followers", uri),
        following: collection(document, "following", uri),
        key_id,
        public_key_pem,
        avatar_url: picture(document.get("icon")),
        header_url: picture(document.get("image")),
        fields: fields(document),
        locked: flag("manuallyApprovesFollowers").unwrap_or(false),
        bot: matches!(actor_type, "Service" | "Application"),
        discoverable: flag("discoverable"),
        indexable: flag("indexable").unwrap_or(false),
        published: shape::time(document.get("published")),
        updated: shape::time(document.get("updated")),
        domain: host,
    })
}

fn same_host(url: &str, host: &str) -> bool {
    host_of(url).as_deref() == Ok(host)
}

/// A collection of the actor's own; one elsewhere is as good as none, or an actor could claim
/// the address of somebody else's followers.
fn collection(document: &Document, name: &str, uri: &str) -> String {
    shape::id(document.get(name))
        .filter(|url| same_origin(url, uri))
        .unwrap_or_default()
        .to_owned()
}

fn picture(value: &Value) -> String {
    shape::link(value).unwrap_or_default().to_owned()
}

fn fields(document: &Document) -> Vec<RemoteField> {
    shape::each(document.get("attachment"))
        .filter(|one| shape::each(&one["type"]).any(|kind| kind == "PropertyValue"))
        .filter_map(|one| {
            let name = shape::text(&one["name"])?;
            let value = shape::text(&one["value"])?;
            Some(RemoteField {
                name: shape::clipped(&plain_text(name), MAX_FIELD),
                value: sanitize_within(value, MAX_FIELD),
            })
        })
        .take(MAX_FIELDS)
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{document, keys::generate};
    use serde_json::json;
    use std::sync::LazyLock;

    static PEM: LazyLock<String> = LazyLock::new(|| generate().expect("pairs").rsa_public_pem);

    fn bob() -> Value {
        let id = "https://p.test/users/bob";
        json!({
            "@context": "https://www.w3.org/ns/activitystreams",
            "id": id,
            "type": "Person",
            "preferredUsername": "bob",
            "inbox": format!("{id}/inbox"),
            "publicKey": {"id": format!("{id}#main-key"), "owner": id, "publicKeyPem": *PEM},
        })
    }

    fn with(changes: Value) -> Result<RemoteActor, ParseError> {
        let mut value = bob();
        let fields = value.as_object_mut().expect("an object");
        fields.extend(changes.as_object().expect("an object").clone());
        fields.retain(|_, value| !value.is_null());
        actor(&Document::parse(value.to_string().as_bytes()).expect("a document"))
    }

    #[test]
    fn the_least_actor_is_taken() {
        let bob = with(json!({})).expect("an actor");
        assert_eq!(bob.domain, "p.test");
        assert_eq!(bob.username, "bob");
        assert_eq!(bob.url, bob.uri);
        assert_eq!(bob.shared_inbox, None);
        assert_eq!(bob.key_id, "https://p.test/users/bob#main-key");
        assert_eq!(bob.discoverable, None);
    }

    #[test]
    fn our_own_actors_read_back() {
        let us = tidegate_model::Instance::new(
            "us.test",
            &url::Url::parse("https://web.us.test").expect("a URL"),
        );
        let pairs = generate().expect("pairs");
        let doc = document::ActorDoc {
            username: "ada".to_owned(),
            display_name: "Ada & <b>".to_owned(),
            note_html: "<p>Hi</p>".to_owned(),
            bot: true,
            locked: true,
            discoverable: true,
            indexable: true,
            created_at: time::OffsetDateTime::UNIX_EPOCH,
            fields: vec![RemoteField {
                name: "n".to_owned(),
                value: "v".to_owned(),
            }],
            avatar_url: Some("https://web.us.test/a.png".to_owned()),
            header_url: None,
            public_key_pem: pairs.rsa_public_pem.clone(),
            ed25519_public: Some(pairs.ed25519_public),
        };
        let (bytes, _) = document::to_body(&document::actor(&us, &doc));
        let read = actor(&Document::parse(&bytes).expect("a document")).expect("an actor");
        assert_eq!(read.uri, us.actor("ada"));
        assert_eq!(read.url, us.profile("ada"));
        assert_eq!(read.actor_type, "Service");
        assert!(read.bot && read.locked && read.indexable);
        assert_eq!(read.note, "<p>Hi</p>");
        assert_eq!(read.shared_inbox, Some(us.shared_inbox()));
        assert_eq!(read.followers, us.actor_endpoint("ada", "followers"));
        assert_eq!(read.public_key_pem, pairs.rsa_public_pem);
        assert_eq!(read.fields, doc.fields);
        assert_eq!(read.avatar_url, "https://web.us.test/a.png");
        let (bytes, _) = document::to_body(&document::instance_actor(&us, &pairs.rsa_public_pem));
        let read = actor(&Document::parse(&bytes).expect("a document")).expect("an actor");
        assert_eq!(read.actor_type, "Application");
    }

    #[test]
    fn odd_shapes_are_taken() {
        let bob = with(json!({
            "type": ["Person", "x:Custom"],
            "inbox": {"id": "x", "url": "https://p.test/in"},
            "endpoints": [{"sharedInbox": ["https://p.test/shared"]}],
            "name": ["Bob"],
            "icon": [{"type": "Image", "url": [{"type": "Link", "href": "https://cdn.test/i.png"}]}, 1],
            "attachment": {"type": "PropertyValue", "name": "n", "value": "<b>v</b>"},
            "url": ["https://p.test/@bob"],
            "published": "never",
            "discoverable": "yes",
        }));
        let bob = bob.expect("an actor");
        assert_eq!(bob.inbox, "https://p.test/in");
        assert_eq!(bob.shared_inbox.as_deref(), Some("https://p.test/shared"));
        assert_eq!(bob.display_name, "Bob");
        assert_eq!(bob.fields[0].value, "<b>v</b>");
        assert_eq!(bob.url, "https://p.test/@bob");
        assert_eq!(bob.published, None);
        assert!(with(json!({"endpoints": null})).is_ok());
    }

    #[test]
    fn what_points_elsewhere_is_dropped_or_refused() {
        assert!(matches!(
            with(json!({"inbox": "https://e.test/inbox"})),
            Err(ParseError::Authority(_))
        ));
        let bob = with(json!({
            "endpoints": {"sharedInbox": "https://e.test/inbox"},
            "followers": "https://e.test/users/eve/followers",
            "url": "https://e.test/@bob",
        }))
        .expect("an actor");
        assert_eq!(bob.shared_inbox, None);
        assert_eq!(bob.followers, "");
        assert_eq!(bob.url, bob.uri);
    }

    #[test]
    fn what_must_be_there_must_be_there() {
        for changes in [
            json!({"id": null}),
            json!({"id": "acct:bob@p.test"}),
            json!({"type": "Note"}),
            json!({"type": null}),
            json!({"inbox": null}),
            json!({"inbox": "javascript:x"}),
            json!({"preferredUsername": null}),
            json!({"preferredUsername": "bob eve"}),
            json!({"preferredUsername": "a/b"}),
            json!({"publicKey": null}),
            json!({"publicKey": {"id": "https://p.test/k", "owner": "https://p.test/users/eve", "publicKeyPem": *PEM}}),
            json!({"id": "https://p.test/users/eve"}),
        ] {
            assert!(with(changes.clone()).is_err(), "{changes}");
        }
    }

    #[test]
    fn everything_is_bounded_and_safe() {
        let fields: Vec<Value> = (0..60)
            .map(|_| json!({"type": "PropertyValue", "name": "x".repeat(5_000), "value": "y".repeat(5_000)}))
            .collect();
        let bob = with(json!({
            "name": format!("<script>x</script>{}", "n".repeat(10_000)),
            "summary": format!("<img onerror=x><p onclick=x>{}</p>", "s".repeat(100_000)),
            "attachment": fields,
        }))
        .expect("an actor");
        assert_eq!(bob.display_name, "n".repeat(MAX_NAME));
        assert!(bob.note.len() <= MAX_SUMMARY_BYTES && !bob.note.contains('<'));
        assert_eq!(bob.fields.len(), MAX_FIELDS);
        assert!(
            bob.fields
                .iter()
                .all(|one| one.name.len() <= MAX_FIELD && one.value.len() <= MAX_FIELD)
        );
        assert!(with(json!({"preferredUsername": "b".repeat(3_000)})).is_err());
    }
}
