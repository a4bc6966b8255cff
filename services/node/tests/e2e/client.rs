//! A small Mastodon client: what the tests do as a person with an app.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// An app with a signed-in user.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    /// The user's account id.
    pub(crate) account_id: String,
    /// The user's name.
    pub(crate) username: String,
}

impl Client {
    /// Signs up a new user through the API, as an app does. The instance must be open and ask
    /// for no confirmation.
    pub(crate) async fn sign_up(base: &str, username: &str) -> anyhow::Result<Self> {
        let mut client = Self::register(base, username).await?;
        client.arrive().await?;
        Ok(client)
    }

    /// Asks for an account; where addresses are confirmed nothing works before that.
    pub(crate) async fn register(base: &str, username: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()?;
        let app: Value = http
            .post(format!("{base}/api/v1/apps"))
            .json(&json!({
                "client_name": "end to end",
                "redirect_uris": "urn:ietf:wg:oauth:2.0:oob",
                "scopes": "read write follow push",
            }))
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let app_token: Value = http
            .post(format!("{base}/oauth/token"))
            .form(&[
                ("grant_type", "client_credentials"),
                ("client_id", text(&app, "client_id")?),
                ("client_secret", text(&app, "client_secret")?),
                ("scope", "read write"),
            ])
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let response = http
            .post(format!("{base}/api/v1/accounts"))
            .bearer_auth(text(&app_token, "access_token")?)
            .json(&json!({
                "username": username,
                "email": format!("{username}@example.com"),
                "password": "correct horse battery",
                "agreement": true,
                "locale": "en",
            }))
            .send()
            .await?;
        let status = response.status();
        let token: Value = response.json().await?;
        if !status.is_success() {
            bail!("signing up answered {status}: {token}");
        }
        Ok(Self {
            http,
            base: base.to_owned(),
            token: text(&token, "access_token")?.to_owned(),
            account_id: String::new(),
            username: username.to_owned(),
        })
    }

    /// The first thing that an app asks: who it is for.
    pub(crate) async fn arrive(&mut self) -> anyhow::Result<()> {
        let me = self.get("/api/v1/accounts/verify_credentials").await?;
        text(&me, "id")?.clone_into(&mut self.account_id);
        Ok(())
    }

    /// One call; the status and the body, whatever they are.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        let value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{path} answered {status} without JSON"))?;
        Ok((status, value))
    }

    /// A GET that must succeed.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        succeed(path, self.call(Method::GET, path, None, &[]).await?)
    }

    /// A POST that must succeed.
    pub(crate) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        succeed(path, self.call(Method::POST, path, Some(body), &[]).await?)
    }

    /// Posts a status and returns it.
    pub(crate) async fn say(&self, text: &str, visibility: &str) -> anyhow::Result<Value> {
        self.post(
            "/api/v1/statuses",
            json!({"status": text, "visibility": visibility}),
        )
        .await
    }

    /// Posts until it is acknowledged: the same Idempotency-Key through every failure, as a
    /// good app does. Returns the status id, or `None` when `patience` ran out.
    pub(crate) async fn say_until_acknowledged(
        &self,
        text: &str,
        key: &str,
        patience: Duration,
    ) -> Option<String> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let answer = self
                .call(
                    Method::POST,
                    "/api/v1/statuses",
                    Some(json!({"status": text, "visibility": "public"})),
                    &[("Idempotency-Key", key)],
                )
                .await;
            if let Ok((status, body)) = answer
                && status.is_success()
            {
                return body["id"].as_str().map(str::to_owned);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        None
    }

    /// Finds an account on another server by its handle.
    pub(crate) async fn find(&self, handle: &str) -> anyhow::Result<Value> {
        let found = self
            .get(&format!(
                "/api/v2/search?type=accounts&resolve=true&q={handle}"
            ))
            .await?;
        found["accounts"]
            .get(0)
            .cloned()
            .with_context(|| format!("{handle} was not found"))
    }

    /// Finds an account by its handle, follows it, and waits until the follow is accepted.
    pub(crate) async fn follow(&self, handle: &str) -> anyhow::Result<String> {
        let account = self.find(handle).await?;
        let id = text(&account, "id")?.to_owned();
        self.post(&format!("/api/v1/accounts/{id}/follow"), json!({}))
            .await?;
        eventually("the follow to be accepted", async || {
            let relation = self
                .get(&format!("/api/v1/accounts/relationships?id[]={id}"))
                .await?;
            Ok(relation[0]["following"] == true)
        })
        .await?;
        Ok(id)
    }

    /// The ids on the first page of home.
    pub(crate) async fn home(&self) -> anyhow::Result<Vec<Value>> {
        let page = self.get("/api/v1/timelines/home?limit=40").await?;
        Ok(page.as_array().cloned().unwrap_or_default())
    }
}

fn succeed(path: &str, (status, body): (StatusCode, Value)) -> anyhow::Result<Value> {
    if status.is_success() {
        Ok(body)
    } else {
        bail!("{path} answered {status}: {body}")
    }
}

/// A text field of an answer.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    value[field]
        .as_str()
        .with_context(|| format!("no {field} in {value}"))
}

/// Waits until `check` holds. The limit says that something hangs, not how fast it should be.
pub(crate) async fn eventually(
    what: &str,
    mut check: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    const LIMIT: Duration = Duration::from_mins(1);
    let deadline = Instant::now() + LIMIT;
    loop {
        let last = check().await;
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            match last {
                Ok(_) => bail!("not within {LIMIT:?}: {what}"),
                Err(error) => return Err(error.context(format!("not within {LIMIT:?}: {what}"))),
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
