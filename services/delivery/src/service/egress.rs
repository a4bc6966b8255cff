//! `tidegate.delivery.v1.Egress`.

use tidegate_proto::delivery::v1 as proto;
use tidegate_proto::{EGRESS_CLASS, ServiceError};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::egress::{Document, EgressError, WayOut};
use crate::metrics::FETCHES;

/// Answers other roles' questions about remote servers. A caller's deadline ends the work.
#[derive(Clone)]
pub struct EgressService {
    way_out: WayOut,
}

impl EgressService {
    pub(crate) const fn new(way_out: WayOut) -> Self {
        Self { way_out }
    }
}

#[tonic::async_trait]
impl proto::egress_server::Egress for EgressService {
    async fn resolve_handle(
        &self,
        request: Request<proto::ResolveHandleRequest>,
    ) -> Result<Response<proto::ResolveHandleResponse>, Status> {
        let result = self.way_out.resolve_handle(&request.get_ref().handle).await;
        let found = counted("handle", result)?;
        Ok(Response::new(proto::ResolveHandleResponse {
            actor: Some(fetched(found.document)),
            handle: found.handle,
        }))
    }

    async fn fetch_object(
        &self,
        request: Request<proto::FetchObjectRequest>,
    ) -> Result<Response<proto::FetchObjectResponse>, Status> {
        let result = self.way_out.fetch_object(&request.get_ref().url).await;
        let document = counted("object", result)?;
        Ok(Response::new(proto::FetchObjectResponse {
            object: Some(fetched(document)),
        }))
    }

    async fn fetch_key(
        &self,
        request: Request<proto::FetchKeyRequest>,
    ) -> Result<Response<proto::FetchKeyResponse>, Status> {
        let result = self.way_out.fetch_key(&request.get_ref().key_id).await;
        let document = counted("key", result)?;
        Ok(Response::new(proto::FetchKeyResponse {
            actor: Some(fetched(document)),
        }))
    }
}

fn fetched(document: Document) -> proto::FetchedObject {
    proto::FetchedObject {
        final_url: document.id,
        body: document.body.to_vec(),
    }
}

fn counted<T>(kind: &str, result: Result<T, EgressError>) -> Result<T, Status> {
    let class = result.as_ref().map_or_else(EgressError::class, |_| "ok");
    FETCHES.with_label_values(&[kind, class]).inc();
    result.map_err(|error| {
        let mut status = Status::from(ServiceError::from(error));
        status
            .metadata_mut()
            .insert(EGRESS_CLASS, MetadataValue::from_static(class));
        status
    })
}
