//! Actor documents: people, bots, and the instance itself.

use super::{ACTIVITY_STREAMS, MULTIKEY, SECURITY, timestamp, with_context};
use serde_json::{Value, json};
use tidegate_model::{INSTANCE_ACTOR_USERNAME, Instance, RemoteField};
use time::{OffsetDateTime, Time};

/// A local actor as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorDoc {
    /// The left-hand side of its handle.
    pub username: String,
    /// Plain text.
    pub display_name: String,
    /// The biography as safe HTML.
    pub note_html: String,
    /// `Service` instead of `Person`.
    pub bot: bool,
    /// Follows are approved by hand.
    pub locked: bool,
    /// Wants to be found.
    pub discoverable: bool,
    /// Public posts may be searched.
    pub indexable: bool,
    /// When it signed up; published to the day only.
    pub created_at: OffsetDateTime,
    /// Names plain, values safe HTML.
    pub fields: Vec<RemoteField>,
    /// Absolute URL of the picture.
    pub avatar_url: Option<String>,
    /// Absolute URL of the banner.
    pub header_url: Option<String>,
    /// RSA key, SPKI PEM.
    pub public_key_pem: String,
    /// Ed25519 key, multibase.
    pub ed25519_public: Option<String>,
}

/// The document at an actor's id.
pub fn actor(us: &Instance, doc: &ActorDoc) -> Value {
    with_context(context(), body(us, doc))
}

/// The same without `@context`, to stand inside an activity.
pub(super) fn body(us: &Instance, doc: &ActorDoc) -> Value {
    let name = doc.username.as_str();
    let id = us.actor(name);
    let fields: Vec<Value> = doc
        .fields
        .iter()
        .map(|field| json!({"type": "PropertyValue", "name": field.name, "value": field.value}))
        .collect();
    let mut actor = json!({
        "id": id,
        "webfinger": format!("{name}@{}", us.domain),
        "type": if doc.bot { "Service" } else { "Person" },
        "following": us.actor_endpoint(name, "following"),
        "followers": us.actor_endpoint(name, "followers"),
        "inbox": us.actor_endpoint(name, "inbox"),
        "outbox": us.actor_endpoint(name, "outbox"),
        "preferredUsername": name,
        "name": doc.display_name,
        "summary": doc.note_html,
        "url": us.profile(name),
        "manuallyApprovesFollowers": doc.locked,
        "discoverable": doc.discoverable,
        "indexable": doc.indexable,
        "published": timestamp(doc.created_at.replace_time(Time::MIDNIGHT)),
        "memorial": false,
        "publicKey": public_key(&us.key_id(name), &id, &doc.public_key_pem),
        "tag": [],
        "attachment": fields,
        "endpoints": {"sharedInbox": us.shared_inbox()},
    });
    if let Some(key) = &doc.ed25519_public {
        actor["assertionMethod"] = json!([{
            "id": us.ed25519_key_id(name),
            "type": "Multikey",
            "controller": id,
            "publicKeyMultibase": key,
        }]);
    }
    for (property, url) in [("icon", &doc.avatar_url), ("image", &doc.header_url)] {
        if let Some(url) = url {
            actor[property] = image(url);
        }
    }
    actor
}

/// The actor that signs our fetches and speaks for the instance. Served unsigned to anybody,
/// or two servers that demand signatures would wait for each other for ever.
pub fn instance_actor(us: &Instance, public_key_pem: &str) -> Value {
    let id = us.instance_actor();
    with_context(
        context(),
        json!({
            "id": id,
            "webfinger": format!("{INSTANCE_ACTOR_USERNAME}@{}", us.domain),
            "type": "Application",
            "inbox": format!("{id}/inbox"),
            "outbox": format!("{id}/outbox"),
            "preferredUsername": INSTANCE_ACTOR_USERNAME,
            "url": us.base(),
            "manuallyApprovesFollowers": true,
            "publicKey": public_key(&us.instance_key_id(), &id, public_key_pem),
            "endpoints": {"sharedInbox": us.shared_inbox()},
        }),
    )
}

