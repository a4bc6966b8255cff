//! Posts of simulated actors: Create, Update, Delete, Announce.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Sent, Sim,
    actions::{activity, fresh_number},
};
use crate::{
    documents::{self, PUBLIC, with_context},
    error::SimError,
    world::{Actor, ActorRef, StoredNote},
};

/// To whom a post is addressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody.
    #[default]
    Public,
    /// Everybody who looks, but not public timelines.
    Unlisted,
    /// Followers and those mentioned.
    Private,
    /// Those mentioned.
    Direct,
}

/// A post to be made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostSpec {
    /// Content, HTML.
    pub html: String,
    /// To whom.
    pub visibility: Visibility,
    /// Actor URIs of those mentioned.
    pub mentions: Vec<String>,
    /// URI of the post that this one answers.
    pub in_reply_to: Option<String>,
    /// Content warning.
    pub summary: Option<String>,
    /// Hashtags, without the sign.
    pub hashtags: Vec<String>,
    /// `to` instead of what the visibility says.
    pub to: Option<Vec<String>>,
    /// `cc` instead of what the visibility says.
    pub cc: Option<Vec<String>>,
    /// Fields of the note to add or overwrite.
    pub extra: serde_json::Map<String, Value>,
}

impl PostSpec {
    /// A public post.
    pub fn public(html: &str) -> Self {
        Self {
            html: html.to_owned(),
            ..Self::default()
        }
    }

    /// A post of any visibility.
    pub fn with(html: &str, visibility: Visibility) -> Self {
        Self {
            html: html.to_owned(),
            visibility,
            ..Self::default()
        }
    }

    /// Mentions one more actor.
    #[must_use]
    pub fn mention(mut self, uri: &str) -> Self {
        self.mentions.push(uri.to_owned());
        self
    }

    /// Answers a post.
    #[must_use]
    pub fn reply_to(mut self, uri: &str) -> Self {
        self.in_reply_to = Some(uri.to_owned());
        self
    }

    fn addressing(&self, who: &ActorRef) -> (Vec<String>, Vec<String>) {
        let (public, followers) = (PUBLIC.to_owned(), who.followers());
        let mentioned = self.mentions.clone();
        let and = |first: String| std::iter::once(first).chain(mentioned.clone()).collect();
        let (to, cc) = match self.visibility {
            Visibility::Public => (vec![public], and(followers)),
            Visibility::Unlisted => (vec![followers], and(public)),
            Visibility::Private => (vec![followers], mentioned),
            Visibility::Direct => (mentioned, Vec::new()),
        };
        (self.to.clone().unwrap_or(to), self.cc.clone().unwrap_or(cc))
    }
}

/// A post that was made.
#[derive(Debug, Clone, Serialize)]
pub struct Posted {
    /// Id of the note.
    pub note: String,
    /// Its Create, and where that went.
    pub sent: Sent,
}

fn now() -> String {
    OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .expect("a date of this century can be written")
}

impl Sim {
    /// Posts, to followers (if they are addressed) and to those mentioned.
    pub async fn post(&self, who: &ActorRef, spec: &PostSpec) -> Result<Posted, SimError> {
        let actor = self.shared.world.actor(who)?;
        let (to, cc) = spec.addressing(who);
        let mut tags = Vec::new();
        let mut inboxes = Vec::new();
        for uri in &spec.mentions {
            let remote = self.lookup(who, uri).await?;
            let host = uri.split('/').nth(2).unwrap_or_default();
            let name = format!("@{}@{host}", remote.username);
            tags.push(json!({ "type": "Mention", "href": uri, "name": name }));
            inboxes.push(remote.recipient.preferred().to_owned());
        }
        for tag in &spec.hashtags {
            let href = format!("http://{}/tags/{tag}", who.host);
            tags.push(json!({ "type": "Hashtag", "href": href, "name": format!("#{tag}") }));
        }
        let addressed = |uri: &str| to.iter().chain(&cc).any(|other| other == uri);
        if addressed(&who.followers()) {
            inboxes.extend(Self::follower_inboxes(&actor));
        }
        inboxes.sort_unstable();
        inboxes.dedup();
        let id = format!("{}/notes/{}", who.uri, fresh_number());
        let mut object = json!({
            "id": id, "type": "Note", "attributedTo": who.uri, "url": id,
            "content": spec.html, "summary": spec.summary, "sensitive": spec.summary.is_some(),
            "inReplyTo": spec.in_reply_to, "published": now(), "to": to, "cc": cc, "tag": tags,
        });
        for (name, value) in &spec.extra {
            object[name] = value.clone();
        }
        actor.social().keep(StoredNote {
            id: id.clone(),
            object: object.clone(),
            public: addressed(PUBLIC),
            deleted: false,
            inboxes: inboxes.clone(),
        });
        let sent = self
            .deliver(who, &documents::create(&object), inboxes)
            .await?;
        Ok(Posted { note: id, sent })
    }

