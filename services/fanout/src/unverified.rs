//! Requests whose key was not known when they came: one key fetch, then the same path as every
//! other activity.
//!
//! Until the signature is verified, the stored row and that fetch are the only effects (rule
//! R2). All rows of one key are handled by whichever message gets the key first, in the order in
//! which they came, so that a Follow is not overtaken by its Undo.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sqlx::types::Json;
use tidegate_federation::parse::{self, Activity, ActivityKind};
use tidegate_federation::signature::{KeyId, RequestParts, SignedRequest, verify_within};
use tidegate_proto::delivery::v1::FetchKeyRequest;
use tidegate_queue::Decision;
use tidegate_store::accounts::{self, Account};
use time::OffsetDateTime;
use tonic::Request;
use url::Url;

use crate::FanoutDeps;
use crate::inbound::{self, Halt};
use crate::metrics::{INBOUND, UNVERIFIED};
use crate::trouble::{Trouble, doubled};

/// How long a request waits for its key (design section 8).
const LIFETIME: time::Duration = time::Duration::hours(24);

/// For one key fetch, two hops of the delivery role at most.
const FETCH_LIMIT: Duration = Duration::from_secs(20);

/// The first wait for a key that could not be had.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// The longest wait for it: about a dozen tries in the end of the day.
const LONGEST_WAIT: Duration = Duration::from_hours(2);

/// Rows of one key handled per message: the bound of waiting rows per origin.
const MAX_ROWS: i64 = 200;

#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: i64,
    key_id: String,
    method: String,
    path: String,
    headers: Json<serde_json::Value>,
    body: Vec<u8>,
    received_at: OffsetDateTime,
}

/// One `Unverified` message; what was signed further than `window` from when it came is refused.
pub(crate) async fn message(
    deps: &FanoutDeps,
    window: time::Duration,
    id: i64,
    redeliveries: u32,
) -> Decision {
    match handle(deps, window, id).await {
        Ok(()) => Decision::Done,
        Err(Halt::Unreachable(error)) => {
            tracing::debug!(%error, "a key could not be fetched yet");
            UNVERIFIED.with_label_values(&["retried"]).inc();
            Decision::Retry(doubled(FIRST_WAIT, redeliveries, LONGEST_WAIT))
        }
        Err(Halt::Trouble(trouble)) => trouble.decide("unverified", redeliveries),
        Err(error) => Trouble::Failed(error.into()).decide("unverified", redeliveries),
    }
}

async fn handle(deps: &FanoutDeps, window: time::Duration, id: i64) -> Result<(), Halt> {
    let Some(key_id) = key_of(deps, id).await? else {
        // Handled with another row of its key.
        return Ok(());
    };
    let rows = rows_of(deps, &key_id).await?;
    let now = deps.clock.now();
    let (old, rows): (Vec<Row>, Vec<Row>) = rows
        .into_iter()
        .partition(|row| now - row.received_at > LIFETIME);
    for row in old {
        drop_row(deps, &row, "expired").await?;
    }
    if rows.is_empty() {
        return Ok(());
    }
    let actor = match actor_of(deps, window, &key_id, &rows).await {
        Ok(actor) => actor,
        Err(halt @ (Halt::Unreachable(_) | Halt::Trouble(_))) => return Err(halt),
        Err(error) => {
            tracing::debug!(%error, "a key was refused");
            for row in &rows {
                if matches!(error, Halt::Gone) && leaves(deps, row).await? {
                    continue;
                }
                drop_row(deps, row, "no_key").await?;
            }
            return Ok(());
        }
    };
    for row in rows {
        one(deps, window, &actor, &row).await?;
    }
    Ok(())
}

/// Verifies one row and takes its activity in; only then it goes. What the activity itself needs
/// and does not get now keeps the row, and the rest of its key behind it.
async fn one(
    deps: &FanoutDeps,
    window: time::Duration,
    actor: &(Account, Vec<String>),
    row: &Row,
) -> Result<(), Halt> {
    let (account, pems) = actor;
    if !pems.iter().any(|pem| is_signed(deps, window, row, pem)) {
        return drop_row(deps, row, "wrong_signature").await;
    }
    take(deps, account, row, "verified").await
}

/// Takes in what is proven to be said by `account`.
async fn take(deps: &FanoutDeps, account: &Account, row: &Row, how: &str) -> Result<(), Halt> {
    let (kind, taken) = inbound::take(deps, account, &row.body).await;
    let outcome = match taken {
        Ok(outcome) => outcome.as_str(),
        Err(halt @ (Halt::Unreachable(_) | Halt::Trouble(_))) => return Err(halt),
        Err(Halt::Malformed(_)) => "malformed",
        Err(Halt::Refused(_) | Halt::Gone) => "refused",
    };
    INBOUND.with_label_values(&[kind, outcome]).inc();
    drop_row(deps, row, how).await
}

/// Takes in that an actor deletes itself though nobody can verify that any more: its own server
/// says that its key is gone for good, which means the same (A14). Whether the row is such.
async fn leaves(deps: &FanoutDeps, row: &Row) -> Result<bool, Halt> {
    let Some(account) = accounts::by_key_id(&deps.pool, &row.key_id).await? else {
        return Ok(false);
    };
    let Ok(activity) = Activity::parse(&row.body) else {
        return Ok(false);
    };
    let is_its_own = activity.actor == account.uri && activity.is_about_its_actor();
    if activity.kind != ActivityKind::Delete || !is_its_own {
        return Ok(false);
    }
    take(deps, &account, row, "gone").await?;
    Ok(true)
}

