//! Accounts, follows, posts and documents to test with. Local rows have fixed ids, so that two
//! worlds can be compared.

use serde_json::{Value, json};
use tidegate_federation::PUBLIC;
use tidegate_model::{Lane, RemoteActor, Visibility};
use tidegate_store::accounts::{self, Account, NewLocalAccount};
use tidegate_store::activities::{self, Audience, Draft, OrderKey};
use tidegate_store::statuses::{self, NewLocalStatus, Status};
use tidegate_store::{blocks, follows};

use super::{World, us};

/// A key that reads as one; nobody verifies with it where it is used.
pub(crate) const PEM: &str = "-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK0ZqSPPSGkfRZ1Y7kzFYGs2XGDGvfUY
-----END PUBLIC KEY-----";

impl World {
    /// Somebody here.
    pub(crate) async fn local(&self, id: i64, username: &str) -> Account {
        let mut connection = self.deps.pool.acquire().await.expect("a connection");
        let new = NewLocalAccount {
            id,
            username,
            actor_type: "Person",
            public_key_pem: PEM,
            rsa_private: b"-",
            ed25519_private: b"-",
            ed25519_public: "z",
        };
        accounts::create_local(&mut connection, &us(), &new)
            .await
            .expect("a free name")
    }

    /// Somebody elsewhere, already known, with an inbox of their host's.
    pub(crate) async fn remote(&self, username: &str, host: &str) -> Account {
        self.store(&remote_actor(username, host)).await
    }

    /// Writes a remote actor down.
    pub(crate) async fn store(&self, actor: &RemoteActor) -> Account {
        let mut connection = self.deps.pool.acquire().await.expect("a connection");
        accounts::upsert_remote(&mut connection, actor)
            .await
            .expect("no conflict")
    }

    /// An accepted follow.
    pub(crate) async fn follow(&self, follower: &Account, target: &Account) {
        self.ask(follower, target, true).await;
    }

    /// A follow, granted or only asked for.
    pub(crate) async fn ask(&self, follower: &Account, target: &Account, accepted: bool) {
        let mut connection = self.deps.pool.acquire().await.expect("a connection");
        let uri = follow_uri(follower, target);
        follows::request(&mut connection, follower, target, &uri, accepted)
            .await
            .expect("follows");
    }

    /// A block.
    pub(crate) async fn block(&self, account: &Account, target: &Account) {
        let mut connection = self.deps.pool.acquire().await.expect("a connection");
        let uri = format!("{}#blocks/{}", account.uri, target.id);
        blocks::block(&mut connection, account.id, target.id, &uri)
            .await
            .expect("blocks");
    }

    /// A local post, without any message about it.
    pub(crate) async fn post(
        &self,
        id: i64,
        author: &Account,
        visibility: Visibility,
        mentions: &[i64],
    ) -> Status {
        let uri = us().status(&author.username, id);
        let mut connection = self.deps.pool.acquire().await.expect("a connection");
        let new = NewLocalStatus {
            id,
            uri: &uri,
            url: &uri,
            account_id: author.id,
            text: "hello",
            content: "<p>hello</p>",
            spoiler_text: "",
            visibility,
            sensitive: false,
            language: Some("en"),
            in_reply_to: None,
            app_id: None,
            mentions,
            tags: &[],
        };
        statuses::insert_local(&mut connection, &new)
            .await
            .expect("a new post")
    }

    /// An activity of a local post and its `Plan` message (through the outbox); its number.
    pub(crate) async fn enqueue(
        &self,
        kind: &'static str,
        status: &Status,
        audience: Audience,
    ) -> i64 {
        let mut transaction = self.deps.pool.begin().await.expect("a transaction");
        let draft = Draft {
            uri: format!("{}#{kind}", status.uri),
            kind,
            account_id: status.account_id,
            order: OrderKey::Status(status.id),
            lane: Lane::Bulk,
            body: b"{}".to_vec(),
            digest: "-".to_owned(),
            status_id: Some(status.id),
            audience,
        };
        let (outbox, queues) = (&self.deps.outbox, &self.deps.queues);
        let id = activities::enqueue(&mut transaction, outbox, queues, &draft)
            .await
            .expect("enqueued");
        transaction.commit().await.expect("commits");
        outbox.wake();
        id
    }

