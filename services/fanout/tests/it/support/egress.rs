//! A scripted delivery role: serves documents from a map, counts what it is asked.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tidegate_proto::delivery::v1::egress_client::EgressClient;
use tidegate_proto::delivery::v1::egress_server::{Egress, EgressServer};
use tidegate_proto::delivery::v1::{
    FetchKeyRequest, FetchKeyResponse, FetchObjectRequest, FetchObjectResponse, FetchedObject,
    ResolveHandleRequest, ResolveHandleResponse,
};
use tidegate_proto::{EGRESS_CLASS, Rpc, RpcAuth};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};

/// What is out there, and what was asked for. Clones are one.
#[derive(Clone)]
pub(crate) struct FakeEgress {
    state: Arc<Mutex<State>>,
    address: String,
}

#[derive(Default)]
struct State {
    documents: HashMap<String, Value>,
    away: bool,
    asked: Vec<String>,
}

impl FakeEgress {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let fake = Self {
            state: Arc::default(),
            address,
        };
        let server = EgressServer::with_interceptor(fake.clone(), auth().required());
        tokio::spawn(
            Server::builder()
                .add_service(server)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        fake
    }

    pub(crate) async fn client(&self) -> EgressClient<Rpc> {
        let channel = Endpoint::from_shared(self.address.clone())
            .expect("an address")
            .connect()
            .await
            .expect("it listens");
        EgressClient::with_interceptor(channel, auth())
    }

    /// Puts a document where its id says.
    pub(crate) fn serve(&self, document: &Value) {
        let id = document["id"].as_str().expect("an id").to_owned();
        self.serve_at(&id, document);
    }

    /// Puts a document anywhere, for example under a key's id.
    pub(crate) fn serve_at(&self, url: &str, document: &Value) {
        let mut state = self.state.lock().expect("not poisoned");
        state.documents.insert(url.to_owned(), document.clone());
    }

    /// Answers 410 at `url` from now on.
    pub(crate) fn end(&self, url: &str) {
        let mut state = self.state.lock().expect("not poisoned");
        state.documents.insert(url.to_owned(), Value::Null);
    }

    /// Every remote server is away, or back.
    pub(crate) fn set_away(&self, away: bool) {
        self.state.lock().expect("not poisoned").away = away;
    }

    /// The URLs that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().expect("not poisoned").asked.clone()
    }

    fn answer(&self, url: &str) -> Result<FetchedObject, Status> {
        let mut state = self.state.lock().expect("not poisoned");
        state.asked.push(url.to_owned());
        if state.away {
            let mut status = Status::unavailable("the host does not answer");
            let class = MetadataValue::from_static("timeout");
            status.metadata_mut().insert(EGRESS_CLASS, class);
            return Err(status);
        }
        let document = state
            .documents
            .get(url)
            .ok_or_else(|| Status::not_found("404"))?;
        if document.is_null() {
            let mut status = Status::not_found("410");
            let class = MetadataValue::from_static("gone");
            status.metadata_mut().insert(EGRESS_CLASS, class);
            return Err(status);
        }
        Ok(FetchedObject {
            final_url: document["id"].as_str().expect("an id").to_owned(),
            body: document.to_string().into_bytes(),
        })
    }
}

fn auth() -> RpcAuth {
    RpcAuth::new("token-of-the-tests").expect("printable")
}

#[tonic::async_trait]
impl Egress for FakeEgress {
    async fn resolve_handle(
        &self,
        _: Request<ResolveHandleRequest>,
    ) -> Result<Response<ResolveHandleResponse>, Status> {
        Err(Status::unimplemented("the fanout role resolves no handles"))
    }

    async fn fetch_object(
        &self,
        request: Request<FetchObjectRequest>,
    ) -> Result<Response<FetchObjectResponse>, Status> {
        let object = Some(self.answer(&request.into_inner().url)?);
        Ok(Response::new(FetchObjectResponse { object }))
    }

    async fn fetch_key(
        &self,
        request: Request<FetchKeyRequest>,
    ) -> Result<Response<FetchKeyResponse>, Status> {
        let actor = Some(self.answer(&request.into_inner().key_id)?);
        Ok(Response::new(FetchKeyResponse { actor }))
    }
}
