//! A running api with people in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tidegate_model::{Clock, Instance, Queues, RemoteActor};
use tidegate_queue::TableQueue;
use tidegate_store::accounts::{self, Account, NewLocalAccount};
use tidegate_store::{KeyVault, OutboxHandle};
use tidegate_testkit::{Postgres, TestDatabase};
use tidegate_timeline::{MemoryTimelines, Timelines};
use tower::ServiceExt;
use url::Url;

use super::delivery::Others;
use crate::auth::{hash_token, random_token};
use crate::{ApiDeps, ApiOptions};

/// Everything that a client asks for.
pub(super) const ALL_SCOPES: &str = "read write follow push profile";

pub(super) struct World {
    pub(super) db: TestDatabase,
    pub(super) others: Others,
    pub(super) timelines: Arc<MemoryTimelines>,
    pub(super) instance: Instance,
    router: Router,
    app_id: i64,
}

/// A local person with a token.
pub(super) struct Person {
    pub(super) account: Account,
    pub(super) token: String,
}

impl Person {
    pub(super) fn id(&self) -> i64 {
        self.account.id
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    /// The body of an answer that must be 200.
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }

    /// The ids of a list that must be 200.
    pub(super) fn ids(self) -> Vec<i64> {
        self.ok()
            .as_array()
            .expect("a list")
            .iter()
            .map(id_of)
            .collect()
    }

    /// The address of a link in the header, as path and query.
    pub(super) fn link(&self, rel: &str) -> Option<String> {
        let header = self.headers.get(header::LINK)?.to_str().expect("text");
        let part = header
            .split(", ")
            .find(|part| part.ends_with(&format!("rel=\"{rel}\"")))?;
        let url = part.strip_prefix('<')?.split('>').next()?;
        let url = Url::parse(url).expect("an absolute URL");
        Some(format!(
            "{}?{}",
            url.path(),
            url.query().unwrap_or_default()
        ))
    }
}

/// The number in an entity's `id`.
pub(super) fn id_of(entity: &Value) -> i64 {
    entity["id"]
        .as_str()
        .expect("an id is text")
        .parse()
        .expect("an id is a number")
}

impl World {
    pub(super) async fn new() -> Self {
        let postgres = Postgres::shared().await;
        let db = postgres.fresh_database().await;
        let others = Others::default();
        let ways = others.start().await;
        let timelines = Arc::new(MemoryTimelines::new(1_000, Clock::system()));
        let instance = Instance::new(
            "here.test",
            &Url::parse("https://here.test").expect("a URL"),
        );
        let deps = ApiDeps {
            pool: db.pool.clone(),
            queue: Arc::new(TableQueue::new(db.pool.clone())),
            queues: Queues::new("test", 4),
            timelines: Arc::clone(&timelines) as Arc<dyn Timelines>,
            outbox: OutboxHandle::default(),
            vault: KeyVault::new(b"only for tests, thirty-two bytes"),
            egress: ways.egress,
            hosts: ways.hosts,
            deliveries: ways.deliveries,
            rebuilds: ways.rebuilds,
            instance: instance.clone(),
            clock: Clock::system(),
        };
        let app_id = sqlx::query_scalar(
            "insert into apps (name, website, redirect_uris, scopes, client_id, client_secret_hash)
             values ('Tester', 'https://tester.test', '{}', '{}', 'tester', ''::bytea)
             returning id",
        )
        .fetch_one(&db.pool)
        .await
        .expect("an app");
        Self {
            router: crate::router(deps, ApiOptions::default()),
            db,
            others,
            timelines,
            instance,
            app_id,
        }
    }

    /// A confirmed person with a token for everything.
    pub(super) async fn person(&self, name: &str) -> Person {
        let mut connection = self.db.pool.acquire().await.expect("a connection");
        let id = accounts::next_id(&mut *connection).await.expect("an id");
        let account = accounts::create_local(
            &mut connection,
            &self.instance,
            &NewLocalAccount {
                id,
                username: name,
                actor_type: "Person",
                public_key_pem: "PEM",
                rsa_private: b"",
                ed25519_private: b"",
                ed25519_public: "z6Mk",
            },
        )
        .await
        .expect("an account");
        sqlx::query(
            "insert into users (account_id, email, password_hash, confirmed_at)
             values ($1, $2 || '@mail.test', '', now())",
        )
        .bind(id)
        .bind(name)
        .execute(&mut *connection)
        .await
        .expect("a user");
        let token = self.token(Some(id), ALL_SCOPES).await;
        Person { account, token }
    }