    /// A remote post as it stands in the database; `None` when it is not there.
    pub(crate) async fn status(&self, uri: &str) -> Option<Status> {
        statuses::by_uri(&self.deps.pool, uri).await.expect("reads")
    }
}

pub(crate) fn follow_uri(follower: &Account, target: &Account) -> String {
    format!("{}#follows/{}", follower.uri, target.username)
}

/// An actor as the parser would give it.
pub(crate) fn remote_actor(username: &str, host: &str) -> RemoteActor {
    let uri = format!("https://{host}/users/{username}");
    RemoteActor {
        url: format!("https://{host}/@{username}"),
        actor_type: "Person".to_owned(),
        username: username.to_owned(),
        domain: host.to_owned(),
        display_name: username.to_owned(),
        note: String::new(),
        inbox: format!("{uri}/inbox"),
        shared_inbox: Some(format!("https://{host}/inbox")),
        outbox: String::new(),
        followers: format!("{uri}/followers"),
        following: String::new(),
        key_id: format!("{uri}#main-key"),
        public_key_pem: PEM.to_owned(),
        avatar_url: String::new(),
        header_url: String::new(),
        fields: Vec::new(),
        locked: false,
        bot: false,
        discoverable: None,
        indexable: false,
        published: None,
        updated: None,
        uri,
    }
}

/// An actor document with this key.
pub(crate) fn actor_document(username: &str, host: &str, pem: &str) -> Value {
    let id = format!("https://{host}/users/{username}");
    json!({
        "@context": "https://www.w3.org/ns/activitystreams",
        "id": id,
        "type": "Person",
        "preferredUsername": username,
        "name": username,
        "inbox": format!("{id}/inbox"),
        "followers": format!("{id}/followers"),
        "endpoints": {"sharedInbox": format!("https://{host}/inbox")},
        "publicKey": {"id": format!("{id}#main-key"), "owner": id, "publicKeyPem": pem},
    })
}

/// A public note of an actor that mentions `mentioned`.
pub(crate) fn note(author: &str, name: &str, mentioned: &[&str]) -> Value {
    let tags: Vec<Value> = mentioned
        .iter()
        .map(|uri| json!({"type": "Mention", "href": uri, "name": "@somebody"}))
        .collect();
    let mut cc = vec![format!("{author}/followers")];
    cc.extend(mentioned.iter().map(|uri| (*uri).to_owned()));
    json!({
        "id": format!("{author}/notes/{name}"),
        "type": "Note",
        "attributedTo": author,
        "content": format!("<p>{name}</p>"),
        "published": "2026-01-01T00:00:00Z",
        "to": [PUBLIC],
        "cc": cc,
        "tag": tags,
    })
}

/// A Create of a note, addressed like it.
pub(crate) fn create(note: &Value) -> Value {
    let id = note["id"].as_str().expect("an id");
    json!({
        "id": format!("{id}/activity"),
        "type": "Create",
        "actor": note["attributedTo"],
        "to": note["to"],
        "cc": note["cc"],
        "object": note,
    })
}

/// An activity of `actor` about `object`.
pub(crate) fn act(kind: &str, id: &str, actor: &str, object: &Value) -> Value {
    json!({"id": id, "type": kind, "actor": actor, "object": object})
}

/// The public half of a key that reads as one, the same in every test of this process.
pub(crate) fn real_pem() -> String {
    static PEM: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        tidegate_federation::keys::generate()
            .expect("keys")
            .rsa_public_pem
    });
    PEM.clone()
}
