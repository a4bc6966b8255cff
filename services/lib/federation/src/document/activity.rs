//! Activities: the envelopes, with the ids that receivers know from Mastodon. None of the ids
//! with a fragment can be fetched, and nobody expects it.

use super::{
    ActorDoc, NoteDoc, actor, audience, note, plain, timestamp, with_context, with_note_context,
};
use crate::PUBLIC;
use serde_json::{Value, json};
use tidegate_model::{Instance, Visibility};
use time::OffsetDateTime;

/// Somebody does something to an actor or a post: Follow, Like or Block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interaction {
    /// The activity's id, as it was or will be stored; one of ours from [`interaction_id`].
    pub id: String,
    /// Who does it.
    pub actor: String,
    /// To what.
    pub object: String,
}

/// The id of a local actor's own interaction: `kind` is `follows`, `likes` or `blocks`, `id`
/// the row's.
pub fn interaction_id(us: &Instance, username: &str, kind: &str, id: i64) -> String {
    format!("{}#{kind}/{id}", us.actor(username))
}

/// A local actor's boost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boost {
    /// The boost's own snowflake id.
    pub id: i64,
    /// Who boosts.
    pub username: String,
    /// The original post's id.
    pub object: String,
    /// The original author's id.
    pub author: String,
    /// The boost's visibility.
    pub visibility: Visibility,
    /// When.
    pub published: OffsetDateTime,
}

/// Create of a post.
pub fn create(us: &Instance, doc: &NoteDoc) -> Value {
    let audience = doc.audience(us);
    with_note_context(json!({
        "id": format!("{}/activity", us.status(&doc.username, doc.id)),
        "type": "Create",
        "actor": us.actor(&doc.username),
        "published": timestamp(doc.published),
        "to": audience.to,
        "cc": audience.cc,
        "object": note::body(us, doc),
    }))
}

/// Update of a post; its time is that of the edit.
pub fn update_note(us: &Instance, doc: &NoteDoc) -> Value {
    let audience = doc.audience(us);
    let at = doc.updated.unwrap_or(doc.published);
    let id = us.status(&doc.username, doc.id);
    with_note_context(json!({
        "id": format!("{id}#updates/{}", at.unix_timestamp()),
        "type": "Update",
        "actor": us.actor(&doc.username),
        "published": timestamp(at),
        "to": audience.to,
        "cc": audience.cc,
        "object": note::body(us, doc),
    }))
}

/// Update of a profile that was changed at `at`.
pub fn update_actor(us: &Instance, doc: &ActorDoc, at: OffsetDateTime) -> Value {
    let id = us.actor(&doc.username);
    with_context(
        actor::context(),
        json!({
            "id": format!("{id}#updates/{}", at.unix_timestamp()),
            "type": "Update",
            "actor": id,
            "to": [PUBLIC],
            "object": actor::body(us, doc),
        }),
    )
}

/// Delete of a post.
pub fn delete_note(us: &Instance, username: &str, status: i64) -> Value {
    let id = us.status(username, status);
    with_note_context(json!({
        "id": format!("{id}#delete"),
        "type": "Delete",
        "actor": us.actor(username),
        "to": [PUBLIC],
        "object": {"id": id, "type": "Tombstone", "atomUri": id},
    }))
}

/// Delete of an account.
pub fn delete_actor(us: &Instance, username: &str) -> Value {
    let id = us.actor(username);
    plain(json!({
        "id": format!("{id}#delete"),
        "type": "Delete",
        "actor": id,
        "to": [PUBLIC],
        "object": id,
    }))
}

/// Follow.
pub fn follow(follow: &Interaction) -> Value {
    plain(interaction("Follow", follow))
}

/// Accept of a follow of `username`, which carries the follower's original id. `row` is the
/// id of our row.
pub fn accept_follow(us: &Instance, username: &str, row: i64, follow: &Interaction) -> Value {
    answer(us, username, "Accept", "accepts", row, follow)
}

/// Reject of a follow of `username`, asked for or already accepted.
pub fn reject_follow(us: &Instance, username: &str, row: i64, follow: &Interaction) -> Value {
    answer(us, username, "Reject", "rejects", row, follow)
}

/// Undo of our follow.
pub fn undo_follow(follow: &Interaction) -> Value {
    undo("Follow", follow)
}

/// Like.
pub fn like(like: &Interaction) -> Value {
    plain(interaction("Like", like))
}

/// Undo of our like.
pub fn undo_like(like: &Interaction) -> Value {
    undo("Like", like)
}

/// Block.
pub fn block(block: &Interaction) -> Value {
    plain(interaction("Block", block))
}

/// Undo of our block.
pub fn undo_block(block: &Interaction) -> Value {
    undo("Block", block)
}

/// Announce: addressed as a post of that visibility, and to the original's author.
pub fn announce(us: &Instance, boost: &Boost) -> Value {
    plain(announce_body(us, boost))
}

/// Undo of our boost.
pub fn undo_announce(us: &Instance, boost: &Boost) -> Value {
    let actor = us.actor(&boost.username);
    plain(json!({
        "id": format!("{actor}#announces/{}/undo", boost.id),
        "type": "Undo",
        "actor": actor,
        "to": [PUBLIC],
        "object": announce_body(us, boost),
    }))
}

fn announce_body(us: &Instance, boost: &Boost) -> Value {
    let actor = us.actor(&boost.username);
    let followers = us.actor_endpoint(&boost.username, "followers");
    let mut audience = audience(boost.visibility, &followers, &[]);
    if boost.author != actor {
        audience.cc.push(boost.author.clone());
    }
    json!({
        "id": format!("{}/activity", us.status(&boost.username, boost.id)),
        "type": "Announce",
        "actor": actor,
        "published": timestamp(boost.published),
        "to": audience.to,
        "cc": audience.cc,
        "object": boost.object,
    })
}

