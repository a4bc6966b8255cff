//! Taking in what other servers send. The signature was verified before; here is decided what
//! an activity may change (rules R1 to R4, R11, R13) and, in one transaction with the record of
//! its id, it is changed.
//!
//! An inline object is believed only of its actor's own origin and only about itself; everything
//! else is fetched from where it lives. Fetches come first, the transaction after.

mod context;
mod hint;
mod post;
mod profile;
mod reaction;
mod relation;
mod relevance;
mod resolve;
mod spending;
mod undo;

use std::time::Duration;

use tidegate_federation::parse::{Activity, ActivityKind, Object};
use tidegate_queue::Decision;
use tidegate_store::accounts::{self, Account};
use time::OffsetDateTime;

pub(crate) use context::{Halt, Outcome};
pub use hint::HeardFrom;
pub(crate) use resolve::{believed, halt, store_actor};
pub use spending::Spending;

use crate::FanoutDeps;
use crate::metrics::INBOUND;
use crate::trouble::doubled;
use context::Inbound;
use resolve::{Resolver, followers_of};

/// The first wait for a remote server that did not answer.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// The longest wait for it.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// After so long what needs that server is given up, as requests that wait for their key are
/// (design section 8).
const LIFETIME: time::Duration = time::Duration::hours(24);

/// The same for a message that does not tell when it came: about a day of the waits above.
const MAX_TRIES: u32 = 34;

/// How long a message has been tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    /// When it came first, in Unix seconds; 0 when that is not known.
    pub(crate) since: i64,
    /// How often it was delivered before.
    pub(crate) redeliveries: u32,
}

impl Tried {
    fn is_long_enough(self, now: OffsetDateTime) -> bool {
        if self.since > 0 {
            now.unix_timestamp() - self.since >= LIFETIME.whole_seconds()
        } else {
            self.redeliveries >= MAX_TRIES
        }
    }
}

/// One `Inbound` message.
pub(crate) async fn message(
    deps: &FanoutDeps,
    account_id: i64,
    body: &str,
    tried: Tried,
) -> Decision {
    let actor = match accounts::by_id(&deps.pool, account_id).await {
        Ok(Some(actor)) => actor,
        Ok(None) => {
            INBOUND.with_label_values(&["other", "unknown_actor"]).inc();
            return Decision::Done;
        }
        Err(error) => {
            return crate::trouble::Trouble::from(error).decide("inbound", tried.redeliveries);
        }
    };
    let taken = take(deps, &actor, body.as_bytes()).await;
    decide(taken, tried, deps.clock.now())
}

/// What becomes of a message that brought an activity.
fn decide((kind, taken): Taken, tried: Tried, now: OffsetDateTime) -> Decision {
    let (outcome, decision) = match taken {
        Ok(outcome) => (outcome.as_str(), Decision::Done),
        Err(Halt::Malformed(error)) => {
            tracing::debug!(%error, kind, "an activity cannot be read");
            ("malformed", Decision::Done)
        }
        Err(Halt::Refused(reason)) => {
            tracing::debug!(reason, kind, "an activity was refused");
            ("refused", Decision::Done)
        }
        Err(Halt::Gone) => ("refused", Decision::Done),
        // We said 202 to it: what is given up stays where an operator finds it.
        Err(Halt::Unreachable(error)) if tried.is_long_enough(now) => (
            "unreachable",
            Decision::Bury(format!("given up after {LIFETIME}: {error}")),
        ),
        Err(Halt::Unreachable(_)) => {
            let wait = doubled(FIRST_WAIT, tried.redeliveries, LONGEST_WAIT);
            ("retried", Decision::Retry(wait))
        }
        Err(Halt::Trouble(trouble)) => ("retried", trouble.decide("inbound", tried.redeliveries)),
    };
    INBOUND.with_label_values(&[kind, outcome]).inc();
    decision
}

