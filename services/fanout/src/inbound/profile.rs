//! Actors: Update and Delete of oneself.

use tidegate_model::RemoteActor;
use tidegate_store::{StoreError, accounts, follows};

use super::context::{Halt, Inbound, Outcome};

/// Posts marked per statement: short enough for the time limit of any statement.
const BATCH: i64 = 1_000;

/// Update of the actor that signed: its own words about itself are as good as a fetch.
pub(super) async fn update(it: &Inbound<'_>, actor: &RemoteActor) -> Result<Outcome, Halt> {
    if actor.uri != it.actor.uri {
        return Err(Halt::Refused("the profile is somebody else's"));
    }
    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    match accounts::upsert_remote(&mut transaction, actor).await {
        Ok(_) => it.commit(transaction).await,
        Err(StoreError::Conflict(_)) => {
            Err(Halt::Refused("its handle or id belongs to somebody else"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Delete of the actor that signed: its posts, its relations, then itself. The posts go in
/// batches of their own before; only then is the activity recorded, so that a crash in between
/// is carried on by the repeat.
pub(super) async fn delete(it: &Inbound<'_>) -> Result<Outcome, Halt> {
    if it.was_seen().await? {
        return Ok(Outcome::Repeated);
    }
    while delete_posts(it).await? == BATCH as u64 {}

    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    let relations: Vec<(i64, i64)> = sqlx::query_as(
        "select account_id, target_id from follows where account_id = $1 or target_id = $1
         order by id",
    )
    .bind(it.actor.id)
    .fetch_all(&mut *transaction)
    .await?;
    for (account_id, target_id) in relations {
        follows::remove(&mut transaction, account_id, target_id).await?;
    }
    for statement in [
        "delete from favourites where account_id = $1",
        "delete from blocks where account_id = $1 or target_id = $1",
        "delete from mutes where target_id = $1",
        "delete from notifications where from_account_id = $1",
        "update accounts set deleted_at = now(), statuses_count = 0 where id = $1 and domain is not null",
    ] {
        sqlx::query(statement)
            .bind(it.actor.id)
            .execute(&mut *transaction)
            .await?;
    }
    it.commit(transaction).await
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
