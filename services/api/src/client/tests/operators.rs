//! The delivery role as far as operators ask it: writes down every call, and answers from a list.

use std::sync::{Arc, Mutex};

use futures::stream::{self, BoxStream, StreamExt};
use tidegate_proto::delivery::v1 as proto;
use tonic::{Request, Response, Status};

/// Calls, and what is told of them.
#[derive(Clone, Default)]
pub(super) struct Operators {
    calls: Arc<Mutex<Vec<String>>>,
}

impl Operators {
    /// Every call until now, in words.
    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("not poisoned").clone()
    }

    fn note(&self, call: String) {
        self.calls.lock().expect("not poisoned").push(call);
    }

    fn steered(
        &self,
        act: &str,
        request: &proto::SteerHostRequest,
    ) -> Result<Response<proto::SteerHostResponse>, Status> {
        let (host, why) = (&request.host, &request.reason);
        self.note(format!(
            "{act} {host} by {} because {why}",
            request.account_id
        ));
        if host == "well.test" {
            return Err(Status::already_exists("well.test is not paused"));
        }
        Ok(Response::new(proto::SteerHostResponse {
            host: Some(host_named(host)),
            note: format!("{act} is done"),
        }))
    }

    fn moved(
        &self,
        act: &str,
        request: &proto::MoveRequest,
    ) -> Response<BoxStream<'static, Result<proto::Progress, Status>>> {
        let filter = request.filter.clone().unwrap_or_default();
        self.note(format!(
            "{act} host={} reason={} older={:?} all={} limit={} by {} because {}",
            filter.host,
            filter.reason,
            filter.older_than,
            request.all,
            request.limit,
            request.account_id,
            request.reason
        ));
        if !request.all && filter == proto::DeliveryFilter::default() {
            let refused = Err(Status::invalid_argument("say which"));
            return Response::new(stream::iter([refused]).boxed());
        }
        let steps = (1..=3).map(|step| {
            Ok(proto::Progress {
                moved: step * 1_000,
                finished: step == 3,
                ..proto::Progress::default()
            })
        });
        Response::new(stream::iter(steps.collect::<Vec<_>>()).boxed())
    }
}

fn host_named(name: &str) -> proto::Host {
    proto::Host {
        host: name.to_owned(),
        state: "failing".to_owned(),
        next_probe_at: Some(1_700_000_000_000),
        parked: 7,
        counted_to: 1_000,
        ..proto::Host::default()
    }
}

#[tonic::async_trait]
impl proto::hosts_server::Hosts for Operators {
    type ListStream = BoxStream<'static, Result<proto::Host, Status>>;

    async fn list(
        &self,
        request: Request<proto::ListHostsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let request = request.into_inner();
        self.note(format!(
            "hosts state={} paused={} backlog={} name={} after={} limit={}",
            request.state,
            request.paused,
            request.backlog,
            request.name_prefix,
            request.after,
            request.limit
        ));
        let names = ["a.test", "b.test", "c.test"].into_iter();
        let page: Vec<_> = names
            .filter(|name| *name > request.after.as_str())
            .take(request.limit as usize)
            .map(|name| Ok(host_named(name)))
            .collect();
        Ok(Response::new(stream::iter(page).boxed()))
    }

    async fn show(
        &self,
        request: Request<proto::ShowHostRequest>,
    ) -> Result<Response<proto::Host>, Status> {
        let host = request.into_inner().host;
        self.note(format!("show {host}"));
        if host == "nobody.test" {
            return Err(Status::not_found("nothing is known of nobody.test"));
        }
        Ok(Response::new(host_named(&host)))
    }

    async fn pause(
        &self,
        request: Request<proto::SteerHostRequest>,
    ) -> Result<Response<proto::SteerHostResponse>, Status> {
        self.steered("pause", request.get_ref())
    }

    async fn resume(
        &self,
        request: Request<proto::SteerHostRequest>,
    ) -> Result<Response<proto::SteerHostResponse>, Status> {
        self.steered("resume", request.get_ref())
    }

    async fn probe_now(
        &self,
        request: Request<proto::SteerHostRequest>,
    ) -> Result<Response<proto::SteerHostResponse>, Status> {
        self.steered("probe", request.get_ref())
    }
}

#[tonic::async_trait]
impl proto::deliveries_server::Deliveries for Operators {
    type ListStream = BoxStream<'static, Result<proto::Delivery, Status>>;
    type ReplayStream = BoxStream<'static, Result<proto::Progress, Status>>;
    type PurgeStream = BoxStream<'static, Result<proto::Progress, Status>>;

    async fn count(
        &self,
        _: Request<proto::CountRequest>,
    ) -> Result<Response<proto::CountResponse>, Status> {
        Err(Status::unimplemented("the client API counts nothing"))
    }

    async fn list(
        &self,
        request: Request<proto::ListDeliveriesRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let request = request.into_inner();
        let filter = request.filter.unwrap_or_default();
        let after = request.after.unwrap_or_default();
        self.note(format!(
            "deliveries state={} actor={} status={} after={}-{} limit={}",
            filter.state,
            filter.actor,
            filter.status_id,
            after.activity_id,
            after.inbox_id,
            request.limit
        ));
        let page: Vec<_> = (after.activity_id + 1..=3)
            .take(request.limit as usize)
            .map(|activity_id| {
                Ok(proto::Delivery {
                    activity_id,
                    inbox_id: 9,
                    kind: "Create".to_owned(),
                    state: "dead".to_owned(),
                    reason: "status_404".to_owned(),
                    ..proto::Delivery::default()
                })
            })
            .collect();
        Ok(Response::new(stream::iter(page).boxed()))
    }

    async fn replay(
        &self,
        request: Request<proto::MoveRequest>,
    ) -> Result<Response<Self::ReplayStream>, Status> {
        Ok(self.moved("replay", request.get_ref()))
    }

    async fn purge(
        &self,
        request: Request<proto::MoveRequest>,
    ) -> Result<Response<Self::PurgeStream>, Status> {
        Ok(self.moved("purge", request.get_ref()))
    }

    async fn per_status(
        &self,
        request: Request<proto::PerStatusRequest>,
    ) -> Result<Response<proto::PerStatusResponse>, Status> {
        self.note(format!("status {}", request.get_ref().status_id));
        Ok(Response::new(proto::PerStatusResponse {
            delivered: 5,
            parked: 1,
            hosts_total: 1,
            hosts: vec![proto::StatusHost {
                host: "a.test".to_owned(),
                state: "parked".to_owned(),
                reason: "host".to_owned(),
                attempts: 2,
                last_status: 503,
                next_try_at: Some(1_700_000_000_000),
            }],
            ..proto::PerStatusResponse::default()
        }))
    }
}