    /// Another token, of a person or of the app alone.
    pub(super) async fn token(&self, account_id: Option<i64>, scopes: &str) -> String {
        let token = random_token();
        let scopes: Vec<&str> = scopes.split(' ').collect();
        sqlx::query(
            "insert into tokens (token_hash, app_id, user_id, scopes)
             values ($1, $2, (select id from users where account_id = $3), $4)",
        )
        .bind(&hash_token(&token)[..])
        .bind(self.app_id)
        .bind(account_id)
        .bind(&scopes)
        .execute(&self.db.pool)
        .await
        .expect("a token");
        token
    }

    /// A remote account that is known here.
    pub(super) async fn stranger(&self, name: &str) -> Account {
        let mut connection = self.db.pool.acquire().await.expect("a connection");
        accounts::upsert_remote(&mut connection, &remote_actor(name))
            .await
            .expect("a remote account")
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("the router answers");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).expect("a request")).await
    }

    pub(super) async fn get(&self, who: &Person, path: &str) -> Answer {
        self.call(Method::GET, path, Some(&who.token), None).await
    }

    /// As nobody.
    pub(super) async fn look(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await
    }

    pub(super) async fn post(&self, who: &Person, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(&who.token), Some(&body))
            .await
    }

    /// Posts a status and returns it.
    pub(super) async fn write(&self, who: &Person, text: &str, visibility: &str) -> Value {
        let body = json!({ "status": text, "visibility": visibility });
        self.post(who, "/api/v1/statuses", body).await.ok()
    }

    pub(super) async fn follow(&self, who: &Person, target: i64) -> Value {
        self.post(who, &format!("/api/v1/accounts/{target}/follow"), json!({}))
            .await
            .ok()
    }

    /// The activities that were written down: kind, lane and body.
    pub(super) async fn activities(&self) -> Vec<(String, String, Value)> {
        let rows: Vec<(String, String, Vec<u8>)> =
            sqlx::query_as("select kind, lane, body from activities order by id")
                .fetch_all(&self.db.pool)
                .await
                .expect("activities");
        rows.into_iter()
            .map(|(kind, lane, body)| {
                let body = serde_json::from_slice(&body).expect("JSON");
                (kind, lane, body)
            })
            .collect()
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.db.pool)
            .await
            .expect("a count")
    }
}

/// An actor of far.test.
pub(super) fn remote_actor(name: &str) -> RemoteActor {
    static NUMBER: AtomicI64 = AtomicI64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let uri = format!("https://far.test/users/{name}");
    RemoteActor {
        url: format!("https://far.test/@{name}"),
        actor_type: "Person".to_owned(),
        username: name.to_owned(),
        domain: "far.test".to_owned(),
        display_name: format!("{name} {number}"),
        note: "<p>far away</p>".to_owned(),
        inbox: format!("{uri}/inbox"),
        shared_inbox: Some("https://far.test/inbox".to_owned()),
        outbox: String::new(),
        followers: format!("{uri}/followers"),
        following: String::new(),
        key_id: format!("{uri}#main-key"),
        public_key_pem: "PEM".to_owned(),
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

/// The same as its server publishes it.
pub(super) fn actor_document(name: &str) -> Value {
    let uri = format!("https://far.test/users/{name}");
    json!({
        "@context": ["https://www.w3.org/ns/activitystreams", "https://w3id.org/security/v1"],
        "id": uri,
        "type": "Person",
        "preferredUsername": name,
        "name": name,
        "inbox": format!("{uri}/inbox"),
        "followers": format!("{uri}/followers"),
        "endpoints": { "sharedInbox": "https://far.test/inbox" },
        "publicKey": {
            "id": format!("{uri}#main-key"),
            "owner": uri,
            "publicKeyPem": include_str!("key.pem"),
        },
    })
}
