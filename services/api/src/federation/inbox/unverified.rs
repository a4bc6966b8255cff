//! Activities whose key is not known yet: one bounded row and one message that has the key
//! fetched, in one transaction. Nothing else happens before proof (rule R2).

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use sqlx::types::Json;
use tidegate_federation::signature::KeyId;
use tidegate_model::Message;

use super::{Arrived, Outcome, path_and_query};
use crate::{
    error::{ApiError, ApiResult},
    state::App,
};

/// Design section 8: rows of one origin, rows in all, and bytes of one body.
const MAX_PER_ORIGIN: i64 = 200;
const MAX_IN_ALL: i64 = 10_000;
const MAX_BYTES: usize = 64 * 1024;

/// Of requests that fail under a known key one waits per key, and so many in all: enough for
/// the keys that honest servers change in an hour.
const MAX_SUSPECTS: i64 = 1_000;

/// Headers longer than this in sum are not kept: a signed request has one or two kilobytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Makes counting and inserting one step among all processes. Any fixed number; held for the
/// length of a short transaction only, so it works behind a transaction pooler.
const LOCK: i64 = 0x7469_6475;

/// The same request that waits already, by everything that its signature may cover: a copy takes
/// no place of its own (A4), and one that differs anywhere cannot stand in for it.
const COPY: &str = "select exists (select 1 from unverified_activities
                    where key_id = $1 and method = $2 and path = $3 and headers = $4 and body = $5)";

/// Whether anything waits for this key. Then everything from its actor goes the same way, or it
/// would overtake. What failed under the known key does not count: anybody can send that, and it
/// must not divert what the key proves.
pub(super) async fn has_waiting(app: &App, key: &KeyId) -> ApiResult<bool> {
    Ok(sqlx::query_scalar(
        "select exists (select 1 from unverified_activities
                            where key_id = $1 and not suspect)",
    )
    .bind(&key.id)
    .fetch_one(&app.deps.pool)
    .await?)
}

/// A row for a key that is not known, while its origin and the table have room.
const STRANGER: &str =
    "insert into unverified_activities (origin, key_id, method, path, headers, body, received_at)
     select $1, $2, $3, $4, $5, $6, $7
     where (select count(*) from unverified_activities where origin = $1 and not suspect) < $8
       and (select count(*) from unverified_activities where not suspect) < $9
     returning id";

/// A row for a key that is known and fails, while there is no other.
const SUSPECT: &str =
    "insert into unverified_activities (origin, key_id, method, path, headers, body, received_at,
                                        suspect)
     select $1, $2, $3, $4, $5, $6, $7, true
     where (select count(*) from unverified_activities where key_id = $2 and suspect) < $8
       and (select count(*) from unverified_activities where suspect) < $9
     returning id";

/// Keeps an activity until its key is there; 503 when the table is full.
pub(super) async fn keep(app: &App, arrived: &Arrived, key: &KeyId) -> ApiResult<Outcome> {
    keep_with(app, arrived, key, STRANGER, (MAX_PER_ORIGIN, MAX_IN_ALL)).await
}

/// Keeps an activity that fails under a key that was looked up long ago, until it was looked up
/// again; 503 while another of that key waits.
pub(super) async fn keep_suspect(app: &App, arrived: &Arrived, key: &KeyId) -> ApiResult<Outcome> {
    keep_with(app, arrived, key, SUSPECT, (1, MAX_SUSPECTS)).await
}

/// `most`: rows of the same origin or key, and rows in all.
async fn keep_with(
    app: &App,
    arrived: &Arrived,
    key: &KeyId,
    insert: &'static str,
    most: (i64, i64),
) -> ApiResult<Outcome> {
    let headers = kept_headers(&arrived.headers);
    let header_bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if arrived.body.len() > MAX_BYTES || header_bytes > MAX_HEADER_BYTES {
        return Err(ApiError::too_large());
    }
    let mut transaction = tidegate_store::begin(&app.deps.pool).await?;
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await?;
    let waits: bool = sqlx::query_scalar(COPY)
        .bind(&key.id)
        .bind(arrived.method.as_str())
        .bind(path_and_query(&arrived.uri))
        .bind(Json(&headers))
        .bind(&arrived.body[..])
        .fetch_one(&mut *transaction)
        .await?;
    if waits {
        return Ok(Outcome::Waiting);
    }
    let id: Option<i64> = sqlx::query_scalar(insert)
        .bind(&key.host)
        .bind(&key.id)
        .bind(arrived.method.as_str())
        .bind(path_and_query(&arrived.uri))
        .bind(Json(&headers))
        .bind(&arrived.body[..])
        .bind(app.deps.clock.now())
        .bind(most.0)
        .bind(most.1)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(id) = id else {
        return Err(ApiError::unavailable());
    };
    let message = Message::Unverified { id };
    let queue = app.deps.queues.inbound();
    app.deps
        .outbox
        .add(&mut transaction, &queue, &message)
        .await?;
    transaction.commit().await?;
    app.deps.outbox.wake();
    Ok(Outcome::Waiting)
}

/// All headers by lower-case name, repeats joined by a comma as both schemes join them; without
/// those that could hold somebody's secret.
fn kept_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        if *name == header::AUTHORIZATION || *name == header::COOKIE {
            continue;
        }
        let Ok(value) = value.to_str() else { continue };
        kept.entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(value.trim());
            })
            .or_insert_with(|| value.trim().to_owned());
    }
    kept
}
