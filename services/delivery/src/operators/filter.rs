//! Which deliveries an operator means.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_model::{DeliveryState, Instance, id_at};
use tidegate_store::accounts;
use time::OffsetDateTime;

use super::OperatorError;
use super::hosts::canonical;

/// Delivered rows are nearly all rows, and have no index of their own: without an activity or a
/// status they are looked for among those of one day, which is one partition or two.
const DELIVERED_WITHIN: Duration = Duration::from_hours(24);

/// Characters of a reason; ours have twenty.
const MAX_REASON: usize = 64;

/// Everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// `queued`, `parked`, `delivered`, `dead` or `cancelled`.
    pub state: Option<String>,
    /// The host that it goes to.
    pub host: Option<String>,
    /// A local account: its name, its handle or its URI.
    pub actor: Option<String>,
    /// The reason, in its exact spelling.
    pub reason: Option<String>,
    /// Since the activity was made.
    pub older_than: Option<Duration>,
    /// Since the activity was made.
    pub younger_than: Option<Duration>,
    /// The post that the activity is about.
    pub status_id: Option<i64>,
    /// The activity.
    pub activity_id: Option<i64>,
}

/// The same in terms of the database.
#[derive(Debug, Clone)]
pub(super) struct Narrowed {
    pub(super) states: Vec<DeliveryState>,
    pub(super) host: Option<String>,
    pub(super) account_id: Option<i64>,
    pub(super) reason: Option<String>,
    pub(super) status_id: Option<i64>,
    /// Ids of activities, both inclusive: an id tells when its activity was made.
    pub(super) from_id: i64,
    pub(super) to_id: i64,
}

impl Filter {
    /// Whether every delivery is meant.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As it is written down with an act.
    pub(super) fn in_words(&self) -> String {
        let mut words = Vec::new();
        let texts = [
            ("state", &self.state),
            ("host", &self.host),
            ("actor", &self.actor),
            ("reason", &self.reason),
        ];
        for (name, value) in texts {
            words.extend(value.as_ref().map(|value| format!("{name} {value}")));
        }
        let ages = [
            ("older than", self.older_than),
            ("younger than", self.younger_than),
        ];
        for (name, age) in ages {
            words.extend(age.map(|age| format!("{name} {} s", age.as_secs())));
        }
        for (name, id) in [("status", self.status_id), ("activity", self.activity_id)] {
            words.extend(id.map(|id| format!("{name} {id}")));
        }
        if words.is_empty() {
            return "all".to_owned();
        }
        // The table takes 1,000 characters; names are bounded, but not by us alone.
        words.join(", ").chars().take(1_000).collect()
    }

    /// Reads the filter for deliveries in one of `allowed`, or in `default` when no state is
    /// asked for. `what` names them in errors.
    pub(super) async fn narrow(
        &self,
        pool: &PgPool,
        instance: &Instance,
        default: &[DeliveryState],
        allowed: &[DeliveryState],
        what: &str,
    ) -> Result<Narrowed, OperatorError> {
        let states = self.states(default, allowed, what)?;
        if self
            .reason
            .as_ref()
            .is_some_and(|text| text.len() > MAX_REASON)
        {
            return Err(OperatorError::invalid("no reason is of that length"));
        }
        // Ids are made by the database, so its clock tells their age.
        let now: OffsetDateTime = sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(pool)
            .await?;
        let (from_id, to_id) = self.ids(now);
        let host = self.host.as_deref().map(canonical).transpose()?;
        let account_id = match &self.actor {
            Some(actor) => Some(account(pool, instance, actor).await?),
            None => None,
        };
        let narrowed = Narrowed {
            states,
            host,
            account_id,
            reason: self.reason.clone(),
            status_id: self.status_id,
            from_id,
            to_id,
        };
        self.check_delivered(&narrowed)?;
        Ok(narrowed)
    }

    fn states(
        &self,
        default: &[DeliveryState],
        allowed: &[DeliveryState],
        what: &str,
    ) -> Result<Vec<DeliveryState>, OperatorError> {
        let Some(text) = &self.state else {
            return Ok(default.to_vec());
        };
        let state = allowed.iter().find(|state| state.as_str() == text);
        state.map(|state| vec![*state]).ok_or_else(|| {
            let names: Vec<&str> = allowed.iter().map(|state| state.as_str()).collect();
            OperatorError::invalid(format!(
                "{what} deliveries that are {}, not \"{}\"",
                names.join(", "),
                text.chars()
                    .take(MAX_REASON)
                    .collect::<String>()
                    .escape_debug()
            ))
        })
    }

    /// The ids that the ages and the activity allow. Never beyond now: what is made while many
    /// rows are moved is not meant.
    fn ids(&self, now: OffsetDateTime) -> (i64, i64) {
        let ago = |age: Duration| {
            let age = time::Duration::try_from(age).unwrap_or(time::Duration::MAX);
            id_at(now.checked_sub(age).unwrap_or(OffsetDateTime::UNIX_EPOCH))
        };
        let from_id = self.younger_than.map_or(0, ago);
        // The last id of the millisecond.
        let to_id = self.older_than.map_or_else(|| id_at(now), ago) | 0xffff;
        match self.activity_id {
            Some(id) => (from_id.max(id), to_id.min(id)),
            None => (from_id, to_id),
        }
    }

    fn check_delivered(&self, narrowed: &Narrowed) -> Result<(), OperatorError> {
        let is_narrow = self.activity_id.is_some()
            || self.status_id.is_some()
            || self.younger_than.is_some_and(|age| age <= DELIVERED_WITHIN);
        if is_narrow || !narrowed.states.contains(&DeliveryState::Delivered) {
            return Ok(());
        }
        Err(OperatorError::invalid(
            "delivered ones are nearly all: name an activity or a status, or ask for those \
             younger than a day",
        ))
    }
}

/// The local account that is meant by `name`, `@name`, `name@domain` or a URI.
async fn account(pool: &PgPool, instance: &Instance, actor: &str) -> Result<i64, OperatorError> {
    let unknown = || {
        OperatorError::NotFound(format!(
            "there is no local account \"{}\": write a name like ada, or the URI of a local actor",
            actor
                .chars()
                .take(MAX_REASON)
                .collect::<String>()
                .escape_debug()
        ))
    };
    let found = if actor.contains("://") {
        accounts::by_uri(pool, actor).await?
    } else {
        let handle = actor.trim_start_matches('@');
        let name = match handle.split_once('@') {
            Some((name, domain)) if domain.eq_ignore_ascii_case(&instance.domain) => name,
            Some(_) => return Err(unknown()),
            None => handle,
        };
        accounts::by_handle(pool, name, None).await?
    };
    found
        .filter(|account| account.domain.is_none())
        .map(|account| account.id)
        .ok_or_else(unknown)
}
