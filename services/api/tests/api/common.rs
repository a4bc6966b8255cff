//! One api process in a test: private database, table queue, timelines in process, and a
//! delivery role that nobody may call.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tidegate_api::{ApiDeps, ApiOptions};
use tidegate_model::{Clock, Instance, Queues, Secret};
use tidegate_proto::{
    RpcAuth,
    delivery::v1::{
        deliveries_client::DeliveriesClient, egress_client::EgressClient, hosts_client::HostsClient,
    },
    fanout::v1::timelines_client::TimelinesClient,
};
use tidegate_queue::{Queue, TableQueue};
use tidegate_store::{KeyVault, OutboxHandle};
use tidegate_testkit::{Postgres, TestDatabase};
use tidegate_timeline::MemoryTimelines;
use tokio::net::TcpListener;
use tonic::transport::Endpoint;
use tower::ServiceExt;
use url::Url;

pub struct Server {
    pub router: Router,
    pub deps: ApiDeps,
    pub options: ApiOptions,
    /// Where the delivery role would be: a connection here is a remote fetch.
    pub egress: TcpListener,
    _database: TestDatabase,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {} {}", self.status, self.text());
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().expect("text")
    }
}

pub fn quick() -> ApiOptions {
    ApiOptions {
        confirm_email: false,
        ..ApiOptions::default()
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(quick()).await
    }

    pub async fn with(options: ApiOptions) -> Self {
        let database = Postgres::shared().await.fresh_database().await;
        let queue: Arc<dyn Queue> = Arc::new(TableQueue::new(database.pool.clone()));
        Self::on(options, database, queue).await
    }

    pub async fn on(options: ApiOptions, database: TestDatabase, queue: Arc<dyn Queue>) -> Self {
        let egress = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = egress.local_addr().expect("bound");
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .expect("an address")
            .connect_lazy();
        let auth = RpcAuth::new("token").expect("printable");
        let deps = ApiDeps {
            pool: database.pool.clone(),
            queue,
            queues: Queues::new("t", 4),
            timelines: Arc::new(MemoryTimelines::new(100, Clock::system())),
            outbox: OutboxHandle::default(),
            vault: KeyVault::new(b"thirty-two bytes of test secret!"),
            egress: EgressClient::with_interceptor(channel.clone(), auth.clone()),
            hosts: HostsClient::with_interceptor(channel.clone(), auth.clone()),
            deliveries: DeliveriesClient::with_interceptor(channel.clone(), auth.clone()),
            rebuilds: TimelinesClient::with_interceptor(channel, auth),
            instance: Instance::new("us.test", &Url::parse("https://us.test").expect("a URL")),
            clock: Clock::system(),
        };
        Self {
            router: tidegate_api::router(deps.clone(), options.clone()),
            deps,
            options,
            egress,
            _database: database,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("infallible");
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.expect("a body").to_bytes().to_vec(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("a request"))
            .await
    }

    pub async fn get_as(&self, path: &str, token: &str) -> Answer {
        self.call("GET", path, Some(token), None).await
    }

    /// A JSON request.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
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

    /// A url-encoded form.
    pub async fn form(&self, path: &str, token: Option<&str>, pairs: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let mut request =
            Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body)).expect("a request"))
            .await
    }

    /// A multipart form.
    pub async fn multipart(
        &self,
        path: &str,
        token: Option<&str>,
        pairs: &[(&str, &str)],
    ) -> Answer {
        let mut body = String::new();
        for (name, value) in pairs {
            body.push_str("--xyz\r\nContent-Disposition: form-data; name=\"");
            body.push_str(name);
            body.push_str("\"\r\n\r\n");
            body.push_str(value);
            body.push_str("\r\n");
        }
        body.push_str("--xyz--\r\n");
        let mut request =
            Request::post(path).header(header::CONTENT_TYPE, "multipart/form-data; boundary=xyz");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body)).expect("a request"))
            .await
    }

    /// An app with these scopes: its credentials and a token of its own.
    pub async fn app(&self, scopes: &str) -> App {
        let app = self
            .call(
                "POST",
                "/api/v1/apps",
                None,
                Some(serde_json::json!({
                    "client_name": "test app",
                    "redirect_uris": ["https://app.test/cb", "urn:ietf:wg:oauth:2.0:oob"],
                    "scopes": scopes,
                })),
            )
            .await
            .json();
        let text = |name: &str| app[name].as_str().expect("text").to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));
        let token = self
            .form(
                "/oauth/token",
                None,
                &[
                    ("grant_type", "client_credentials"),
                    ("client_id", &id),
                    ("client_secret", &secret),
                    ("scope", scopes),
                ],
            )
            .await
            .json();
        App {
            token: token["access_token"].as_str().expect("a token").to_owned(),
            id,
            secret,
        }
    }

    /// A person's token, by signing up through an app.
    pub async fn user(&self, app: &App, name: &str) -> String {
        let answer = self
            .call(
                "POST",
                "/api/v1/accounts",
                Some(&app.token),
                Some(newcomer(name)),
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// Rows of every table and a sum over what is in them, so that a test sees every trace, also
    /// of a row that only changed.
    pub async fn dump(&self) -> Vec<(String, (i64, i64))> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class
             where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace order by 1",
        )
        .fetch_all(&self.deps.pool)
        .await
        .expect("tables");
        let mut counts = Vec::new();
        for table in tables {
            let statement = format!(
                "select count(*), coalesce(sum(hashtext(t::text)::bigint), 0)::bigint
                 from {table} t"
            );
            let found = sqlx::query_as(sqlx::AssertSqlSafe(statement))
                .fetch_one(&self.deps.pool)
                .await
                .expect("a count");
            counts.push((table, found));
        }
        counts
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> i64 {
        self.dump()
            .await
            .into_iter()
            .find(|(name, _)| name == table)
            .expect("a table")
            .1
            .0
    }

    /// Whether anybody tried to reach a remote server.
    pub async fn fetched(&self) -> bool {
        tokio::time::timeout(std::time::Duration::from_millis(50), self.egress.accept())
            .await
            .is_ok()
    }

    /// The link in the last mail.
    pub async fn mailed_link(&self) -> String {
        let mail: String = sqlx::query_scalar(
            "select payload ->> 'text' from outbox where payload ->> 'type' = 'mail'
             order by id desc limit 1",
        )
        .fetch_one(&self.deps.pool)
        .await
        .expect("a mail");
        let start = mail.find("https://us.test/").expect("a link") + "https://us.test".len();
        mail[start..].lines().next().expect("a line").to_owned()
    }
}

pub struct App {
    pub id: String,
    pub secret: String,
    pub token: String,
}

pub fn newcomer(name: &str) -> Value {
    serde_json::json!({
        "username": name,
        "email": format!("{name}@mail.test"),
        "password": "correct horse",
        "agreement": true,
        "locale": "en",
    })
}

/// An account of the operator's making.
pub async fn member(server: &Server, name: &str) -> tidegate_store::accounts::Account {
    tidegate_api::accounts_admin::create(
        &server.deps,
        &server.options,
        tidegate_api::accounts_admin::AdminAccount {
            username: name.to_owned(),
            email: format!("{name}@mail.test"),
            password: Secret::new("correct horse".to_owned()),
            role: "user".to_owned(),
            confirmed: true,
        },
    )
    .await
    .expect("an account")
}