/// The activity's type, as a metric names it, and how it ended.
pub(crate) type Taken = (&'static str, Result<Outcome, Halt>);

/// One activity of a verified actor.
pub(crate) async fn take(deps: &FanoutDeps, actor: &Account, body: &[u8]) -> Taken {
    let activity = match Activity::parse(body) {
        Ok(activity) => activity,
        Err(error) => return ("other", Err(error.into())),
    };
    let kind = name(&activity.kind);
    // Only the actor that signed acts (R4). The inbox has checked it; this is where it counts.
    if activity.actor != actor.uri || actor.is_local() {
        return (kind, Err(Halt::Refused("the actor did not sign it")));
    }
    // A suspended actor may only take back what it did (R13).
    let takes_back = matches!(
        activity.kind,
        ActivityKind::Delete | ActivityKind::Undo | ActivityKind::Reject | ActivityKind::Block
    );
    if actor.suspended_at.is_some() && !takes_back {
        return (kind, Err(Halt::Refused("the actor is suspended")));
    }
    if let Ok(host) = tidegate_model::host_of(&actor.inbox_url) {
        deps.heard_from.note(&deps.pool, &host).await;
    }
    let it = Inbound {
        deps,
        actor,
        id: activity.id.as_deref(),
    };
    (kind, apply(&it, &activity).await)
}

async fn apply(it: &Inbound<'_>, activity: &Activity) -> Result<Outcome, Halt> {
    let Some(object) = &activity.object else {
        return Ok(Outcome::Irrelevant);
    };
    let named = object.id();
    match activity.kind {
        ActivityKind::Create => post::create(it, &note(it, activity, object).await?).await,
        ActivityKind::Update if activity.is_about_its_actor() => {
            let Object::Inline(document) = object else {
                // Only named: the next refresh of the actor brings what changed.
                return Ok(Outcome::Irrelevant);
            };
            let profile = tidegate_federation::parse::actor(document)?;
            profile::update(it, &profile).await
        }
        ActivityKind::Update => post::update(it, &note(it, activity, object).await?).await,
        ActivityKind::Delete if activity.is_about_its_actor() => profile::delete(it).await,
        ActivityKind::Delete => post::delete(it, need(named)?).await,
        ActivityKind::Follow => relation::follow(it, need(named)?).await,
        ActivityKind::Accept => relation::accept(it, activity).await,
        ActivityKind::Reject => relation::reject(it, activity).await,
        ActivityKind::Block => relation::block(it, need(named)?).await,
        ActivityKind::Undo => undo::undo(it, activity).await,
        ActivityKind::Like => reaction::like(it, need(named)?).await,
        ActivityKind::Announce => reaction::announce(it, activity, need(named)?).await,
        ActivityKind::Other => Ok(Outcome::Irrelevant),
    }
}

/// The post that a Create or Update shows, or names for us to fetch.
async fn note(
    it: &Inbound<'_>,
    activity: &Activity,
    object: &Object,
) -> Result<tidegate_model::RemoteNote, Halt> {
    match object {
        Object::Inline(_) => Ok(activity.note(followers_of(it.actor), it.deps.clock.now())?),
        Object::Uri(uri) => {
            if !tidegate_model::same_origin(uri, &it.actor.uri) {
                return Err(Halt::Refused("the post is of another origin"));
            }
            Ok(Resolver::new(it).note(uri).await?.0)
        }
    }
}

fn need(id: Option<&str>) -> Result<&str, Halt> {
    id.ok_or(Halt::Refused("the object has no id"))
}

/// The type as metrics name it: never a word of the sender.
const fn name(kind: &ActivityKind) -> &'static str {
    match kind {
        ActivityKind::Create => "create",
        ActivityKind::Update => "update",
        ActivityKind::Delete => "delete",
        ActivityKind::Follow => "follow",
        ActivityKind::Accept => "accept",
        ActivityKind::Reject => "reject",
        ActivityKind::Undo => "undo",
        ActivityKind::Like => "like",
        ActivityKind::Announce => "announce",
        ActivityKind::Block => "block",
        ActivityKind::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(time::Duration::days(9));

    fn after(age: time::Duration, redeliveries: u32) -> Decision {
        let tried = Tried {
            since: (NOW - age).unix_timestamp(),
            redeliveries,
        };
        let taken = ("create", Err(Halt::Unreachable("no answer".to_owned())));
        decide(taken, tried, NOW)
    }

    #[test]
    fn an_activity_is_given_up_by_its_age_and_kept_among_the_dead() {
        assert_eq!(
            after(time::Duration::hours(23), 5_000),
            Decision::Retry(LONGEST_WAIT)
        );
        let Decision::Bury(reason) = after(time::Duration::hours(24), 3) else {
            panic!("it is given up");
        };
        assert!(reason.contains("no answer"), "{reason}");
    }

    #[test]
    fn one_that_does_not_tell_its_age_is_given_up_by_its_tries() {
        let decided = |redeliveries| {
            let taken = ("create", Err(Halt::Unreachable("no answer".to_owned())));
            decide(
                taken,
                Tried {
                    since: 0,
                    redeliveries,
                },
                NOW,
            )
        };
        assert_eq!(decided(0), Decision::Retry(FIRST_WAIT));
        assert!(matches!(decided(MAX_TRIES), Decision::Bury(_)));
    }
}
