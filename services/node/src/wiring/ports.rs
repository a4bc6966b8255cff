//! The ports are taken before anything else is started, so that a second node, or a stranger on
//! the port, is found out while nothing has happened yet.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::roles::Roles;

/// What the node listens on.
pub(crate) struct Ports {
    pub(super) metrics: TcpListener,
    /// Of the api role.
    pub(super) http: Option<TcpListener>,
    /// Of a node that other processes call.
    pub(super) rpc: Option<TcpListener>,
}

impl Ports {
    /// Takes the ports that these roles need.
    pub(crate) async fn take(config: &Config, roles: Roles) -> anyhow::Result<Self> {
        let serves_others = !roles.is_all() && (roles.fanout || roles.delivery);
        Ok(Self {
            metrics: bind("metrics.listen", config.metrics.listen).await?,
            http: bind_if(roles.api, "http.listen", config.http.listen).await?,
            rpc: bind_if(serves_others, "rpc.listen", config.rpc.listen).await?,
        })
    }
}

async fn bind_if(
    needed: bool,
    key: &str,
    address: SocketAddr,
) -> anyhow::Result<Option<TcpListener>> {
    if needed {
        return bind(key, address).await.map(Some);
    }
    Ok(None)
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "{key}: cannot listen on {address}; is another node running here, or another program \
             on that port? Choose a free one with --set {key}=address:port"
        )
    })?;
    // Port 0 lets the system choose; what it chose is told here.
    tracing::info!(key, address = %listener.local_addr()?, "listening");
    Ok(listener)
}
