//! One connection that is made anew whenever it is lost.
//!
//! There is no background task: whoever needs the connection asks for it, and whoever finds it
//! down makes it, the others waiting. Between failed attempts there is a pause, during which
//! askers get the last error at once, so that an outage costs neither threads nor a storm.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::runtime::default_runtime;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::RabbitOptions;
use super::fault::{Doing, explain};
use crate::QueueError;
use crate::metrics::{BLOCKED, RECONNECTS};

/// A peer that is silent for two of these is dead: a lost broker is noticed within 20 s, where
/// TCP alone takes minutes (design section 6).
const HEARTBEAT_SECONDS: u16 = 10;

/// For TCP, TLS and the AMQP greeting together.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The pause after the first failed attempt; doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(250);

/// Short enough that a broker that came back is used at once, as people see it.
const MAX_PAUSE: Duration = Duration::from_secs(4);

pub(super) struct Link {
    uri: AMQPUri,
    /// In PEM; looked at when the URL asks for TLS.
    authorities: String,
    name: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    failures: u32,
    pause: Option<(Instant, LastError)>,
    was_connected: bool,
}

#[derive(Clone)]
struct LastError {
    refused: bool,
    text: String,
}

impl LastError {
    fn again(&self) -> QueueError {
        if self.refused {
            QueueError::Refused(self.text.clone())
        } else {
            QueueError::Unavailable(self.text.clone())
        }
    }
}

impl Link {
    pub(super) fn new(options: &RabbitOptions, name: &'static str) -> Result<Self, QueueError> {
        // The error may quote the URL, which may hold a password: it is left out.
        let mut uri: AMQPUri = options.url.expose().parse().map_err(|_| {
            QueueError::Refused(
                "the queue's URL is not one of RabbitMQ; it looks like \
                 amqp://user:password@host:5672/vhost"
                    .to_owned(),
            )
        })?;
        uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
        uri.query.connection_timeout = Some(CONNECT_LIMIT.as_millis() as u64 / 2);
        Ok(Self {
            uri,
            authorities: options.authorities.clone(),
            name,
            state: Mutex::default(),
        })
    }

    /// The connection, made anew when it is down. Bounded by [`CONNECT_LIMIT`] times the number
    /// of callers that find it down at once; all but the first get the answer of the first.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, QueueError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            if connection.status().connected() {
                return Ok(Arc::clone(connection));
            }
            state.connection = None;
        }
        if let Some((until, error)) = &state.pause
            && Instant::now() < *until
        {
            return Err(error.again());
        }
        match self.connect().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                if std::mem::replace(&mut state.was_connected, true) {
                    RECONNECTS.inc();
                }
                state.failures = 0;
                state.pause = None;
                state.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                let pause = MIN_PAUSE.saturating_mul(1 << state.failures.min(8));
                let last = LastError {
                    refused: matches!(error, QueueError::Refused(_)),
                    text: match &error {
                        QueueError::Unavailable(text) | QueueError::Refused(text) => text.clone(),
                        QueueError::Other(error) => error.to_string(),
                    },
                };
                if state.failures == 0 {
                    tracing::warn!(connection = self.name, error = %last.text, "no connection to RabbitMQ");
                }
                state.failures += 1;
                state.pause = Some((Instant::now() + pause.min(MAX_PAUSE), last));
                Err(error)
            }
        }
    }

    /// Gives up a connection that does not do what it should; the next asker makes another.
    pub(super) async fn discard(&self, connection: &Arc<Connection>) {
        let mut state = self.state.lock().await;
        if let Some(current) = &state.connection
            && Arc::ptr_eq(current, connection)
        {
            state.connection = None;
        }
    }

    async fn connect(&self) -> Result<Connection, QueueError> {
        let properties = ConnectionProperties::default().with_connection_name(self.name.into());
        let tls = OwnedTLSConfig {
            identity: None,
            cert_chain: Some(self.authorities.clone()),
        };
        let runtime = default_runtime().map_err(|error| QueueError::Other(error.into()))?;
        let connecting =
            Connection::connect_uri_with_config(self.uri.clone(), properties, tls, runtime);
        let connection = match timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                let doing = Doing::Connecting {
                    user: &self.uri.authority.userinfo.username,
                    vhost: &self.uri.vhost,
                };
                return Err(explain(&error, doing));
            }
            Err(_) => {
                return Err(QueueError::Unavailable(format!(
                    "RabbitMQ did not answer within {CONNECT_LIMIT:?}"
                )));
            }
        };
        tracing::info!(connection = self.name, "connected to RabbitMQ");
        tokio::spawn(watch(self.name, connection.events_listener()));
        Ok(connection)
    }
}

/// Shows alarms of the broker; ends with the connection.
async fn watch(name: &'static str, events: impl futures::Stream<Item = Event>) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Event::ConnectionBlocked(reason) => {
                BLOCKED.set(1);
                tracing::warn!(connection = name, %reason, "RabbitMQ blocks publishing");
            }
            Event::ConnectionUnblocked => {
                BLOCKED.set(0);
                tracing::info!(connection = name, "RabbitMQ takes messages again");
            }
            Event::Error(error) => {
                BLOCKED.set(0);
                tracing::warn!(connection = name, %error, "connection to RabbitMQ lost");
                return;
            }
            _ => {}
        }
    }
}
