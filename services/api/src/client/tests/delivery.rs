//! The other two roles as far as the api asks them: remote objects from a map, and a count of
//! the rebuilds asked for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_proto::delivery::v1::deliveries_client::DeliveriesClient;
use tidegate_proto::delivery::v1::deliveries_server::DeliveriesServer;
use tidegate_proto::delivery::v1::egress_client::EgressClient;
use tidegate_proto::delivery::v1::egress_server::{Egress, EgressServer};
use tidegate_proto::delivery::v1::hosts_client::HostsClient;
use tidegate_proto::delivery::v1::hosts_server::HostsServer;
use tidegate_proto::delivery::v1::{
    FetchKeyRequest, FetchKeyResponse, FetchObjectRequest, FetchObjectResponse, FetchedObject,
    ResolveHandleRequest, ResolveHandleResponse,
};
use tidegate_proto::fanout::v1::timelines_client::TimelinesClient;
use tidegate_proto::fanout::v1::timelines_server::{Timelines, TimelinesServer};
use tidegate_proto::fanout::v1::{RebuildRequest, RebuildResponse};
use tidegate_proto::{Rpc, RpcAuth};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};

use super::operators::Operators;

/// The clients of both roles.
pub(super) struct Ways {
    pub(super) egress: EgressClient<Rpc>,
    pub(super) hosts: HostsClient<Rpc>,
    pub(super) deliveries: DeliveriesClient<Rpc>,
    pub(super) rebuilds: TimelinesClient<Rpc>,
}

/// What the fediverse holds.
#[derive(Clone, Default)]
pub(super) struct Others {
    objects: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    handles: Arc<Mutex<HashMap<String, String>>>,
    /// Calls that reached the delivery role.
    pub(super) fetches: Arc<AtomicUsize>,
    /// Calls for a rebuild.
    pub(super) rebuilds: Arc<AtomicUsize>,
    /// What operators asked for.
    pub(super) operators: Operators,
    /// How long every fetch takes.
    pub(super) delay: Arc<Mutex<Duration>>,
}

impl Others {
    pub(super) fn serve(&self, url: &str, document: &serde_json::Value) {
        self.objects
            .lock()
            .expect("not poisoned")
            .insert(url.to_owned(), document.to_string().into_bytes());
    }

    pub(super) fn name(&self, handle: &str, url: &str) {
        self.handles
            .lock()
            .expect("not poisoned")
            .insert(handle.to_owned(), url.to_owned());
    }

    async fn object(&self, url: &str) -> Result<FetchedObject, Status> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let delay = *self.delay.lock().expect("not poisoned");
        tokio::time::sleep(delay).await;
        let body = self
            .objects
            .lock()
            .expect("not poisoned")
            .get(url)
            .cloned()
            .ok_or_else(|| Status::not_found("nothing there"))?;
        Ok(FetchedObject {
            final_url: url.to_owned(),
            body,
        })
    }

    /// Serves both roles on a port of its own until the test ends.
    pub(super) async fn start(&self) -> Ways {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = Server::builder()
            .add_service(EgressServer::new(self.clone()))
            .add_service(HostsServer::new(self.operators.clone()))
            .add_service(DeliveriesServer::new(self.operators.clone()))
            .add_service(TimelinesServer::new(self.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(server);
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .expect("an address")
            .connect_lazy();
        let auth = RpcAuth::new("token").expect("printable");
        Ways {
            egress: EgressClient::with_interceptor(channel.clone(), auth.clone()),
            hosts: HostsClient::with_interceptor(channel.clone(), auth.clone()),
            deliveries: DeliveriesClient::with_interceptor(channel.clone(), auth.clone()),
            rebuilds: TimelinesClient::with_interceptor(channel, auth),
        }
    }
}

#[tonic::async_trait]
impl Egress for Others {
    async fn resolve_handle(
        &self,
        request: Request<ResolveHandleRequest>,
    ) -> Result<Response<ResolveHandleResponse>, Status> {
        let handle = request.into_inner().handle;
        let url = self
            .handles
            .lock()
            .expect("not poisoned")
            .get(&handle)
            .cloned();
        let url = url.ok_or_else(|| Status::not_found("nobody"))?;
        let actor = Some(self.object(&url).await?);
        Ok(Response::new(ResolveHandleResponse { actor, handle }))
    }

    async fn fetch_object(
        &self,
        request: Request<FetchObjectRequest>,
    ) -> Result<Response<FetchObjectResponse>, Status> {
        let object = Some(self.object(&request.into_inner().url).await?);
        Ok(Response::new(FetchObjectResponse { object }))
    }

    async fn fetch_key(
        &self,
        _: Request<FetchKeyRequest>,
    ) -> Result<Response<FetchKeyResponse>, Status> {
        Err(Status::unimplemented("the client API fetches no keys"))
    }
}

#[tonic::async_trait]
impl Timelines for Others {
    async fn rebuild(
        &self,
        _: Request<RebuildRequest>,
    ) -> Result<Response<RebuildResponse>, Status> {
        self.rebuilds.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(RebuildResponse { state: 1 }))
    }
}
