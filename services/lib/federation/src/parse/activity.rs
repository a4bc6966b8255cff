//! Activities of others: who says what about which object, and whether it is theirs to say.

use super::{Document, ParseError, addressing::addressing, note::note, shape};
use serde_json::Value;
use tidegate_model::{Addressing, RemoteNote, same_origin};
use time::OffsetDateTime;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActivityKind {
    /// A new post.
    Create,
    /// A changed post or profile.
    Update,
    /// A post or an account is gone.
    Delete,
    /// A request to follow.
    Follow,
    /// A follow is granted.
    Accept,
    /// A follow is refused or taken away.
    Reject,
    /// Something done before is taken back.
    Undo,
    /// A favourite.
    Like,
    /// A boost.
    Announce,
    /// A block.
    Block,
    /// Anything else; to be ignored.
    Other,
}

impl ActivityKind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Create" => Self::Create,
            "Update" => Self::Update,
            "Delete" => Self::Delete,
            "Follow" => Self::Follow,
            "Accept" => Self::Accept,
            "Reject" => Self::Reject,
            "Undo" => Self::Undo,
            "Like" => Self::Like,
            "Announce" => Self::Announce,
            "Block" => Self::Block,
            _ => return None,
        })
    }
}

/// What it is done to.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// Only named. Also what came inline but is not the actor's to show: it must be fetched
    /// from its own origin.
    Uri(String),
    /// Shown, and the actor's own to show: of its origin, or an activity that stands in an
    /// Accept, Reject or Undo of it.
    Inline(Document),
}

impl Object {
    /// Its id, if it has one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Uri(uri) => Some(uri),
            Self::Inline(document) => document.id(),
        }
    }

    /// The activity that stands in an Accept, Reject or Undo.
    pub fn activity(&self) -> Option<Activity> {
        match self {
            Self::Uri(_) => None,
            Self::Inline(document) => Activity::read(document, false).ok(),
        }
    }
}

/// An activity, read; that its signer is its actor is for the caller to check
/// ([`Activity::actor`] against the key's owner) before anything else.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// What is done.
    pub kind: ActivityKind,
    /// Its id, of the actor's origin. Absent from some servers' lesser activities.
    pub id: Option<String>,
    /// Who does it.
    pub actor: String,
    /// To what.
    pub object: Option<Object>,
    document: Document,
}

impl Activity {
    /// Reads an activity and checks what needs no database:
    /// its id is of the actor's origin; an inline object of a Create, Update or Delete is of
    /// the actor's origin, too; an activity in an Undo is the actor's own; one in an Accept or
    /// Reject is aimed at the actor.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::of(&Document::parse(bytes)?)
    }

    /// The same of a document.
    pub fn of(document: &Document) -> Result<Self, ParseError> {
        Self::read(document, true)
    }

    fn read(document: &Document, outermost: bool) -> Result<Self, ParseError> {
        let kind = document
            .types()
            .find_map(ActivityKind::of)
            .unwrap_or(ActivityKind::Other);
        if document.types().next().is_none() {
            return Err(ParseError::Missing("type"));
        }
        let actor = shape::id(document.get("actor")).ok_or(ParseError::Missing("actor"))?;
        let id = document.id();
        if id.is_some_and(|id| !same_origin(id, actor)) {
            return Err(ParseError::Authority(
                "the id is of another origin than the actor",
            ));
        }
        let mut object = object(document.get("object"));
        if outermost {
            object = object
                .map(|object| believed(&kind, actor, object))
                .transpose()?;
        }
        let needs_object = kind != ActivityKind::Other;
        if needs_object && object.is_none() {
            return Err(ParseError::Missing("object"));
        }
        Ok(Self {
            id: id.map(str::to_owned),
            actor: actor.to_owned(),
            object,
            document: document.clone(),
            kind,
        })
    }

    /// Its own `to` and `cc`; `followers` as for [`super::addressing`].
    pub fn addressing(&self, followers: Option<&str>) -> Addressing {
        addressing(&self.document, followers)
    }

    /// When it was done, no later than `now`.
    pub fn published(&self, now: OffsetDateTime) -> OffsetDateTime {
        shape::time(self.document.get("published")).map_or(now, |at| at.min(now))
    }

    /// The post that a Create or Update shows inline, if its author is the actor itself.
    pub fn note(
        &self,
        followers: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<RemoteNote, ParseError> {
        let Some(Object::Inline(document)) = &self.object else {
            return Err(ParseError::Missing("object"));
        };
        let note = note(document, followers, now)?;
        if note.attributed_to != self.actor {
            return Err(ParseError::Authority("the post is by somebody else"));
        }
        Ok(note)
    }

    /// Whether it is a Delete or Update of the actor by itself, which from an unknown actor is
    /// dropped without a key fetch.
    pub fn is_about_its_actor(&self) -> bool {
        matches!(self.kind, ActivityKind::Delete | ActivityKind::Update)
            && self.object.as_ref().and_then(Object::id) == Some(self.actor.as_str())
    }
}