    /// Delivers the Create of a post once more, for example where it failed before.
    pub async fn repeat(
        &self,
        who: &ActorRef,
        note: &str,
        inboxes: Vec<String>,
    ) -> Result<Sent, SimError> {
        let actor = self.shared.world.actor(who)?;
        let create = {
            let social = actor.social();
            let stored = social.notes.iter().find(|stored| stored.id == note);
            stored.map(|stored| documents::create(&stored.object))
        };
        let create = create.ok_or_else(|| SimError::Unknown(note.to_owned()))?;
        self.deliver(who, &create, inboxes).await
    }

    /// Edits a post; goes where the post went and to all followers.
    pub async fn update(&self, who: &ActorRef, note: &str, html: &str) -> Result<Sent, SimError> {
        let actor = self.shared.world.actor(who)?;
        let (object, inboxes) = change_note(&actor, note, |stored| {
            stored.object["content"] = json!(html);
            stored.object["updated"] = json!(now());
        })?;
        let update = with_context(json!({
            "id": format!("{note}#updates/{}", fresh_number()),
            "type": "Update",
            "actor": who.uri,
            "to": object["to"],
            "cc": object["cc"],
            "object": object,
        }));
        self.deliver(who, &update, inboxes).await
    }

    /// Deletes a post; goes where the post went and to all followers.
    pub async fn delete(&self, who: &ActorRef, note: &str) -> Result<Sent, SimError> {
        let actor = self.shared.world.actor(who)?;
        let (_, inboxes) = change_note(&actor, note, |stored| stored.deleted = true)?;
        let delete = with_context(json!({
            "id": format!("{note}#delete"),
            "type": "Delete",
            "actor": who.uri,
            "to": [PUBLIC],
            "object": { "id": note, "type": "Tombstone" },
        }));
        self.deliver(who, &delete, inboxes).await
    }

    /// Boosts a post; goes to all followers and to its author.
    pub async fn announce(
        &self,
        who: &ActorRef,
        object: &str,
        author: &str,
    ) -> Result<Sent, SimError> {
        let actor = self.shared.world.actor(who)?;
        let mut inboxes = Self::follower_inboxes(&actor);
        inboxes.push(
            self.lookup(who, author)
                .await?
                .recipient
                .preferred()
                .to_owned(),
        );
        let mut announce = activity(who, "Announce", &json!(object));
        announce["published"] = json!(now());
        announce["to"] = json!([PUBLIC]);
        announce["cc"] = json!([who.followers(), author]);
        self.deliver(who, &announce, inboxes).await
    }

    /// Tells all followers that the profile changed.
    pub async fn update_profile(&self, who: &ActorRef) -> Result<Sent, SimError> {
        let actor = self.shared.world.actor(who)?;
        let document = self.actor_document(who).await?;
        let mut update = activity(who, "Update", &document);
        update["to"] = json!([PUBLIC]);
        self.deliver(who, &update, Self::follower_inboxes(&actor))
            .await
    }
}

/// Changes a stored note; gives it with the inboxes it concerns.
fn change_note(
    actor: &Actor,
    id: &str,
    change: impl FnOnce(&mut StoredNote),
) -> Result<(Value, Vec<String>), SimError> {
    let mut inboxes = Sim::follower_inboxes(actor);
    let mut social = actor.social();
    let note = social.notes.iter_mut().find(|note| note.id == id);
    let note = note.ok_or_else(|| SimError::Unknown(id.to_owned()))?;
    change(note);
    if !note.public {
        // A follower of today was not necessarily one of the addressed.
        inboxes.clear();
    }
    inboxes.extend(note.inboxes.iter().cloned());
    Ok((note.object.clone(), inboxes))
}