fn public_key(id: &str, owner: &str, pem: &str) -> Value {
    json!({"id": id, "owner": owner, "publicKeyPem": pem})
}

fn image(url: &str) -> Value {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let media_type = match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("jpg" | "jpeg") => Some("image/jpeg"),
        Some("png") => Some("image/png"),
        Some("gif") => Some("image/gif"),
        Some("webp") => Some("image/webp"),
        Some("svg") => Some("image/svg+xml"),
        _ => None,
    };
    let mut image = json!({"type": "Image", "url": url});
    if let Some(media_type) = media_type {
        image["mediaType"] = json!(media_type);
    }
    image
}

pub(super) fn context() -> Value {
    json!([
        ACTIVITY_STREAMS,
        SECURITY,
        MULTIKEY,
        "https://purl.archive.org/socialweb/webfinger",
        {
            "assertionMethod": {
                "@id": "https://w3id.org/security#assertionMethod",
                "@type": "@id",
                "@container": "@set",
            },
            "manuallyApprovesFollowers": "as:manuallyApprovesFollowers",
            "toot": "http://joinmastodon.org/ns#",
            "discoverable": "toot:discoverable",
            "indexable": "toot:indexable",
            "memorial": "toot:memorial",
            "schema": "http://schema.org#",
            "PropertyValue": "schema:PropertyValue",
            "value": "schema:value",
        }
    ])
}

#[cfg(test)]
pub(super) mod tests {
    use super::{
        super::testing::{noon, us},
        *,
    };

    pub(in super::super) fn ada() -> ActorDoc {
        ActorDoc {
            username: "ada".to_owned(),
            display_name: "Ada <3".to_owned(),
            note_html: "<p>Hi</p>".to_owned(),
            bot: false,
            locked: true,
            discoverable: true,
            indexable: false,
            created_at: noon(),
            fields: vec![RemoteField {
                name: "Home".to_owned(),
                value: "<a href=\"https://x.test\">x</a>".to_owned(),
            }],
            avatar_url: Some("https://web.us.test/a.png?1".to_owned()),
            header_url: None,
            public_key_pem: "PEM".to_owned(),
            ed25519_public: Some("z6Mk".to_owned()),
        }
    }

    #[test]
    fn a_person_has_what_mastodon_requires() {
        let doc = actor(&us(), &ada());
        let id = "https://web.us.test/users/ada";
        assert_eq!(doc["id"], id);
        assert_eq!(doc["@context"][0], ACTIVITY_STREAMS);
        assert_eq!(doc["type"], "Person");
        assert_eq!(doc["inbox"], format!("{id}/inbox"));
        assert_eq!(doc["endpoints"]["sharedInbox"], "https://web.us.test/inbox");
        assert_eq!(doc["preferredUsername"], "ada");
        assert_eq!(doc["webfinger"], "ada@us.test");
        assert_eq!(
            doc["publicKey"],
            json!({"id": format!("{id}#main-key"), "owner": id, "publicKeyPem": "PEM"})
        );
        assert_eq!(doc["assertionMethod"][0]["controller"], id);
        assert_eq!(doc["published"], "2023-11-14T00:00:00Z");
        assert_eq!(doc["icon"]["mediaType"], "image/png");
        assert_eq!(doc.get("image"), None);
        assert_eq!(doc["attachment"][0]["type"], "PropertyValue");
    }

    #[test]
    fn a_bot_is_a_service() {
        let bot = ActorDoc {
            bot: true,
            ed25519_public: None,
            ..ada()
        };
        let doc = actor(&us(), &bot);
        assert_eq!(doc["type"], "Service");
        assert_eq!(doc.get("assertionMethod"), None);
    }

    #[test]
    fn the_instance_actor_owns_its_key() {
        let doc = instance_actor(&us(), "PEM");
        assert_eq!(doc["type"], "Application");
        assert_eq!(doc["publicKey"]["owner"], doc["id"]);
        assert_eq!(doc["publicKey"]["id"], us().instance_key_id());
    }
}
