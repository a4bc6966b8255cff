//! The documents that a simulated host serves, as Mastodon's look from outside.

use serde_json::{Value, json};

use crate::world::{Actor, Host, StoredNote};

/// The public collection.
pub const PUBLIC: &str = "https://www.w3.org/ns/activitystreams#Public";

const CONTEXT: &str = "https://www.w3.org/ns/activitystreams";
const SECURITY: &str = "https://w3id.org/security/v1";

/// Members of a page of followers, posts of a page of the outbox.
const PAGE: usize = 50;

/// Wraps an object or activity with its context.
pub fn with_context(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("@context".to_owned(), json!([CONTEXT, SECURITY]));
    }
    value
}

pub(crate) fn actor(actor: &Actor, public_pem: &str) -> Value {
    let who = &actor.who;
    let kind = match (actor.is_instance(), actor.spec.bot) {
        (true, _) => "Application",
        (false, true) => "Service",
        (false, false) => "Person",
    };
    let name = if actor.spec.name.is_empty() {
        &who.username
    } else {
        &actor.spec.name
    };
    let mut document = json!({
        "id": who.uri,
        "type": kind,
        "preferredUsername": who.username,
        "name": name,
        "summary": actor.spec.summary,
        "url": who.uri,
        "inbox": who.inbox(),
        "outbox": format!("{}/outbox", who.uri),
        "followers": who.followers(),
        "following": format!("{}/following", who.uri),
        "manuallyApprovesFollowers": actor.spec.locked,
        "discoverable": true,
        "published": "2026-01-01T00:00:00Z",
        "publicKey": {
            "id": who.key_id(),
            "owner": who.uri,
            "publicKeyPem": public_pem,
        },
    });
    if actor.spec.shared_inbox || actor.is_instance() {
        document["endpoints"] = json!({ "sharedInbox": who.shared_inbox() });
    }
    with_context(document)
}

/// A WebFinger answer for `acct:user@host` or for the URL of an actor of this host.
pub(crate) fn webfinger(host: &Host, resource: &str) -> Option<Value> {
    let actor = if let Some(handle) = resource.strip_prefix("acct:") {
        let (username, domain) = handle.trim_start_matches('@').rsplit_once('@')?;
        if !domain.eq_ignore_ascii_case(&host.name) {
            return None;
        }
        let is_instance = username.eq_ignore_ascii_case(&host.name);
        if is_instance {
            host.instance.clone()
        } else {
            host.actor(username)?
        }
    } else {
        host.actor(resource.strip_prefix(&format!("http://{}/users/", host.name))?)?
    };
    let who = &actor.who;
    Some(json!({
        "subject": format!("acct:{}", who.handle()),
        "aliases": [who.uri],
        "links": [
            { "rel": "self", "type": "application/activity+json", "href": who.uri },
            { "rel": "http://webfinger.net/rel/profile-page", "type": "text/html", "href": who.uri },
        ],
    }))
}

pub(crate) fn nodeinfo_links(host: &Host) -> Value {
    let rel = "http://nodeinfo.diaspora.software/ns/schema/2.0";
    json!({ "links": [{ "rel": rel, "href": format!("http://{}/nodeinfo/2.0", host.name) }] })
}

pub(crate) fn nodeinfo(host: &Host) -> Value {
    json!({
        "version": "2.0",
        "software": { "name": "tidegate-loadtest", "version": env!("CARGO_PKG_VERSION") },
        "protocols": ["activitypub"],
        "services": { "inbound": [], "outbound": [] },
        "usage": { "users": { "total": host.actor_count() }, "localPosts": 0 },
        "openRegistrations": false,
        "metadata": {},
    })
}

pub(crate) fn note(note: &StoredNote) -> Value {
    with_context(note.object.clone())
}

/// The Create of a note; its addressing is the note's.
pub(crate) fn create(note: &Value) -> Value {
    with_context(json!({
        "id": format!("{}/activity", note["id"].as_str().unwrap_or_default()),
        "type": "Create",
        "actor": note["attributedTo"],
        "published": note["published"],
        "to": note["to"],
        "cc": note["cc"],
        "object": note,
    }))
}

pub(crate) fn tombstone(id: &str) -> Value {
    with_context(json!({ "id": id, "type": "Tombstone" }))
}

/// `followers`, `following` or `outbox` of an actor; a page of it when `page` is given.
pub(crate) fn collection(actor: &Actor, name: &str, page: Option<usize>) -> Value {
    let social = actor.social();
    let items: Vec<Value> = match name {
        "followers" => social.followers.keys().map(|uri| json!(uri)).collect(),
        "following" => social.following.keys().map(|uri| json!(uri)).collect(),
        _ => {
            let shown = social
                .notes
                .iter()
                .rev()
                .filter(|note| note.public && !note.deleted);
            shown.map(|note| create(&note.object)).collect()
        }
    };
    drop(social);
    let id = format!("{}/{name}", actor.who.uri);
    let Some(page) = page else {
        return with_context(json!({
            "id": id,
            "type": "OrderedCollection",
            "totalItems": items.len(),
            "first": format!("{id}?page=1"),
        }));
    };
    let start = page.saturating_sub(1).saturating_mul(PAGE).min(items.len());
    let end = (start + PAGE).min(items.len());
    let mut document = json!({
        "id": format!("{id}?page={page}"),
        "type": "OrderedCollectionPage",
        "partOf": id,
        "totalItems": items.len(),
        "orderedItems": items[start..end],
    });
    if end < items.len() {
        document["next"] = json!(format!("{id}?page={}", page + 1));
    }
    with_context(document)
}
