//! Which activity goes to whom, on which lane. The documents themselves are made by
//! `federation::document`.

use serde_json::Value;
use tidegate_federation::document::{self, Boost, Interaction, NoteDoc};
use tidegate_model::{Instance, Lane};
use tidegate_store::accounts::Account;
use tidegate_store::activities::{Audience, Draft, OrderKey};
use tidegate_store::follows::Follow;
use tidegate_store::statuses::Status;

/// What one account does to another, or to a post: the kinds that have an Undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Follow,
    Block,
    Like,
}

impl Deed {
    /// The word in the ids of such activities.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Follow => "follows",
            Self::Block => "blocks",
            Self::Like => "likes",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Follow => "Follow",
            Self::Block => "Block",
            Self::Like => "Like",
        }
    }
}

/// A deed from `actor` towards `target` (the author, for a Like), sent to that account alone.
pub(crate) fn deed(
    deed: Deed,
    actor: &Account,
    target: &Account,
    liked: Option<&Status>,
    uri: &str,
) -> Draft {
    let it = interaction(actor, target, liked, uri);
    let body = match deed {
        Deed::Follow => document::follow(&it),
        Deed::Block => document::block(&it),
        Deed::Like => document::like(&it),
    };
    to_one(
        deed.kind(),
        actor,
        target,
        order(actor, target, liked),
        body,
    )
}

/// The Undo of a deed that had the activity id `uri`.
pub(crate) fn undo(
    deed: Deed,
    actor: &Account,
    target: &Account,
    liked: Option<&Status>,
    uri: &str,
) -> Draft {
    let it = interaction(actor, target, liked, uri);
    let body = match deed {
        Deed::Follow => document::undo_follow(&it),
        Deed::Block => document::undo_block(&it),
        Deed::Like => document::undo_like(&it),
    };
    to_one("Undo", actor, target, order(actor, target, liked), body)
}

/// Yes to a follow of `actor` by `follower`.
pub(crate) fn accept(us: &Instance, actor: &Account, follower: &Account, follow: &Follow) -> Draft {
    let it = interaction(follower, actor, None, &follow.uri);
    let body = document::accept_follow(us, &actor.username, follow.id, &it);
    to_one(
        "Accept",
        actor,
        follower,
        order(actor, follower, None),
        body,
    )
}

/// No to a follow of `actor` by `follower`, asked for or accepted before.
pub(crate) fn reject(us: &Instance, actor: &Account, follower: &Account, follow: &Follow) -> Draft {
    let it = interaction(follower, actor, None, &follow.uri);
    let body = document::reject_follow(us, &actor.username, follow.id, &it);
    to_one(
        "Reject",
        actor,
        follower,
        order(actor, follower, None),
        body,
    )
}

/// A new post, to its author's followers unless it is direct, and to `named`.
pub(crate) fn create(us: &Instance, status: &Status, note: &NoteDoc, named: &[i64]) -> Draft {
    about("Create", status, document::create(us, note), named, false)
}

/// A changed post, also to everybody who got an earlier version.
pub(crate) fn update(us: &Instance, status: &Status, note: &NoteDoc, named: &[i64]) -> Draft {
    about(
        "Update",
        status,
        document::update_note(us, note),
        named,
        true,
    )
}

/// A deleted post, to everybody who got it or would get it now.
pub(crate) fn delete(us: &Instance, author: &Account, status: &Status, named: &[i64]) -> Draft {
    let body = document::delete_note(us, &author.username, status.id);
    about("Delete", status, body, named, true)
}

/// A boost, to the booster's followers and the original's author.
pub(crate) fn announce(us: &Instance, row: &Status, boost: &Boost, author: i64) -> Draft {
    about(
        "Announce",
        row,
        document::announce(us, boost),
        &[author],
        false,
    )
}

/// A boost taken back.
pub(crate) fn undo_announce(us: &Instance, row: &Status, boost: &Boost, author: i64) -> Draft {
    about(
        "Undo",
        row,
        document::undo_announce(us, boost),
        &[author],
        true,
    )
}

fn interaction(
    actor: &Account,
    target: &Account,
    liked: Option<&Status>,
    uri: &str,
) -> Interaction {
    Interaction {
        id: uri.to_owned(),
        actor: actor.uri.clone(),
        object: liked.map_or(&target.uri, |status| &status.uri).clone(),
    }
}

fn order(actor: &Account, target: &Account, liked: Option<&Status>) -> OrderKey {
    match liked {
        Some(status) => OrderKey::Like {
            account_id: actor.id,
            status_id: status.id,
        },
        None => OrderKey::Relation {
            from: actor.id,
            to: target.id,
        },
    }
}

/// Somebody waits for these, on either side.
fn to_one(
    kind: &'static str,
    actor: &Account,
    target: &Account,
    order: OrderKey,
    body: Value,
) -> Draft {
    draft(
        kind,
        actor.id,
        order,
        Lane::Now,
        &body,
        None,
        Audience {
            followers_of: None,
            accounts: vec![target.id],
            earlier_recipients: false,
        },
    )
}

/// Everything about one status takes one lane: mere followers can be served in bulk. Hosts of
/// people who are named in it wait for it, and get theirs in `now`; planning sees to that, host
/// by host.
fn about(
    kind: &'static str,
    status: &Status,
    body: Value,
    named: &[i64],
    earlier_recipients: bool,
) -> Draft {
    let reaches_followers = status.visibility().reaches_followers();
    draft(
        kind,
        status.account_id,
        OrderKey::Status(status.id),
        if reaches_followers {
            Lane::Bulk
        } else {
            Lane::Now
        },
        &body,
        Some(status.id),
        Audience {
            followers_of: reaches_followers.then_some(status.account_id),
            accounts: named.to_vec(),
            earlier_recipients,
        },
    )
}

/// An activity around `body`, whose `id` is the activity's.
pub(crate) fn draft(
    kind: &'static str,
    account_id: i64,
    order: OrderKey,
    lane: Lane,
    body: &Value,
    status_id: Option<i64>,
    audience: Audience,
) -> Draft {
    let uri = body["id"].as_str().unwrap_or_default().to_owned();
    let (bytes, digest) = document::to_body(body);
    Draft {
        uri,
        kind,
        account_id,
        order,
        lane,
        body: bytes,
        digest,
        status_id,
        audience,
    }
}