/// The actor and the keys that verify these rows: as stored, when the stored key verifies all of
/// them. Otherwise the key is fetched anew, and what the stored one verifies stays verified, so
/// that a change of key loses neither what was signed before it nor what was signed after; nor
/// does the end of one.
async fn actor_of(
    deps: &FanoutDeps,
    window: time::Duration,
    key_id: &str,
    rows: &[Row],
) -> Result<(Account, Vec<String>), Halt> {
    let Some(account) = accounts::by_key_id(&deps.pool, key_id).await? else {
        let (account, pem) = fetched(deps, key_id).await?;
        return Ok((account, vec![pem]));
    };
    let pem = account.public_key_pem.clone();
    let verified = rows
        .iter()
        .filter(|row| is_signed(deps, window, row, &pem))
        .count();
    if verified == rows.len() {
        return Ok((account, vec![pem]));
    }
    match fetched(deps, key_id).await {
        Ok((account, new)) if verified > 0 => Ok((account, vec![pem, new])),
        Ok((account, new)) => Ok((account, vec![new])),
        Err(halt @ (Halt::Unreachable(_) | Halt::Trouble(_))) => Err(halt),
        Err(_) if verified > 0 => Ok((account, vec![pem])),
        Err(halt) => Err(halt),
    }
}

/// The key as its own server shows it, and the actor that it speaks for, stored.
async fn fetched(deps: &FanoutDeps, key_id: &str) -> Result<(Account, String), Halt> {
    // Plain http is the delivery role's to allow or refuse; here it is enough that it is no
    // key of ours.
    KeyId::parse(key_id, &deps.instance, true)
        .map_err(|_| Halt::Refused("the key id cannot be looked up"))?;
    let mut request = Request::new(FetchKeyRequest {
        key_id: key_id.to_owned(),
    });
    request.set_timeout(FETCH_LIMIT);
    let mut egress = deps.egress.clone();
    let answer = tokio::time::timeout(FETCH_LIMIT, egress.fetch_key(request))
        .await
        .map_err(|_| Halt::Unreachable("no answer in time".to_owned()))?
        .map_err(|status| inbound::halt(&status))?;
    let fetched = answer
        .into_inner()
        .actor
        .ok_or(Halt::Refused("the delivery role answered with nothing"))?;
    // A key speaks only for an actor of its own origin that lists it (A8, A9).
    let document = inbound::believed(&fetched, key_id)?;
    let pem = parse::actor_key(&document, key_id)?;
    let actor = parse::actor(&document)?;
    Ok((inbound::store_actor(deps, &actor).await?, pem))
}

/// Whether the stored request is signed with this key, as of when it came, by the actor that
/// its body names being of the key's origin. The body itself is judged by `inbound`.
fn is_signed(deps: &FanoutDeps, window: time::Duration, row: &Row, pem: &str) -> bool {
    let Some(headers) = headers(&row.headers) else {
        return false;
    };
    let (Ok(method), Ok(base)) = (
        Method::from_str(&row.method),
        Url::parse(deps.instance.base()),
    ) else {
        return false;
    };
    let parts = RequestParts {
        method: &method,
        path_and_query: &row.path,
        base: &base,
        headers: &headers,
        body: &row.body,
    };
    let Ok(request) = SignedRequest::parse(&parts) else {
        return false;
    };
    request.key_id() == row.key_id
        && Activity::parse(&row.body).is_ok()
        && verify_within(&request, pem, row.received_at, window).is_ok()
}

/// Headers as stored: `[[name, value], ...]`, or `{name: value}`.
fn headers(stored: &serde_json::Value) -> Option<HeaderMap> {
    let pairs: Vec<(String, String)> = match stored {
        serde_json::Value::Array(_) => serde_json::from_value(stored.clone()).ok()?,
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::from_str(&name).ok()?,
            HeaderValue::from_str(&value).ok()?,
        );
    }
    Some(headers)
}

async fn key_of(deps: &FanoutDeps, id: i64) -> Result<Option<String>, Halt> {
    Ok(
        sqlx::query_scalar("select key_id from unverified_activities where id = $1")
            .bind(id)
            .fetch_optional(&deps.pool)
            .await?,
    )
}

async fn rows_of(deps: &FanoutDeps, key_id: &str) -> Result<Vec<Row>, Halt> {
    Ok(sqlx::query_as(
        "select id, key_id, method, path, headers, body, received_at
         from unverified_activities where key_id = $1 order by id limit $2",
    )
    .bind(key_id)
    .bind(MAX_ROWS)
    .fetch_all(&deps.pool)
    .await?)
}

async fn drop_row(deps: &FanoutDeps, row: &Row, outcome: &str) -> Result<(), Halt> {
    sqlx::query("delete from unverified_activities where id = $1")
        .bind(row.id)
        .execute(&deps.pool)
        .await?;
    UNVERIFIED.with_label_values(&[outcome]).inc();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_headers_are_read_in_both_shapes() {
        let list = serde_json::json!([["host", "a.test"], ["signature", "x"]]);
        let map = serde_json::json!({"host": "a.test", "signature": "x"});
        assert_eq!(headers(&list), headers(&map));
        assert_eq!(headers(&list).expect("headers")["host"], "a.test");
        assert_eq!(headers(&serde_json::json!([["bad name", "x"]])), None);
        assert_eq!(headers(&serde_json::json!("x")), None);
    }
}
