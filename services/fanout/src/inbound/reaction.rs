//! Reactions to posts: Like and Announce.

use tidegate_federation::parse::Activity;
use tidegate_model::Visibility;
use tidegate_store::notifications::{self, NotificationKind};
use tidegate_store::statuses::{self, Status};
use tidegate_store::{accounts, favourites};

use super::context::{Halt, Inbound, Outcome, lock_thread};
use super::post;
use super::relevance::has_local_follower;
use super::resolve::{Resolver, followers_of};

/// Like: of a post of ours that the actor may see. Who likes what elsewhere is not kept.
pub(super) async fn like(it: &Inbound<'_>, uri: &str) -> Result<Outcome, Halt> {
    if !it.deps.instance.owns(uri) {
        return Ok(Outcome::Irrelevant);
    }
    let Some(status) = visible(it, uri).await? else {
        return Err(Halt::Refused("there is no such post for this actor"));
    };
    if !status.local || status.reblog_of_id.is_some() {
        return Ok(Outcome::Irrelevant);
    }
    let like = match it.id {
        Some(id) => id.to_owned(),
        None => format!("{}#likes/{}", it.actor.uri, status.id),
    };
    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    if let Some(favourite) =
        favourites::add(&mut transaction, it.actor.id, status.id, &like).await?
    {
        notifications::add(
            &mut transaction,
            status.account_id,
            NotificationKind::Favourite,
            favourite.id,
            it.actor.id,
            Some(status.id),
        )
        .await?;
    }
    it.commit(transaction).await
}

/// Announce: a boost of a post that anybody may read. An unknown post is fetched from its own
/// origin, and only when the boost concerns somebody here; what an Announce carries inline is
/// never looked at (B13).
pub(super) async fn announce(
    it: &Inbound<'_>,
    activity: &Activity,
    uri: &str,
) -> Result<Outcome, Halt> {
    let Some(id) = it.id else {
        return Err(Halt::Refused("a boost needs an id"));
    };
    if it.was_seen().await? || post::is_known(it, id).await? {
        return Ok(Outcome::Repeated);
    }
    let visibility = activity.addressing(followers_of(it.actor)).visibility;
    if visibility == Visibility::Direct {
        return Ok(Outcome::Irrelevant);
    }
    let is_ours = it.deps.instance.owns(uri);
    if !is_ours && !has_local_follower(&it.deps.pool, it.actor.id).await? {
        return Ok(Outcome::Irrelevant);
    }
    let Some(original) = original(it, uri).await? else {
        return Err(Halt::Refused("there is no such post for this actor"));
    };

    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    let row = accounts::next_id(&mut *transaction).await?;
    let boost = statuses::insert_reblog(
        &mut transaction,
        it.actor.id,
        false,
        &original,
        row,
        id,
        visibility,
    )
    .await?;
    if let Some(boost) = boost {
        post::fan_out(it, &mut transaction, &boost).await?;
    }
    it.commit(transaction).await
}

/// The post that is boosted: stored, or fetched and stored now without a fan-out of its own.
async fn original(it: &Inbound<'_>, uri: &str) -> Result<Option<Status>, Halt> {
    let is_open = |status: &Status| status.visibility().is_open() && status.reblog_of_id.is_none();
    if let Some(status) = visible(it, uri).await? {
        return Ok(Some(status).filter(is_open));
    }
    if it.deps.instance.owns(uri) || post::is_known(it, uri).await? {
        // Ours and gone, or not for this actor.
        return Ok(None);
    }
    let (note, author) = Resolver::new(it).note(uri).await?;
    // The author passes the same gate as the booster did (R13).
    if author.is_local() || author.suspended_at.is_some() || !note.addressing.visibility.is_open() {
        return Ok(None);
    }
    let mut transaction = tidegate_store::begin(&it.deps.pool).await?;
    lock_thread(&mut transaction, &note).await?;
    let parent = match &note.in_reply_to {
        Some(uri) => statuses::by_uri(&mut *transaction, uri).await?,
        None => None,
    };
    let stored =
        statuses::insert_remote(&mut transaction, &note, &author, &[], parent.as_ref()).await?;
    transaction.commit().await?;
    match stored {
        Some(status) => Ok(Some(status)),
        // Its id differs from the link, or somebody was quicker.
        None => Ok(visible(it, &note.uri).await?.filter(is_open)),
    }
}

/// The post with this id, if the actor may read it.
async fn visible(it: &Inbound<'_>, uri: &str) -> Result<Option<Status>, Halt> {
    let Some(status) = statuses::by_uri(&it.deps.pool, uri).await? else {
        return Ok(None);
    };
    let seen = statuses::visible(&it.deps.pool, &[status.id], Some(it.actor.id)).await?;
    Ok(seen.into_iter().next())
}
