//! Rebuilding home timelines: the gRPC service that api asks when a returning reader has no list.
//!
//! Rebuilds of one account are joined into one, a few run at once, and what waits is bounded. The
//! order is what makes it right: the building marker first, then the read, then the finish. A
//! post that committed before the marker is in the read; one whose append comes after the marker
//! is kept behind it; so none falls in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_proto::fanout::v1::rebuild_response::State;
use tidegate_proto::fanout::v1::timelines_server::{Timelines, TimelinesServer};
use tidegate_proto::fanout::v1::{RebuildRequest, RebuildResponse};
use tidegate_proto::{ErrorCode, ServiceError};
use tidegate_store::home::{self, HomePage};
use tidegate_timeline::{List, TRIM_TO};
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status};

use crate::metrics::{REBUILDS, REBUILDS_WAITING};
use crate::options::RebuildOptions;
use crate::trouble::Trouble;
use crate::{FanoutDeps, FanoutOptions};

/// After this a rebuild counts as dead and another may take its place. The statement itself may
/// take 15 s.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// How long a caller that wants to wait is kept waiting; api answers from SQL meanwhile.
const WAIT_LIMIT: Duration = Duration::from_secs(45);

/// How often a rebuild of another replica is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The service `fanout.v1.Timelines`. Clones share their bounds.
#[derive(Clone)]
pub struct TimelinesService(Arc<Inner>);

struct Inner {
    deps: FanoutDeps,
    options: RebuildOptions,
    turns: Semaphore,
    /// Rebuilds that run or wait here; the channel says `true` when one is done.
    in_hand: Mutex<HashMap<i64, watch::Receiver<Option<bool>>>>,
}

/// The service as a server takes it.
pub fn timelines_server(
    deps: FanoutDeps,
    options: &FanoutOptions,
) -> TimelinesServer<TimelinesService> {
    TimelinesServer::new(TimelinesService::new(deps, options))
}

#[tonic::async_trait]
impl Timelines for TimelinesService {
    async fn rebuild(
        &self,
        request: Request<RebuildRequest>,
    ) -> Result<Response<RebuildResponse>, Status> {
        let RebuildRequest { account_id, wait } = request.into_inner();
        let mut outcome = self.join(account_id)?;
        let mut state = State::Running;
        if wait {
            let done = tokio::time::timeout(WAIT_LIMIT, outcome.wait_for(Option::is_some)).await;
            state = match done {
                Ok(Ok(done)) if *done == Some(true) => State::Done,
                Ok(_) => {
                    return Err(ServiceError::new(
                        ErrorCode::Unavailable,
                        "the timeline could not be rebuilt; ask again",
                    )
                    .into());
                }
                Err(_) => State::Running,
            };
        }
        Ok(Response::new(RebuildResponse {
            state: state.into(),
        }))
    }
}

impl TimelinesService {
    /// The service with its own bounds.
    pub fn new(deps: FanoutDeps, options: &FanoutOptions) -> Self {
        Self(Arc::new(Inner {
            deps,
            options: options.rebuilds,
            turns: Semaphore::new(options.rebuilds.at_once.max(1)),
            in_hand: Mutex::default(),
        }))
    }

    /// The rebuild of this account: the one in hand, or a new one.
    fn join(&self, account_id: i64) -> Result<watch::Receiver<Option<bool>>, ServiceError> {
        let mut in_hand = self.in_hand();
        if let Some(outcome) = in_hand.get(&account_id) {
            return Ok(outcome.clone());
        }
        if in_hand.len() >= self.0.options.waiting {
            return Err(ServiceError::new(
                ErrorCode::ResourceExhausted,
                "too many timelines are being rebuilt",
            ));
        }
        let (tell, outcome) = watch::channel(None);
        in_hand.insert(account_id, outcome.clone());
        REBUILDS_WAITING.inc();
        let service = self.clone();
        tokio::spawn(async move {
            // Whatever happens to the work, the entry goes.
            let entry = Entry {
                service: &service,
                account_id,
            };
            let done = service.turn(account_id).await;
            drop(entry);
            tell.send_replace(Some(done));
        });
        Ok(outcome)
    }

    fn in_hand(&self) -> std::sync::MutexGuard<'_, HashMap<i64, watch::Receiver<Option<bool>>>> {
        // The map is whole between any two statements.
        self.0
            .in_hand
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn turn(&self, account_id: i64) -> bool {
        let Ok(_turn) = self.0.turns.acquire().await else {
            return false;
        };
        let work = tokio::time::timeout(TIME_LIMIT, rebuild(&self.0.deps, account_id)).await;
        let (label, done) = match work {
            Ok(Ok(true)) => ("done", true),
            Ok(Ok(false)) => ("superseded", false),
            Ok(Err(error)) => {
                tracing::warn!(%error, account = account_id, "a timeline was not rebuilt");
                ("failed", false)
            }
            Err(_) => ("timed_out", false),
        };
        REBUILDS.with_label_values(&[label]).inc();
        done
    }
}

/// Takes an account off the map when its rebuild ends, also by a panic.
struct Entry<'a> {
    service: &'a TimelinesService,
    account_id: i64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.service.in_hand().remove(&self.account_id);
        REBUILDS_WAITING.dec();
    }
}

/// Builds one list; `false` when it was taken away meanwhile (a follow, a lost store).
async fn rebuild(deps: &FanoutDeps, account_id: i64) -> Result<bool, Trouble> {
    let Some(nonce) = deps.timelines.begin(account_id, TIME_LIMIT).await? else {
        return other_replica(deps, account_id).await;
    };
    let page = HomePage::newest(TRIM_TO as i64, None);
    let ids = home::home_ids(&deps.pool, account_id, &page).await?;
    let floor = floor_of(&ids);
    Ok(deps
        .timelines
        .finish(account_id, &nonce, floor, &ids)
        .await?)
}

/// Another replica builds it: wait until it is done or has given up.
async fn other_replica(deps: &FanoutDeps, account_id: i64) -> Result<bool, Trouble> {
    loop {
        match deps.timelines.read(account_id).await? {
            List::Complete { .. } => return Ok(true),
            List::Absent => return Ok(false),
            List::Building => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// Every id above the floor is in the list: none was left out unless the page came full.
fn floor_of(ids: &[i64]) -> i64 {
    match ids.last() {
        Some(oldest) if ids.len() >= TRIM_TO => oldest - 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_just_below_a_full_page() {
        assert_eq!(floor_of(&[]), 0);
        assert_eq!(floor_of(&[9, 8]), 0);
        let full: Vec<i64> = (1..=TRIM_TO as i64).rev().map(|n| n + 100).collect();
        assert_eq!(floor_of(&full), 100);
    }
}
