//! Undo: of what the same actor did before, and of nothing else (B9).
//!
//! The id of what is undone is recorded as seen in the same transaction: when the Undo overtakes
//! it, the late original has no effect (B17).

use sqlx::PgConnection;
use tidegate_federation::parse::{Activity, ActivityKind, Object};
use tidegate_model::same_origin;
use tidegate_store::notifications::{self, NotificationKind};
use tidegate_store::{accounts, blocks, favourites, follows, statuses};

use super::context::{Halt, Inbound, Outcome, see};

/// Undo of a Follow, Like, Announce or Block.
pub(super) async fn undo(it: &Inbound<'_>, activity: &Activity) -> Result<Outcome, Halt> {
    let Some(object) = &activity.object else {
        return Err(Halt::Refused("nothing is undone"));
    };
    let undone = object.activity();
    if let Some(undone) = &undone
        && undone.actor != it.actor.uri
    {
        return Err(Halt::Refused("somebody else did it"));
    }
    let id = object.id();
    if let Some(id) = id
        && !same_origin(id, &it.actor.uri)
    {
        return Err(Halt::Refused("somebody else did it"));
    }
    let Some(mut transaction) = it.begin().await? else {
        return Ok(Outcome::Repeated);
    };
    let was_seen = match id {
        Some(id) => !see(&mut transaction, id, it.actor.id).await?,
        None => false,
    };
    let aimed_at = undone
        .as_ref()
        .and_then(|undone| undone.object.as_ref())
        .and_then(Object::id);
    let target = Target {
        id,
        was_seen,
        aimed_at,
    };
    // A bare id may stand for anything that its sender did.
    let kind = undone.as_ref().map(|undone| &undone.kind);
    let any = undone.is_none();
    let mut undone_something = false;
    if any || kind == Some(&ActivityKind::Follow) {
        undone_something |= undo_follow(it, &mut transaction, &target).await?;
    }
    if any || kind == Some(&ActivityKind::Like) {
        undone_something |= undo_like(it, &mut transaction, &target).await?;
    }
    if any || kind == Some(&ActivityKind::Announce) {
        undone_something |= undo_announce(it, &mut transaction, &target).await?;
    }
    if any || kind == Some(&ActivityKind::Block) {
        undone_something |= undo_block(it, &mut transaction, &target).await?;
    }
    it.commit(transaction).await?;
    Ok(if undone_something {
        Outcome::Applied
    } else {
        Outcome::Irrelevant
    })
}

/// What an Undo names.
struct Target<'a> {
    /// The undone activity's id.
    id: Option<&'a str>,
    /// Whether that activity was taken in here under this id.
    was_seen: bool,
    /// What the undone activity was aimed at.
    aimed_at: Option<&'a str>,
}

impl Target<'_> {
    /// Whether it means the row that carries `uri`. Some servers make a new id for what they
    /// undo; then the two that it connects decide. But an activity that was taken in under
    /// its id, while the row has another, was replaced since: the Undo comes late.
    fn means(&self, uri: &str) -> bool {
        self.id == Some(uri) || !self.was_seen
    }
}

async fn undo_follow(
    it: &Inbound<'_>,
    connection: &mut PgConnection,
    target: &Target<'_>,
) -> Result<bool, Halt> {
    let follow = match target.aimed_at {
        Some(uri) => match accounts::by_uri(&mut *connection, uri).await? {
            Some(followed) => follows::between(&mut *connection, it.actor.id, followed.id).await?,
            None => None,
        },
        None => match target.id {
            Some(id) => follows::by_uri(&mut *connection, id).await?,
            None => None,
        },
    };
    let Some(follow) = follow else {
        return Ok(false);
    };
    if follow.account_id != it.actor.id || !target.means(&follow.uri) {
        return Ok(false);
    }
    follows::remove(connection, follow.account_id, follow.target_id).await?;
    for kind in [NotificationKind::Follow, NotificationKind::FollowRequest] {
        notifications::withdraw(connection, kind, follow.id).await?;
    }
    Ok(true)
}

/// What the statement finds of the actor's (`$1`), by the activity's id (`$2`) or by what it was
/// aimed at (`$3`); `None` when it is not what is meant.
async fn meant(
    it: &Inbound<'_>,
    connection: &mut PgConnection,
    target: &Target<'_>,
    statement: &'static str,
) -> Result<Option<i64>, Halt> {
    let row: Option<(i64, String)> = sqlx::query_as(statement)
        .bind(it.actor.id)
        .bind(target.id)
        .bind(target.aimed_at)
        .fetch_optional(connection)
        .await?;
    Ok(row.filter(|(_, uri)| target.means(uri)).map(|(id, _)| id))
}

/// The post, of a Like.
const LIKED: &str = "
select f.status_id, f.uri from favourites f join statuses s on s.id = f.status_id
where f.account_id = $1 and (f.uri = $2 or s.uri = $3)
order by f.uri = $2 desc limit 1";

/// The boost, of an Announce.
const ANNOUNCED: &str = "
select b.id, b.uri from statuses b join statuses s on s.id = b.reblog_of_id
where b.account_id = $1 and b.deleted_at is null and (b.uri = $2 or s.uri = $3)
order by b.uri = $2 desc limit 1";

/// The account, of a Block.
const BLOCKED: &str = "
select b.target_id, b.uri from blocks b join accounts a on a.id = b.target_id
where b.account_id = $1 and (b.uri = $2 or a.uri = $3)
order by b.uri = $2 desc limit 1";

async fn undo_like(
    it: &Inbound<'_>,
    connection: &mut PgConnection,
    target: &Target<'_>,
) -> Result<bool, Halt> {
    let Some(status_id) = meant(it, connection, target, LIKED).await? else {
        return Ok(false);
    };
    if let Some(favourite) = favourites::remove(connection, it.actor.id, status_id).await? {
        notifications::withdraw(connection, NotificationKind::Favourite, favourite.id).await?;
    }
    Ok(true)
}

async fn undo_announce(
    it: &Inbound<'_>,
    connection: &mut PgConnection,
    target: &Target<'_>,
) -> Result<bool, Halt> {
    let Some(id) = meant(it, connection, target, ANNOUNCED).await? else {
        return Ok(false);
    };
    statuses::delete(connection, id).await?;
    Ok(true)
}

async fn undo_block(
    it: &Inbound<'_>,
    connection: &mut PgConnection,
    target: &Target<'_>,
) -> Result<bool, Halt> {
    let Some(target_id) = meant(it, connection, target, BLOCKED).await? else {
        return Ok(false);
    };
    blocks::unblock(connection, it.actor.id, target_id).await?;
    Ok(true)
}
