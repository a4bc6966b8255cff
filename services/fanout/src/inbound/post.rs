//! Posts: Create, Update and Delete of a note.

use sqlx::PgConnection;
use tidegate_model::{Message, RemoteNote, same_origin};
use tidegate_store::statuses::{self, Status};
use time::Duration;

use super::context::{Halt, Inbound, Outcome, lock_thread};
use super::relevance::{self, Addressed};
use super::resolve::Resolver;
use crate::local;

/// An Update of a post that we do not have stands for its Create only while the post is this
/// young; as with Mastodon, edits of old posts do not bring them here.
const UPDATE_AS_CREATE: Duration = Duration::days(1);

/// Create: stores the post if it concerns anybody here, and sends it into local fan-out.
pub(super) async fn create(it: &Inbound<'_>, note: &RemoteNote) -> Result<Outcome, Halt> {
    own(it, note)?;
    if it.was_seen().await? || is_known(it, &note.uri).await? {
        return Ok(Outcome::Repeated);
    }
    let addressed = relevance::addressed(it.deps, note).await?;
    if !relevance::concerns_us(&it.deps.pool, note, it.actor.id, &addressed).await? {
        return Ok(Outcome::Irrelevant);
    }
    // Everything remote comes before the transaction.
    let mentions = mentions(it, note, &addressed).await?;

    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    lock_thread(&mut transaction, note).await?;
    let parent = match &note.in_reply_to {
        Some(uri) => statuses::by_uri(&mut *transaction, uri).await?,
        None => None,
    };
    let stored =
        statuses::insert_remote(&mut transaction, note, it.actor, &mentions, parent.as_ref())
            .await?;
    let Some(status) = stored else {
        // A tombstone, or a copy that was quicker.
        transaction.commit().await?;
        return Ok(Outcome::Repeated);
    };
    add_silent(&mut transaction, status.id, &addressed.silent).await?;
    fan_out(it, &mut transaction, &status).await?;
    it.commit(transaction).await
}

/// Update: changes the post that this actor wrote, if it is newer than what we have. Audience,
/// parent and owner stay as they were (P6, B10).
pub(super) async fn update(it: &Inbound<'_>, note: &RemoteNote) -> Result<Outcome, Halt> {
    own(it, note)?;
    let Some(status) = statuses::by_uri(&it.deps.pool, &note.uri).await? else {
        let is_young = it.deps.clock.now() - note.published < UPDATE_AS_CREATE;
        return if is_young {
            create(it, note).await
        } else {
            Ok(Outcome::Irrelevant)
        };
    };
    if status.account_id != it.actor.id {
        return Err(Halt::Refused("the post is somebody else's"));
    }
    let Some(updated) = note.updated else {
        // Tallies and counts, which are not kept.
        return Ok(Outcome::Irrelevant);
    };
    let updated = updated.min(it.deps.clock.now());
    let addressed = relevance::addressed(it.deps, note).await?;

    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    let changed = statuses::update_remote(&mut transaction, status.id, note, updated).await?;
    if changed && status.visibility().is_open() {
        // Somebody newly named in a post that anybody may read is told; a private post is not
        // opened to anybody by an edit.
        add_mentions(&mut transaction, status.id, &addressed.mentioned).await?;
        local::mentioned(&mut transaction, status.id, it.actor.id).await?;
    }
    it.commit(transaction).await?;
    Ok(if changed {
        Outcome::Applied
    } else {
        Outcome::Repeated
    })
}

/// Delete: marks the post as deleted, or remembers the deletion of one that did not come yet.
pub(super) async fn delete(it: &Inbound<'_>, uri: &str) -> Result<Outcome, Halt> {
    if it.deps.instance.owns(uri) || !same_origin(uri, &it.actor.uri) {
        return Err(Halt::Refused("the post is of another origin"));
    }
    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    let known: Option<(i64, i64)> =
        sqlx::query_as("select id, account_id from statuses where uri = $1 for update")
            .bind(uri)
            .fetch_optional(&mut *transaction)
            .await?;
    match known {
        Some((_, owner)) if owner != it.actor.id => {
            return Err(Halt::Refused("the post is somebody else's"));
        }
        Some((id, _)) => {
            statuses::delete(&mut transaction, id).await?;
        }
        None => {
            sqlx::query(
                "insert into tombstones (uri, account_id) values ($1, $2) on conflict do nothing",
            )
            .bind(uri)
            .bind(it.actor.id)
            .execute(&mut *transaction)
            .await?;
        }
    }
    it.commit(transaction).await
}

/// The message that puts a new post into home timelines, in the transaction of the post.
pub(super) async fn fan_out(
    it: &Inbound<'_>,
    connection: &mut PgConnection,
    status: &Status,
) -> Result<(), Halt> {
    let message = Message::FanoutStatus {
        status_id: status.id,
    };
    let queue = it.deps.queues.fanout();
    it.deps.outbox.add(connection, &queue, &message).await?;
    Ok(())
}

/// An actor speaks for its own posts, at its own origin, and never for ours (B1, B10, B11).
fn own(it: &Inbound<'_>, note: &RemoteNote) -> Result<(), Halt> {
    if it.deps.instance.owns(&note.uri) || !same_origin(&note.uri, &it.actor.uri) {
        return Err(Halt::Refused("the post is of another origin"));
    }
    if note.attributed_to != it.actor.uri {
        return Err(Halt::Refused("the post is somebody else's"));
    }
    Ok(())
}

/// Whether the post is here or was.
pub(super) async fn is_known(it: &Inbound<'_>, uri: &str) -> Result<bool, Halt> {
    Ok(sqlx::query_scalar(
        "select exists (select 1 from statuses where uri = $1)
             or exists (select 1 from tombstones where uri = $1)",
    )
    .bind(uri)
    .fetch_one(&it.deps.pool)
    .await?)
}

/// The accounts that the note names, the unknown ones fetched within the budget.
async fn mentions(
    it: &Inbound<'_>,
    note: &RemoteNote,
    addressed: &Addressed,
) -> Result<Vec<i64>, Halt> {
    let mut ids = addressed.mentioned.clone();
    let mut resolver = Resolver::new(it);
    for uri in &note.mentions {
        if it.deps.instance.owns(uri) {
            continue;
        }
        if let Some(account) = resolver.account_if_possible(uri).await? {
            ids.push(account.id);
        }
    }
    Ok(ids)
}

async fn add_mentions(
    connection: &mut PgConnection,
    status_id: i64,
    accounts: &[i64],
) -> Result<(), Halt> {
    sqlx::query(
        "insert into mentions (status_id, account_id)
         select $1, unnest($2::bigint[]) on conflict do nothing",
    )
    .bind(status_id)
    .bind(accounts)
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_silent(
    connection: &mut PgConnection,
    status_id: i64,
    accounts: &[i64],
) -> Result<(), Halt> {
    sqlx::query(
        "insert into mentions (status_id, account_id, silent)
         select $1, unnest($2::bigint[]), true on conflict do nothing",
    )
    .bind(status_id)
    .bind(accounts)
    .execute(connection)
    .await?;
    Ok(())
}
