//! `tidegate.delivery.v1.Deliveries`.

use sqlx::PgPool;
use tidegate_model::canonical_host;
use tidegate_proto::delivery::v1 as proto;
use tidegate_proto::{ErrorCode, ServiceError};
use tidegate_store::StoreError;
use tonic::{Request, Response, Status};

use crate::verify;

/// Rows that one call replays at most: a statement of well under a second.
const MAX_REPLAY: i64 = 10_000;

/// Counts deliveries and gives dead ones another life.
#[derive(Clone)]
pub struct DeliveriesService {
    pool: PgPool,
}

impl DeliveriesService {
    pub(crate) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[tonic::async_trait]
impl proto::deliveries_server::Deliveries for DeliveriesService {
    async fn count(
        &self,
        _request: Request<proto::CountRequest>,
    ) -> Result<Response<proto::CountResponse>, Status> {
        let counts = verify::counts(&self.pool).await.map_err(status)?;
        Ok(Response::new(proto::CountResponse {
            planned: counts.planned,
            queued: counts.queued,
            parked: counts.parked,
            delivered: counts.delivered,
            dead: counts.dead,
            cancelled: counts.cancelled,
        }))
    }

    async fn replay(
        &self,
        request: Request<proto::ReplayRequest>,
    ) -> Result<Response<proto::ReplayResponse>, Status> {
        let request = request.into_inner();
        let host = if request.host.is_empty() {
            None
        } else {
            let host = canonical_host(&request.host).map_err(|error| {
                Status::from(ServiceError::new(
                    ErrorCode::InvalidArgument,
                    error.to_string(),
                ))
            })?;
            Some(host)
        };
        let limit = match request.limit {
            0 => MAX_REPLAY,
            limit if limit > 0 => limit.min(MAX_REPLAY),
            _ => {
                let error = ServiceError::new(ErrorCode::InvalidArgument, "limit is negative");
                return Err(error.into());
            }
        };
        let replayed = replay(&self.pool, host.as_deref(), limit)
            .await
            .map_err(status)?;
        Ok(Response::new(proto::ReplayResponse { replayed }))
    }
}

/// Dead rows become parked and due at once, with their ladder before them: the replayer queues
/// them in order like everything else that waited.
async fn replay(pool: &PgPool, host: Option<&str>, limit: i64) -> Result<i64, StoreError> {
    let rows = sqlx::query(
        "with dead as materialized (
             select activity_id, inbox_id from deliveries
             where state = 'dead' and ($1::text is null or host = $1)
             limit $2 for update skip locked)
         update deliveries d
         set state = 'parked', reason = 'replay', attempts = 0, not_before = now(),
             republish_count = 0, updated_at = now()
         from dead
         where d.activity_id = dead.activity_id and d.inbox_id = dead.inbox_id",
    )
    .bind(host)
    .bind(limit)
    .execute(pool)
    .await?
    .rows_affected();
    Ok(rows as i64)
}

fn status(error: StoreError) -> Status {
    let code = match &error {
        StoreError::Unavailable(_) => ErrorCode::Unavailable,
        StoreError::NotFound | StoreError::Conflict(_) | StoreError::Database(_) => {
            ErrorCode::Internal
        }
    };
    tracing::warn!(%error, "deliveries could not be counted or replayed");
    ServiceError::new(code, "the database did not answer").into()
}
