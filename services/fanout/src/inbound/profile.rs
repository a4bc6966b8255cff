//! Actors: Update and Delete of oneself.

use tidegate_model::RemoteActor;
use tidegate_store::{accounts, follows};

use super::context::{Halt, Inbound, Outcome};

/// Rows changed per statement: short enough for the time limit of any statement.
const BATCH: i64 = 1_000;

/// What else goes with an actor, a batch of `$2` rows of `$1` at a time.
const BELONGINGS: [&str; 4] = [
    "delete from favourites where id in
         (select id from favourites where account_id = $1 limit $2)",
    "delete from blocks where id in
         (select id from blocks where account_id = $1 or target_id = $1 limit $2)",
    "delete from mutes where id in (select id from mutes where target_id = $1 limit $2)",
    "delete from notifications where id in
         (select id from notifications where from_account_id = $1 limit $2)",
];

/// Update of the actor that signed: its own words are as good as a fetch for its profile. Its
/// key and its inboxes come only from a fetch, so that an old Update, or one made with a key
/// that was lost, moves nothing. One that is older than what is known changes nothing (R3).
pub(super) async fn update(it: &Inbound<'_>, actor: &RemoteActor) -> Result<Outcome, Halt> {
    if actor.uri != it.actor.uri {
        return Err(Halt::Refused("the profile is somebody else's"));
    }
    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    let changed = accounts::update_profile(&mut transaction, actor).await?;
    let applied = it.commit(transaction).await?;
    Ok(if changed { applied } else { Outcome::Repeated })
}

/// Delete of the actor that signed: its posts, its relations, then itself. All but the last go
/// in batches, a transaction each; only then is the activity recorded, so that a crash in
/// between is carried on by the repeat.
pub(super) async fn delete(it: &Inbound<'_>) -> Result<Outcome, Halt> {
    if it.was_seen().await? {
        return Ok(Outcome::Repeated);
    }
    while delete_posts(it).await? == BATCH as u64 {}
    while delete_follows(it).await? == BATCH as u64 {}
    for statement in BELONGINGS {
        while delete_some(it, statement).await? == BATCH as u64 {}
    }
    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    sqlx::query(
        "update accounts set deleted_at = now(), statuses_count = 0
         where id = $1 and domain is not null",
    )
    .bind(it.actor.id)
    .execute(&mut *transaction)
    .await?;
    it.commit(transaction).await
}

/// Ends one batch of follows, by it and of it.
async fn delete_follows(it: &Inbound<'_>) -> Result<u64, Halt> {
    let mut transaction = tidegate_store::begin(&it.deps.pool).await?;
    let ended = follows::remove_batch(&mut transaction, it.actor.id, BATCH).await?;
    transaction.commit().await?;
    Ok(ended)
}

async fn delete_some(it: &Inbound<'_>, statement: &'static str) -> Result<u64, Halt> {
    let deleted = sqlx::query(statement)
        .bind(it.actor.id)
        .bind(BATCH)
        .execute(&it.deps.pool)
        .await?;
    Ok(deleted.rows_affected())
}

/// Marks one batch of posts, and the boosts of them, as deleted. Their rows stay, and keep
/// their ids from coming back.
async fn delete_posts(it: &Inbound<'_>) -> Result<u64, Halt> {
    let ids: Vec<i64> = sqlx::query_scalar(
        "update statuses set deleted_at = now()
         where id in (select id from statuses where account_id = $1 and deleted_at is null
                      order by id desc limit $2)
         returning id",
    )
    .bind(it.actor.id)
    .bind(BATCH)
    .fetch_all(&it.deps.pool)
    .await?;
    sqlx::query(
        "update statuses set deleted_at = now()
         where reblog_of_id = any($1) and deleted_at is null",
    )
    .bind(&ids)
    .execute(&it.deps.pool)
    .await?;
    Ok(ids.len() as u64)
}
