//! The settings as types, section by section. What each means is said in `default.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use tidegate_model::{Instance, Secret};
use url::Url;

use super::values::{HostMapping, Profile, RegistrationMode, Span};

/// Everything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) profile: Profile,
    pub(crate) data_dir: PathBuf,
    pub(crate) replicas: u32,
    pub(crate) instance: InstanceSection,
    pub(crate) http: Http,
    pub(crate) metrics: Metrics,
    pub(crate) database: Database,
    pub(crate) queue: Queue,
    pub(crate) timelines: Timelines,
    pub(crate) rpc: Rpc,
    pub(crate) secrets: Secrets,
    pub(crate) registrations: Registrations,
    pub(crate) mail: Mail,
    pub(crate) egress: Egress,
    pub(crate) federation: Federation,
    pub(crate) delivery: Delivery,
    pub(crate) log: Log,
    pub(crate) shutdown: Shutdown,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstanceSection {
    pub(crate) domain: String,
    pub(crate) base_url: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) contact_email: String,
    pub(crate) rules: Vec<String>,
}

impl InstanceSection {
    /// The public identity.
    pub(crate) fn identity(&self) -> anyhow::Result<Instance> {
        Ok(Instance::new(self.domain.clone(), &self.url()?))
    }

    /// The origin of all links.
    pub(crate) fn url(&self) -> anyhow::Result<Url> {
        Url::parse(&self.base_url)
            .map_err(|error| anyhow::anyhow!("instance.base_url `{}`: {error}", self.base_url))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
    pub(crate) trusted_proxies: Vec<IpNet>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    pub(crate) url: Secret<String>,
    pub(crate) url_file: PathBuf,
    pub(crate) max_connections: u32,
    pub(crate) acquire_timeout: Span,
}

impl Database {
    /// Whether the node brings its own PostgreSQL.
    pub(crate) fn is_embedded(&self) -> bool {
        self.url.expose() == "embedded"
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queue {
    pub(crate) url: Secret<String>,
    pub(crate) url_file: PathBuf,
    pub(crate) extra_ca_files: Vec<PathBuf>,
    pub(crate) prefix: String,
    pub(crate) shards: u32,
}

impl Queue {
    /// Whether messages live in a table of the database.
    pub(crate) fn is_table(&self) -> bool {
        self.url.expose() == "table"
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timelines {
    pub(crate) url: Secret<String>,
    pub(crate) url_file: PathBuf,
    pub(crate) extra_ca_files: Vec<PathBuf>,
    pub(crate) prefix: String,
    pub(crate) memory_accounts: u32,
}

impl Timelines {
    /// Whether home timelines live in this process.
    pub(crate) fn is_memory(&self) -> bool {
        self.url.expose() == "memory"
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rpc {
    pub(crate) listen: SocketAddr,
    pub(crate) token: Secret<String>,
    pub(crate) token_file: PathBuf,
    pub(crate) delivery: String,
    pub(crate) fanout: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secrets {
    pub(crate) key_encryption_key: Secret<String>,
    pub(crate) key_encryption_key_file: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registrations {
    pub(crate) mode: RegistrationMode,
    pub(crate) confirm_email: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mail {
    pub(crate) url: Secret<String>,
    pub(crate) url_file: PathBuf,
    pub(crate) from: String,
    pub(crate) extra_ca_files: Vec<PathBuf>,
}

impl Mail {
    /// Whether mails are files in the data folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.url.expose() == "folder"
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Egress {
    pub(crate) allow_networks: Vec<IpNet>,
    pub(crate) allow_plain_http: bool,
    pub(crate) host_map: Vec<HostMapping>,
    pub(crate) extra_ca_files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Federation {
    pub(crate) signature_window: Span,
}

impl Federation {
    /// The window in the type that times are compared in.
    pub(crate) fn window(&self) -> time::Duration {
        self.signature_window
            .0
            .try_into()
            .unwrap_or(time::Duration::MAX)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delivery {
    pub(crate) posts_in_flight: usize,
    pub(crate) hurry: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shutdown {
    pub(crate) drain: Span,
    pub(crate) grace: Span,
}

impl From<LogFormat> for tidegate_telemetry::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}
