//! Passwords: Argon2id in a bounded pool on blocking threads, with a share that only log-ins
//! may use, so that a rush of sign-ups locks nobody out (design section 9).

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordVerifier, Version,
    password_hash::{PasswordHasher, SaltString},
};
use tidegate_federation::keys::{self, KeyPairs};
use tidegate_telemetry::prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::{ApiError, ApiResult},
    state::{ApiOptions, App},
};

/// OWASP's first choice for Argon2id with 19 MiB: memory in KiB, passes, lanes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Requests that may wait for a permit, for each permit. At some 30 ms a hash, the last in line
/// waits about a second.
const WAITING_PER_PERMIT: usize = 32;

/// The longest anybody waits in line.
const WAIT: Duration = Duration::from_secs(5);

static WAITING: LazyLock<IntGauge> = tidegate_telemetry::gauge!(
    "tidegate_api_password_waiting",
    "Requests that wait for, or use, a permit of the password pool."
);

/// The permits.
pub(crate) struct PasswordPool {
    all: Arc<Semaphore>,
    sign_ups: Arc<Semaphore>,
    line: Arc<Semaphore>,
    sign_up_line: Arc<Semaphore>,
}

/// What a request holds while it hashes.
struct Turn {
    places: Vec<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        WAITING.dec();
    }
}

impl PasswordPool {
    /// A pool as the operator sized it; sign-ups always have one permit at least.
    pub(crate) fn new(options: &ApiOptions) -> Self {
        let all = options.hash_permits.max(1);
        let sign_ups = all.saturating_sub(options.hash_permits_for_log_in).max(1);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            all: semaphore(all),
            sign_ups: semaphore(sign_ups),
            line: semaphore(all * WAITING_PER_PERMIT),
            // Half of the line at most, so that log-ins always find a place in it.
            sign_up_line: semaphore(all * WAITING_PER_PERMIT / 2),
        }
    }

    async fn turn(&self, is_sign_up: bool) -> ApiResult<Turn> {
        let full = |_| ApiError::unavailable();
        let mut places = Vec::new();
        if is_sign_up {
            let place = Arc::clone(&self.sign_up_line).try_acquire_owned();
            places.push(place.map_err(full)?);
        }
        let place = Arc::clone(&self.line).try_acquire_owned();
        places.push(place.map_err(full)?);
        WAITING.inc();
        let mut turn = Turn { places };
        if is_sign_up {
            turn.places.push(wait(&self.sign_ups).await?);
        }
        turn.places.push(wait(&self.all).await?);
        Ok(turn)
    }
}

async fn wait(semaphore: &Arc<Semaphore>) -> ApiResult<OwnedSemaphorePermit> {
    match tokio::time::timeout(WAIT, Arc::clone(semaphore).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(ApiError::unavailable()),
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .expect("the parameters are constants within Argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The hash of a password, in PHC form. Takes some 30 ms: call it on a blocking thread.
pub(crate) fn hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    let salt: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&salt)?;
    Ok(argon2()
        .hash_password(password.as_bytes(), &salt)?
        .to_string())
}

/// Stands in for the hash of an account that does not exist, so that a log-in to nobody takes
/// as long as one to somebody (attack F8).
static NOBODY: LazyLock<String> =
    LazyLock::new(|| hash("nobody").expect("the salt and the parameters are ours"));

/// Whether the password is right; `stored` is `None` when there is nobody to compare with.
pub(crate) async fn check(app: &App, password: String, stored: Option<String>) -> ApiResult<bool> {
    let turn = app.passwords.turn(false).await?;
    blocking(move || {
        let _turn = turn;
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| NOBODY.clone());
        let parsed = PasswordHash::new(&stored).map_err(|error| ApiError::internal(&error))?;
        Ok(argon2()
            .verify_password(password.as_bytes(), &parsed)
            .is_ok()
            && exists)
    })
    .await
}

/// The hash of a newcomer's password, and their keys: both cost a processor's time, so one
/// permit bounds both.
pub(super) async fn hash_with_keys(app: &App, password: String) -> ApiResult<(String, KeyPairs)> {
    let turn = app.passwords.turn(true).await?;
    blocking(move || {
        let _turn = turn;
        let hash = hash(&password).map_err(|error| ApiError::internal(&error))?;
        let keys = keys::generate().map_err(|error| ApiError::internal(&error))?;
        Ok((hash, keys))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> ApiResult<T> + Send + 'static,
) -> ApiResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ApiError::internal(&error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_salted_and_carry_their_parameters() {
        let one = hash("correct horse").expect("hashes");
        let other = hash("correct horse").expect("hashes");
        assert_ne!(one, other);
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        let parsed = PasswordHash::new(&one).expect("PHC");
        assert!(argon2().verify_password(b"correct horse", &parsed).is_ok());
        assert!(argon2().verify_password(b"wrong", &parsed).is_err());
    }

    #[tokio::test]
    async fn sign_ups_leave_room_for_log_ins() {
        let options = ApiOptions {
            hash_permits: 2,
            hash_permits_for_log_in: 1,
            ..ApiOptions::default()
        };
        let pool = Arc::new(PasswordPool::new(&options));
        let _first_sign_up = pool.turn(true).await.expect("a permit");
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.turn(true).await.is_ok() }
        });
        tokio::task::yield_now().await;
        let log_in = tokio::time::timeout(Duration::from_secs(1), pool.turn(false)).await;
        assert!(log_in.is_ok_and(|turn| turn.is_ok()));
        assert!(!waiting.is_finished());
        waiting.abort();
    }

    #[tokio::test]
    async fn a_full_line_refuses_at_once() {
        let options = ApiOptions {
            hash_permits: 1,
            ..ApiOptions::default()
        };
        let pool = PasswordPool::new(&options);
        let line = Arc::clone(&pool.line);
        let _all = line
            .acquire_many_owned(WAITING_PER_PERMIT as u32)
            .await
            .expect("the whole line");
        let refused = pool.turn(false).await;
        assert!(refused.is_err_and(|error| error.status().as_u16() == 503));
    }
}
