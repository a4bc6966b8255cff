//! Fetches as other roles ask for them: once at a time per question, failures remembered for a
//! minute, so that a flood of questions about one address is one request to it.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sqlx::PgPool;
use tidegate_model::Instance;
use tokio::sync::OnceCell;
use url::Url;

use super::budget::Budget;
use super::fetch::{Document, Fetcher};
use super::{EgressError, HttpClient};
use crate::signer::Signer;

/// How long a failure is remembered: the caller that comes next gets the same answer at once.
const FAILURE_TIME: Duration = Duration::from_mins(1);

/// How many failures are remembered.
const KEPT_FAILURES: u64 = 10_000;

/// How long a success is shared with callers that come a moment later. Short: who asks again
/// after that wants to see a change.
const SHARED_TIME: Duration = Duration::from_secs(1);

/// Bytes of documents that are shared at once: a few large ones, thousands of ordinary ones.
const SHARED_BYTES: u64 = 32 * 1024 * 1024;

/// The longest question that is looked at: the bound of every URL we take in.
const MAX_QUESTION_BYTES: usize = 2_048;

/// One question with all its redirects and second documents. Callers have shorter deadlines of
/// their own; this one holds when they have none.
const QUESTION_TIME: Duration = Duration::from_secs(30);

/// An actor, and the handle that was proven for it when a handle was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The document.
    pub document: Document,
    /// `user@domain`; empty when no handle was asked for.
    pub handle: String,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Question {
    Handle(String),
    Object(String),
    Key(String),
}

impl Question {
    fn text(&self) -> &str {
        match self {
            Self::Handle(text) | Self::Object(text) | Self::Key(text) => text,
        }
    }
}

/// The way out for documents. Clones share everything.
#[derive(Clone)]
pub struct WayOut {
    fetcher: Arc<Fetcher>,
    shared: Cache<Question, Resolved>,
    failures: Cache<Question, EgressError>,
}

impl WayOut {
    /// Fetches through `client`, signed by the instance actor.
    pub fn new(client: HttpClient, signer: Signer, pool: PgPool, instance: Instance) -> Self {
        let budget = Budget::new(client.options().fetches_per_host_minute);
        let fetcher = Fetcher {
            client,
            budget,
            signer,
            instance,
            pool,
            actor: OnceCell::new(),
        };
        Self {
            fetcher: Arc::new(fetcher),
            shared: Cache::builder()
                .max_capacity(SHARED_BYTES)
                .weigher(|_, found: &Resolved| {
                    u32::try_from(found.document.body.len() + 1_024).unwrap_or(u32::MAX)
                })
                .time_to_live(SHARED_TIME)
                .build(),
            failures: Cache::builder()
                .max_capacity(KEPT_FAILURES)
                .time_to_live(FAILURE_TIME)
                .build(),
        }
    }

    /// The actor behind `user@domain`.
    pub async fn resolve_handle(&self, handle: &str) -> Result<Resolved, EgressError> {
        self.ask(Question::Handle(handle.to_owned())).await
    }

    /// The document with this id, or at this address of its own origin.
    pub async fn fetch_object(&self, url: &str) -> Result<Document, EgressError> {
        Ok(self.ask(Question::Object(url.to_owned())).await?.document)
    }

    /// The actor that owns this key.
    pub async fn fetch_key(&self, key_id: &str) -> Result<Document, EgressError> {
        Ok(self.ask(Question::Key(key_id.to_owned())).await?.document)
    }

    /// Whether a server answers a signed GET, with anything but its own fault.
    pub(crate) async fn greet(&self, url: Url) -> bool {
        const ANY: &str = "application/json, */*;q=0.1";
        match tokio::time::timeout(QUESTION_TIME, self.fetcher.follow(&url, ANY, true)).await {
            Ok(Ok(_)) => true,
            Ok(Err(EgressError::Status(status))) => status < 500,
            _ => false,
        }
    }

    async fn ask(&self, question: Question) -> Result<Resolved, EgressError> {
        if question.text().len() > MAX_QUESTION_BYTES {
            return Err(EgressError::BadUrl("too long"));
        }
        if let Some(error) = self.failures.get(&question).await {
            return Err(error);
        }
        let answer = async {
            tokio::time::timeout(QUESTION_TIME, self.answer(&question))
                .await
                .unwrap_or(Err(EgressError::Timeout))
        };
        // When a caller leaves, the next one that waits goes on with the question.
        match self.shared.try_get_with_by_ref(&question, answer).await {
            Ok(found) => Ok(found),
            Err(error) => {
                if error.is_worth_remembering() {
                    self.failures.insert(question, (*error).clone()).await;
                }
                Err((*error).clone())
            }
        }
    }

    async fn answer(&self, question: &Question) -> Result<Resolved, EgressError> {
        let plain = |document| Resolved {
            document,
            handle: String::new(),
        };
        match question {
            Question::Handle(handle) => {
                let (document, handle) = self.fetcher.resolve(handle).await?;
                Ok(Resolved { document, handle })
            }
            Question::Object(url) => {
                let url = Url::parse(url).map_err(|_| EgressError::BadUrl("not a URL"))?;
                self.fetcher.document(&url).await.map(plain)
            }
            Question::Key(key_id) => self.fetcher.owner_of(key_id).await.map(plain),
        }
    }
}
