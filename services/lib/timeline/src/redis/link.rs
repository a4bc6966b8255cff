//! One connection and the run of Redis that it leads to.
//!
//! A connection never outlives the server process that it was made to, so that asking for the
//! run once per connection is enough; this is why the library's self-healing connection, which
//! hides its reconnects, is not used.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, TlsCertificates};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::RedisOptions;
use crate::TimelineError;

/// For TCP, TLS and the greeting.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// After a failed attempt, askers get its error at once for this long: an outage costs each
/// request nothing, and a Redis that came back is used within half a second.
const PAUSE: Duration = Duration::from_millis(500);

/// Server errors that pass by themselves.
const PASSING: [&str; 7] = [
    "LOADING",
    "BUSY",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "READONLY",
    "OOM",
];

/// A connection as used for one call; clones share the socket.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    /// Random per start of the server.
    pub(super) run: String,
    number: u64,
}

pub(super) struct Link {
    client: Client,
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    made: u64,
    failed: Option<(Instant, String)>,
}

impl Link {
    pub(super) fn new(options: &RedisOptions, limit: Duration) -> Result<Self, TimelineError> {
        let url = options.url.expose().as_str();
        let client = if url.starts_with("rediss://") {
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(options.authorities.clone().into_bytes()),
            };
            Client::build_with_tls(url, certificates)
        } else {
            Client::open(url)
        };
        // The error may quote the URL, which may hold a password: it is left out.
        let client = client.map_err(|_| {
            anyhow::anyhow!("the URL is not one of Redis; it looks like redis://host:6379/0")
        })?;
        Ok(Self {
            client,
            limit,
            state: Mutex::default(),
        })
    }

    /// Runs one call within the time limit. After a lost or silent connection the next call
    /// makes another.
    pub(super) async fn run<T>(
        &self,
        call: impl AsyncFnOnce(&mut Live) -> RedisResult<T>,
    ) -> Result<T, TimelineError> {
        let mut live = self.live().await?;
        match timeout(self.limit, call(&mut live)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if error.is_timeout() || error.is_connection_dropped() || error.is_io_error() {
                    self.discard(live.number).await;
                }
                Err(explain(error))
            }
            Err(_) => {
                self.discard(live.number).await;
                Err(TimelineError::Unavailable(format!(
                    "no answer within {:?}",
                    self.limit
                )))
            }
        }
    }

    /// The connection, made anew when it is down.
    pub(super) async fn live(&self) -> Result<Live, TimelineError> {
        let mut state = self.state.lock().await;
        if let Some(live) = &state.live {
            return Ok(live.clone());
        }
        if let Some((at, error)) = &state.failed
            && at.elapsed() < PAUSE
        {
            return Err(TimelineError::Unavailable(error.clone()));
        }
        state.made += 1;
        let number = state.made;
        let connected = timeout(CONNECT_LIMIT, self.connect(number)).await;
        let error = match connected {
            Ok(Ok(live)) => {
                state.failed = None;
                state.live = Some(live.clone());
                return Ok(live);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {CONNECT_LIMIT:?}"),
        };
        tracing::warn!(%error, "no connection to Redis");
        state.failed = Some((Instant::now(), error.clone()));
        Err(TimelineError::Unavailable(error))
    }

    async fn connect(&self, number: u64) -> RedisResult<Live> {
        // Explicit, because the library's default of half a second is too long for a reader
        // and too short for a pipeline.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(self.limit));
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await?;
        let run = info
            .lines()
            .find_map(|line| line.strip_prefix("run_id:"))
            .map(|run| run.trim().to_owned())
            .filter(|run| !run.is_empty())
            .ok_or_else(|| RedisError::from(std::io::Error::other("the server has no run id")))?;
        Ok(Live {
            connection,
            run,
            number,
        })
    }

    async fn discard(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state
            .live
            .as_ref()
            .is_some_and(|live| live.number == number)
        {
            state.live = None;
        }
    }
}

fn explain(error: RedisError) -> TimelineError {
    match error.code() {
        Some(code) if !PASSING.contains(&code) => TimelineError::Other(error.into()),
        _ => TimelineError::Unavailable(error.to_string()),
    }
}