fn interaction(kind: &str, it: &Interaction) -> Value {
    json!({"id": it.id, "type": kind, "actor": it.actor, "object": it.object})
}

fn undo(kind: &str, it: &Interaction) -> Value {
    plain(json!({
        "id": format!("{}/undo", it.id),
        "type": "Undo",
        "actor": it.actor,
        "object": interaction(kind, it),
    }))
}

fn answer(
    us: &Instance,
    username: &str,
    kind: &str,
    plural: &str,
    row: i64,
    follow: &Interaction,
) -> Value {
    let actor = us.actor(username);
    plain(json!({
        "id": format!("{actor}#{plural}/follows/{row}"),
        "type": kind,
        "actor": actor,
        "object": interaction("Follow", follow),
    }))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            actor::tests::ada,
            note::tests::hello,
            testing::{noon, us},
        },
        *,
    };

    const ADA: &str = "https://web.us.test/users/ada";
    const POST: &str = "https://web.us.test/users/ada/statuses/7";

    fn ours(kind: &str) -> Interaction {
        Interaction {
            id: interaction_id(&us(), "ada", kind, 5),
            actor: ADA.to_owned(),
            object: "https://b.test/bob".to_owned(),
        }
    }

    fn boost(visibility: Visibility) -> Boost {
        Boost {
            id: 9,
            username: "ada".to_owned(),
            object: "https://b.test/1".to_owned(),
            author: "https://b.test/bob".to_owned(),
            visibility,
            published: noon(),
        }
    }

    #[test]
    fn create_addresses_as_its_object_does() {
        for visibility in Visibility::ALL {
            let doc = create(&us(), &hello(visibility));
            assert_eq!(doc["id"], format!("{POST}/activity"));
            assert_eq!(doc["to"], doc["object"]["to"]);
            assert_eq!(doc["cc"], doc["object"]["cc"]);
            assert_eq!(doc["object"].get("@context"), None);
        }
    }

    #[test]
    fn updates_carry_their_time_in_the_id() {
        let edited = NoteDoc {
            updated: Some(noon()),
            ..hello(Visibility::Public)
        };
        assert_eq!(
            update_note(&us(), &edited)["id"],
            format!("{POST}#updates/1700000000")
        );
        let profile = update_actor(&us(), &ada(), noon());
        assert_eq!(profile["id"], format!("{ADA}#updates/1700000000"));
        assert_eq!(profile["object"]["id"], ADA);
        assert_eq!(profile["object"].get("@context"), None);
        assert!(profile["@context"].is_array());
    }

    #[test]
    fn deletes_name_what_is_gone() {
        let post = delete_note(&us(), "ada", 7);
        assert_eq!(post["id"], format!("{POST}#delete"));
        assert_eq!(
            post["object"],
            json!({"id": POST, "type": "Tombstone", "atomUri": POST})
        );
        let account = delete_actor(&us(), "ada");
        assert_eq!(account["object"], ADA);
        assert_eq!(account["to"], json!([PUBLIC]));
    }

    #[test]
    fn interactions_and_their_undoing_share_the_id() {
        type Build = fn(&Interaction) -> Value;
        let builders: [(&str, &str, Build, Build); 3] = [
            ("follows", "Follow", follow, undo_follow),
            ("likes", "Like", like, undo_like),
            ("blocks", "Block", block, undo_block),
        ];
        for (kind, name, make, undo) in builders {
            let made = make(&ours(kind));
            assert_eq!(made["id"], format!("{ADA}#{kind}/5"));
            assert_eq!(made["type"], name);
            let undone = undo(&ours(kind));
            assert_eq!(undone["id"], format!("{ADA}#{kind}/5/undo"));
            assert_eq!(undone["object"]["id"], made["id"]);
            assert_eq!(undone["object"]["type"], name);
            assert_eq!(undone["object"].get("@context"), None);
        }
    }

    #[test]
    fn answers_carry_the_original_follow() {
        let theirs = Interaction {
            id: "https://b.test/follows/1".to_owned(),
            actor: "https://b.test/bob".to_owned(),
            object: ADA.to_owned(),
        };
        let accept = accept_follow(&us(), "ada", 3, &theirs);
        assert_eq!(accept["id"], format!("{ADA}#accepts/follows/3"));
        assert_eq!(accept["actor"], ADA);
        assert_eq!(
            accept["object"],
            json!({"id": theirs.id, "type": "Follow", "actor": theirs.actor, "object": ADA})
        );
        let reject = reject_follow(&us(), "ada", 3, &theirs);
        assert_eq!(reject["id"], format!("{ADA}#rejects/follows/3"));
        assert_eq!(reject["type"], "Reject");
    }

    #[test]
    fn a_boost_reaches_the_original_author() {
        let public = announce(&us(), &boost(Visibility::Public));
        assert_eq!(
            public["id"],
            "https://web.us.test/users/ada/statuses/9/activity"
        );
        assert_eq!(public["to"], json!([PUBLIC]));
        assert_eq!(
            public["cc"],
            json!([format!("{ADA}/followers"), "https://b.test/bob"])
        );
        let own = Boost {
            author: ADA.to_owned(),
            ..boost(Visibility::Private)
        };
        assert_eq!(announce(&us(), &own)["cc"], json!([]));
        let undone = undo_announce(&us(), &boost(Visibility::Public));
        assert_eq!(undone["id"], format!("{ADA}#announces/9/undo"));
        assert_eq!(undone["object"]["id"], public["id"]);
        assert_eq!(undone["object"]["object"], "https://b.test/1");
    }
}
