//! `tidegate.delivery.v1.Deliveries`.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use sqlx::PgPool;
use tidegate_model::DeliveryState;
use tidegate_proto::ServiceError;
use tidegate_proto::delivery::v1 as proto;
use tonic::{Request, Response, Status};

use super::{millis, set, who};
use crate::operators::{
    Cursor, DeliveryView, Filter, Move, MoveKind, OperatorError, Operators, Progress, StatusHost,
};
use crate::verify;

/// Counts deliveries, lists them, gives dead ones another life and cancels what is given up.
#[derive(Clone)]
pub struct DeliveriesService {
    pool: PgPool,
    operators: Operators,
}

/// Progress as it is made: whoever stops reading stops the work.
type ProgressStream = Pin<Box<dyn Stream<Item = Result<proto::Progress, Status>> + Send>>;

impl DeliveriesService {
    pub(crate) const fn new(pool: PgPool, operators: Operators) -> Self {
        Self { pool, operators }
    }

    fn moving(
        &self,
        kind: MoveKind,
        request: proto::MoveRequest,
    ) -> Result<Response<ProgressStream>, Status> {
        let order = Move {
            kind,
            filter: filter(request.filter),
            all: request.all,
            limit: request.limit,
            why: who(request.account_id, &request.reason).map_err(status)?,
        };
        let steps = self.operators.moving(order).map(move |step| match step {
            Ok(progress) => Ok(told(&progress, kind)),
            Err(error) => Err(status(error)),
        });
        Ok(Response::new(Box::pin(steps)))
    }
}

#[tonic::async_trait]
impl proto::deliveries_server::Deliveries for DeliveriesService {
    type ListStream = Pin<Box<dyn Stream<Item = Result<proto::Delivery, Status>> + Send>>;
    type ReplayStream = ProgressStream;
    type PurgeStream = ProgressStream;

    async fn count(
        &self,
        _request: Request<proto::CountRequest>,
    ) -> Result<Response<proto::CountResponse>, Status> {
        let counts = verify::counts(&self.pool).await;
        let counts = counts.map_err(|error| status(error.into()))?;
        Ok(Response::new(proto::CountResponse {
            planned: counts.planned,
            queued: counts.queued,
            parked: counts.parked,
            delivered: counts.delivered,
            dead: counts.dead,
            cancelled: counts.cancelled,
        }))
    }

    async fn list(
        &self,
        request: Request<proto::ListDeliveriesRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let request = request.into_inner();
        let after = request.after.map_or_else(Cursor::default, |after| Cursor {
            activity_id: after.activity_id,
            inbox_id: after.inbox_id,
        });
        let filter = filter(request.filter);
        let page = self
            .operators
            .deliveries(&filter, request.limit, after)
            .await
            .map_err(status)?;
        let rows = page.into_iter().map(|view| Ok(delivery(view)));
        Ok(Response::new(Box::pin(stream::iter(rows))))
    }

    async fn replay(
        &self,
        request: Request<proto::MoveRequest>,
    ) -> Result<Response<ProgressStream>, Status> {
        self.moving(MoveKind::Replay, request.into_inner())
    }

    async fn purge(
        &self,
        request: Request<proto::MoveRequest>,
    ) -> Result<Response<ProgressStream>, Status> {
        self.moving(MoveKind::Purge, request.into_inner())
    }

    async fn per_status(
        &self,
        request: Request<proto::PerStatusRequest>,
    ) -> Result<Response<proto::PerStatusResponse>, Status> {
        let found = self
            .operators
            .per_status(request.get_ref().status_id)
            .await
            .map_err(status)?;
        Ok(Response::new(proto::PerStatusResponse {
            queued: found.total(DeliveryState::Queued),
            parked: found.total(DeliveryState::Parked),
            delivered: found.total(DeliveryState::Delivered),
            dead: found.total(DeliveryState::Dead),
            cancelled: found.total(DeliveryState::Cancelled),
            hosts_total: found.hosts_total,
            hosts: found.hosts.into_iter().map(status_host).collect(),
        }))
    }
}

/// Nothing, zero and the empty text are not set.
fn filter(asked: Option<proto::DeliveryFilter>) -> Filter {
    let asked = asked.unwrap_or_default();
    let age = |seconds: Option<i64>| {
        seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    };
    Filter {
        state: set(asked.state),
        host: set(asked.host),
        actor: set(asked.actor),
        reason: set(asked.reason),
        older_than: age(asked.older_than),
        younger_than: age(asked.younger_than),
        status_id: (asked.status_id != 0).then_some(asked.status_id),
        activity_id: (asked.activity_id != 0).then_some(asked.activity_id),
    }
}

fn told(progress: &Progress, kind: MoveKind) -> proto::Progress {
    proto::Progress {
        moved: progress.moved,
        left: progress.left,
        waiting: progress.waiting,
        finished: progress.finished,
        note: if progress.finished {
            progress.note(kind)
        } else {
            String::new()
        },
    }
}

fn delivery(view: DeliveryView) -> proto::Delivery {
    proto::Delivery {
        activity_id: view.activity_id,
        inbox_id: view.inbox_id,
        kind: view.kind,
        account_id: view.account_id,
        status_id: view.status_id.unwrap_or(0),
        host: view.host,
        inbox_url: view.inbox_url,
        lane: view.lane,
        state: view.state,
        reason: view.reason.unwrap_or_default(),
        attempts: view.attempts,
        last_status: view.last_status.unwrap_or(0),
        last_error: view.last_error.unwrap_or_default(),
        next_try_at: view.next_try_at.map(millis),
        created_at: millis(view.created_at),
        updated_at: millis(view.updated_at),
    }
}

fn status_host(host: StatusHost) -> proto::StatusHost {
    proto::StatusHost {
        host: host.host,
        state: host.state,
        reason: host.reason.to_owned(),
        attempts: host.attempts,
        last_status: host.last_status.unwrap_or(0),
        next_try_at: host.next_try_at.map(millis),
    }
}

fn status(error: OperatorError) -> Status {
    ServiceError::from(error).into()
}
