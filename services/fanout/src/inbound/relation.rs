//! Relations: Follow and its answers, Block.

use serde_json::Value;
use sqlx::PgConnection;
use tidegate_federation::document::{self, Interaction};
use tidegate_federation::parse::Activity;
use tidegate_federation::signature::body_digest;
use tidegate_model::Lane;
use tidegate_store::accounts::{self, Account};
use tidegate_store::activities::{self, Audience, Draft, OrderKey};
use tidegate_store::follows::{self, Follow};
use tidegate_store::notifications::{self, NotificationKind};
use tidegate_store::{StoreError, blocks};

use super::context::{Halt, Inbound, Outcome};
use super::relevance::is_person_here;
use crate::trouble::Trouble;

/// Follow: granted at once unless the followed decides by hand; refused behind a block. A repeat
/// with a new id is answered anew, because its sender waits for that answer.
pub(super) async fn follow(it: &Inbound<'_>, target: &str) -> Result<Outcome, Halt> {
    let target = person_here(it, target).await?;
    // Without an id there is nothing that an answer could name.
    let Some(id) = it.id else {
        return Err(Halt::Refused("a follow needs an id"));
    };
    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    let request = Interaction {
        id: id.to_owned(),
        actor: it.actor.uri.clone(),
        object: target.uri.clone(),
    };
    if blocks::either_blocks(&mut *transaction, target.id, it.actor.id).await? {
        let us = &it.deps.instance;
        let body = document::reject_follow(us, &target.username, it.actor.id, &request);
        send(it, &mut transaction, &target, "Reject", &body).await?;
        return it.commit(transaction).await;
    }
    let accepted = !target.locked;
    let (follow, is_new) =
        match follows::request(&mut transaction, it.actor, &target, id, accepted).await {
            Ok(outcome) => outcome,
            Err(StoreError::Conflict(_)) => {
                return Err(Halt::Refused("another follow has this id"));
            }
            Err(error) => return Err(error.into()),
        };
    if follow.is_accepted() {
        let us = &it.deps.instance;
        let body = document::accept_follow(us, &target.username, follow.id, &request);
        send(it, &mut transaction, &target, "Accept", &body).await?;
    }
    if is_new {
        let kind = if follow.is_accepted() {
            NotificationKind::Follow
        } else {
            NotificationKind::FollowRequest
        };
        let from = it.actor.id;
        notifications::add(&mut transaction, target.id, kind, follow.id, from, None).await?;
    }
    it.commit(transaction).await
}

/// Accept: of a Follow that one of us sent to this very actor, and of nothing else (R11, B9).
pub(super) async fn accept(it: &Inbound<'_>, activity: &Activity) -> Result<Outcome, Halt> {
    let Some(follow) = our_follow(it, activity).await? else {
        return Err(Halt::Refused("nobody here asked"));
    };
    let outcome = match it.begin().await? {
        None => Outcome::Repeated,
        Some(mut transaction) => {
            follows::accept(&mut transaction, &follow).await?;
            it.commit(transaction).await?
        }
    };
    // The list lacks the posts of the newly followed. Also after a repeat: the first time may
    // have ended before this line.
    forget_home(it, follow.account_id).await?;
    Ok(outcome)
}

/// Reject: takes back a follow of ours, asked for or granted before.
pub(super) async fn reject(it: &Inbound<'_>, activity: &Activity) -> Result<Outcome, Halt> {
    let Some(follow) = our_follow(it, activity).await? else {
        return Err(Halt::Refused("nobody here asked"));
    };
    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    follows::remove(&mut transaction, follow.account_id, follow.target_id).await?;
    let outcome = it.commit(transaction).await?;
    // Readers leave out accounts that are not followed; the list only gets shorter.
    forget_home(it, follow.account_id).await?;
    Ok(outcome)
}

/// Block: ends follows both ways; reads and fan-out hide the two from each other from here on.
pub(super) async fn block(it: &Inbound<'_>, target: &str) -> Result<Outcome, Halt> {
    let target = person_here(it, target).await?;
    let uri = match it.id {
        Some(id) => id.to_owned(),
        None => format!("{}#blocks/{}", it.actor.uri, target.id),
    };
    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    match blocks::block(&mut transaction, it.actor.id, target.id, &uri).await {
        Ok(_) => {}
        Err(StoreError::Conflict(_)) => return Err(Halt::Refused("another block has this id")),
        Err(error) => return Err(error.into()),
    }
    let outcome = it.commit(transaction).await?;
    forget_home(it, target.id).await?;
    Ok(outcome)
}

/// The local account that an activity is aimed at.
pub(super) async fn person_here(it: &Inbound<'_>, uri: &str) -> Result<Account, Halt> {
    if !it.deps.instance.owns(uri) {
        return Err(Halt::Refused("it is aimed at nobody here"));
    }
    accounts::by_uri(&it.deps.pool, uri)
        .await?
        .filter(is_person_here)
        .ok_or(Halt::Refused("it is aimed at nobody here"))
}

/// The follow that an answer is about: by the Follow's id, or else by the two that it names.
/// Only one that goes from one of us to the actor that answers.
async fn our_follow(it: &Inbound<'_>, activity: &Activity) -> Result<Option<Follow>, Halt> {
    let Some(object) = &activity.object else {
        return Ok(None);
    };
    if let Some(id) = object.id()
        && let Some(follow) = follows::by_uri(&it.deps.pool, id).await?
    {
        return Ok(Some(follow)
            .filter(|follow| follow.target_id == it.actor.id && follow.inbox_id.is_none()));
    }
    let Some(request) = object.activity() else {
        return Ok(None);
    };
    let is_ours = it.deps.instance.owns(&request.actor);
    let is_theirs =
        request.object.as_ref().and_then(|object| object.id()) == Some(it.actor.uri.as_str());
    if !is_ours || !is_theirs {
        return Ok(None);
    }
    let Some(follower) = accounts::by_uri(&it.deps.pool, &request.actor).await? else {
        return Ok(None);
    };
    Ok(follows::between(&it.deps.pool, follower.id, it.actor.id).await?)
}

/// Sends an answer to the actor, in the transaction that it belongs to.
async fn send(
    it: &Inbound<'_>,
    connection: &mut PgConnection,
    from: &Account,
    kind: &'static str,
    body: &Value,
) -> Result<(), Halt> {
    let bytes = serde_json::to_vec(body).map_err(|error| Trouble::Failed(error.into()))?;
    let uri = body.get("id").and_then(Value::as_str).unwrap_or_default();
    let draft = Draft {
        uri: uri.to_owned(),
        kind,
        account_id: from.id,
        order: OrderKey::Relation {
            from: from.id,
            to: it.actor.id,
        },
        lane: Lane::Now,
        digest: body_digest(&bytes),
        body: bytes,
        status_id: None,
        audience: Audience {
            accounts: vec![it.actor.id],
            ..Audience::default()
        },
    };
    activities::enqueue(connection, &it.deps.outbox, &it.deps.queues, &draft).await?;
    Ok(())
}

/// Drops a home timeline, so that the next read builds it by the relations as they are now.
async fn forget_home(it: &Inbound<'_>, account_id: i64) -> Result<(), Halt> {
    it.deps
        .timelines
        .remove(&[account_id])
        .await
        .map_err(|error| Halt::Trouble(error.into()))
}