/// The object of an activity: a name, or an object with at least an id or a type.
fn object(value: &Value) -> Option<Object> {
    shape::each(value).find_map(|one| match one {
        Value::String(text) => shape::web_url(text).map(|uri| Object::Uri(uri.to_owned())),
        Value::Object(fields) if fields.contains_key("type") => {
            Document::of(one).map(Object::Inline)
        }
        other => shape::id(other).map(|uri| Object::Uri(uri.to_owned())),
    })
}

/// An inline object as far as its actor may show it.
fn believed(kind: &ActivityKind, actor: &str, object: Object) -> Result<Object, ParseError> {
    let Object::Inline(document) = &object else {
        return Ok(object);
    };
    let of_actor = |id: &str| same_origin(id, actor);
    match kind {
        ActivityKind::Create | ActivityKind::Update | ActivityKind::Delete => {
            let id = document.id().ok_or(ParseError::Missing("object id"))?;
            if !of_actor(id) {
                return Err(ParseError::Authority("the object is of another origin"));
            }
            Ok(object)
        }
        ActivityKind::Undo => {
            let inner = shape::id(document.get("actor"));
            if inner.is_some_and(|inner| inner != actor) {
                return Err(ParseError::Authority(
                    "only the actor takes back what it did",
                ));
            }
            Ok(object)
        }
        ActivityKind::Accept | ActivityKind::Reject => {
            let target = shape::id(document.get("object"));
            if target.is_some_and(|target| target != actor) {
                return Err(ParseError::Authority("only the followed answers a follow"));
            }
            Ok(object)
        }
        // A boost may carry the post; anything carried for another origin is only a name.
        _ => match document.id() {
            Some(id) if !of_actor(id) => Ok(Object::Uri(id.to_owned())),
            Some(_) => Ok(object),
            None => Err(ParseError::Missing("object id")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PUBLIC, document as doc};
    use proptest::prelude::*;
    use serde_json::json;

    const BOB: &str = "https://p.test/users/bob";
    const ADA: &str = "https://us.test/users/ada";

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_700_000_000).expect("a time")
    }

    fn read(value: &Value) -> Result<Activity, ParseError> {
        Activity::parse(value.to_string().as_bytes())
    }

    fn create(note: Value) -> Value {
        json!({
            "id": "https://p.test/a/1", "type": "Create", "actor": BOB, "to": PUBLIC, "object": note,
        })
    }

    fn note_by(author: &str, id: &str) -> Value {
        json!({"id": id, "type": "Note", "attributedTo": author, "content": "hi", "to": PUBLIC})
    }

    #[test]
    fn a_create_carries_its_authors_post() {
        let activity = read(&create(note_by(BOB, "https://p.test/1"))).expect("an activity");
        assert_eq!(activity.kind, ActivityKind::Create);
        assert_eq!(activity.id.as_deref(), Some("https://p.test/a/1"));
        assert_eq!(activity.note(None, now()).expect("a note").content, "hi");
        assert_eq!(activity.published(now()), now());
    }

    #[test]
    fn a_post_of_another_origin_or_author_is_refused() {
        for kind in ["Create", "Update", "Delete"] {
            let mut activity = create(note_by(BOB, "https://q.test/1"));
            activity["type"] = json!(kind);
            assert!(
                matches!(read(&activity), Err(ParseError::Authority(_))),
                "{kind}"
            );
        }
        let eve = create(note_by("https://p.test/users/eve", "https://p.test/1"));
        let eve = read(&eve).expect("an activity");
        assert!(matches!(
            eve.note(None, now()),
            Err(ParseError::Authority(_))
        ));
        let nameless = create(json!({"type": "Note", "attributedTo": BOB}));
        assert!(read(&nameless).is_err());
    }

    #[test]
    fn an_id_of_another_origin_is_refused() {
        let mut activity = create(note_by(BOB, "https://p.test/1"));
        activity["id"] = json!("https://q.test/a/1");
        assert!(matches!(read(&activity), Err(ParseError::Authority(_))));
        activity["id"] = Value::Null;
        assert_eq!(read(&activity).expect("an activity").id, None);
    }

    #[test]
    fn a_boost_never_shows_what_is_not_its_own() {
        let boost = json!({
            "id": "https://p.test/a/2", "type": "Announce", "actor": BOB,
            "object": note_by("https://q.test/eve", "https://q.test/1"),
        });
        assert_eq!(
            read(&boost).expect("an activity").object,
            Some(Object::Uri("https://q.test/1".to_owned()))
        );
    }

    #[test]
    fn only_the_actor_undoes_and_only_the_followed_answers() {
        let follow = |actor: &str, object: &str| json!({"id": format!("{actor}#follows/1"), "type": "Follow", "actor": actor, "object": object});
        let wrap = |kind: &str, object: Value| {
            read(&json!({"id": "https://p.test/a/3", "type": kind, "actor": BOB, "object": object}))
        };
        let undo = wrap("Undo", follow(BOB, ADA)).expect("an activity");
        let inner = undo
            .object
            .and_then(|object| object.activity())
            .expect("inside");
        assert_eq!(inner.kind, ActivityKind::Follow);
        assert_eq!(
            inner
                .object
                .and_then(|one| one.id().map(str::to_owned))
                .as_deref(),
            Some(ADA)
        );
        assert!(wrap("Undo", follow(ADA, BOB)).is_err());
        for kind in ["Accept", "Reject"] {
            let answer = wrap(kind, follow(ADA, BOB)).expect("an activity");
            let inner = answer
                .object
                .and_then(|object| object.activity())
                .expect("inside");
            assert_eq!(inner.id, Some(format!("{ADA}#follows/1")));
            assert_eq!(inner.actor, ADA);
            assert!(wrap(kind, follow(ADA, "https://p.test/users/eve")).is_err());
            assert!(wrap(kind, json!("https://us.test/f/1")).is_ok());
        }
    }

    #[test]
    fn objects_come_in_every_shape() {
        for object in [
            json!(ADA),
            json!([ADA]),
            json!({"id": ADA}),
            json!({"id": ADA, "type": "Person"}),
        ] {
            let follow = json!({"id": "https://p.test/a", "type": ["Follow"], "actor": {"id": BOB}, "object": object});
            let activity = read(&follow).expect("an activity");
            assert_eq!(
                activity.object.as_ref().and_then(Object::id),
                Some(ADA),
                "{object}"
            );
            assert_eq!(activity.actor, BOB);
        }
    }

    #[test]
    fn what_is_incomplete_is_refused_and_what_is_unknown_is_other() {
        for value in [
            json!({}),
            json!({"type": "Create", "actor": BOB}),
            json!({"type": "Follow", "object": ADA}),
            json!({"actor": BOB, "object": ADA}),
            json!({"type": "Like", "actor": "bob", "object": ADA}),
            json!({"type": "Like", "actor": BOB, "object": {"type": "Note"}}),
        ] {
            assert!(read(&value).is_err(), "{value}");
        }
        let other = read(&json!({"type": "EmojiReact", "actor": BOB})).expect("an activity");
        assert_eq!(other.kind, ActivityKind::Other);
    }

    #[test]
    fn self_deletes_are_known_in_every_shape() {
        for object in [json!(BOB), json!({"id": BOB, "type": "Person"})] {
            for kind in ["Delete", "Update"] {
                let value = json!({"type": kind, "actor": BOB, "object": object});
                assert!(read(&value).expect("an activity").is_about_its_actor());
            }
        }
        let post = json!({"type": "Delete", "actor": BOB, "object": "https://p.test/1"});
        assert!(!read(&post).expect("an activity").is_about_its_actor());
    }

    #[test]
    fn our_own_activities_read_back() {
        let us = tidegate_model::Instance::new(
            "us.test",
            &url::Url::parse("https://us.test").expect("a URL"),
        );
        let it = doc::Interaction {
            id: doc::interaction_id(&us, "ada", "follows", 1),
            actor: ADA.to_owned(),
            object: BOB.to_owned(),
        };
        for (value, kind) in [
            (doc::follow(&it), ActivityKind::Follow),
            (doc::undo_follow(&it), ActivityKind::Undo),
            (doc::like(&it), ActivityKind::Like),
            (doc::block(&it), ActivityKind::Block),
            (doc::delete_note(&us, "ada", 7), ActivityKind::Delete),
            (doc::delete_actor(&us, "ada"), ActivityKind::Delete),
        ] {
            let activity = read(&value).expect("an activity");
            assert_eq!(activity.kind, kind);
            assert_eq!(activity.actor, ADA);
        }
        let theirs = doc::Interaction {
            id: "https://p.test/f/1".to_owned(),
            actor: BOB.to_owned(),
            object: ADA.to_owned(),
        };
        let accept = read(&doc::accept_follow(&us, "ada", 3, &theirs)).expect("an activity");
        let inner = accept
            .object
            .and_then(|object| object.activity())
            .expect("inside");
        assert_eq!(inner.id.as_deref(), Some("https://p.test/f/1"));
    }

    proptest! {
        #[test]
        fn no_shape_panics(
            kind in "(Create|Undo|Accept|Announce|Delete|Other)",
            actor in prop_oneof![Just(json!(BOB)), Just(json!([BOB])), Just(json!(1)), Just(json!({"id": []}))],
            object in prop_oneof![
                Just(json!(null)), Just(json!([])), Just(json!([[[ADA]]])), Just(json!({"type": []})),
                Just(json!({"type": "Note", "id": ADA, "attributedTo": {"id": {"id": 1}}})),
                Just(json!({"type": "Follow", "actor": [], "object": {"object": {}}})),
                Just(note_by(BOB, "https://p.test/1")),
            ],
        ) {
            let value = json!({"type": kind, "actor": actor, "object": object});
            if let Ok(activity) = read(&value) {
                let _ = activity.note(None, now());
                let _ = activity.addressing(None);
                let _ = activity.object.and_then(|object| object.activity());
            }
        }
    }
}
