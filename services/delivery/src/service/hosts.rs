//! `tidegate.delivery.v1.Hosts`.

use std::pin::Pin;

use futures::{Stream, stream};
use tidegate_proto::ServiceError;
use tidegate_proto::delivery::v1 as proto;
use tonic::{Request, Response, Status};

use super::{millis, set, who};
use crate::operators::{HostFilter, HostView, OperatorError, Operators, Steered};

/// Lists hosts, and pauses, resumes and probes them.
#[derive(Clone)]
pub struct HostsService {
    operators: Operators,
}

impl HostsService {
    pub(crate) const fn new(operators: Operators) -> Self {
        Self { operators }
    }
}

#[tonic::async_trait]
impl proto::hosts_server::Hosts for HostsService {
    type ListStream = Pin<Box<dyn Stream<Item = Result<proto::Host, Status>> + Send>>;

    async fn list(
        &self,
        request: Request<proto::ListHostsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let request = request.into_inner();
        let filter = HostFilter {
            state: set(request.state),
            paused: request.paused,
            backlog: request.backlog,
            name_prefix: request.name_prefix,
        };
        let page = self
            .operators
            .hosts(&filter, request.limit, &request.after)
            .await
            .map_err(status)?;
        let hosts = page.into_iter().map(|view| Ok(host(view)));
        Ok(Response::new(Box::pin(stream::iter(hosts))))
    }

    async fn show(
        &self,
        request: Request<proto::ShowHostRequest>,
    ) -> Result<Response<proto::Host>, Status> {
        let found = self.operators.host(&request.get_ref().host).await;
        Ok(Response::new(host(found.map_err(status)?)))
    }

    async fn pause(
        &self,
        request: Request<proto::SteerHostRequest>,
    ) -> Result<Response<proto::SteerHostResponse>, Status> {
        let request = request.get_ref();
        let why = who(request.account_id, &request.reason).map_err(status)?;
        steered(self.operators.pause(&request.host, &why).await)
    }

    async fn resume(
        &self,
        request: Request<proto::SteerHostRequest>,
    ) -> Result<Response<proto::SteerHostResponse>, Status> {
        let request = request.get_ref();
        let why = who(request.account_id, &request.reason).map_err(status)?;
        steered(self.operators.resume(&request.host, &why).await)
    }

    async fn probe_now(
        &self,
        request: Request<proto::SteerHostRequest>,
    ) -> Result<Response<proto::SteerHostResponse>, Status> {
        let request = request.get_ref();
        let why = who(request.account_id, &request.reason).map_err(status)?;
        steered(self.operators.probe(&request.host, &why).await)
    }
}

fn steered(
    result: Result<Steered, OperatorError>,
) -> Result<Response<proto::SteerHostResponse>, Status> {
    let steered = result.map_err(status)?;
    Ok(Response::new(proto::SteerHostResponse {
        host: Some(host(steered.host)),
        note: steered.note,
    }))
}

fn host(view: HostView) -> proto::Host {
    proto::Host {
        host: view.host,
        state: view.state,
        paused_at: view.paused_at.map(millis),
        paused_reason: view.paused_reason,
        backlog: view.backlog,
        failing_since: view.failing_since.map(millis),
        unavailable_since: view.unavailable_since.map(millis),
        next_probe_at: view.next_probe_at.map(millis),
        failed_days: view.failed_days,
        last_success_at: view.last_success_at.map(millis),
        last_failure_at: view.last_failure_at.map(millis),
        last_error: view.last_error,
        rate: view.rate,
        queued: view.queued,
        parked: view.parked,
        dead: view.dead,
        counted_to: view.counted_to,
    }
}

fn status(error: OperatorError) -> Status {
    ServiceError::from(error).into()
}
