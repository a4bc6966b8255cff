//! What must be fetched from remote servers to take an activity in, through the delivery role,
//! within a budget per activity (attack C13).

use std::time::Duration;

use tidegate_federation::parse::{self, Document};
use tidegate_model::{RemoteActor, RemoteNote, host_of, same_origin};
use tidegate_proto::delivery::v1::{FetchObjectRequest, FetchedObject};
use tidegate_proto::{EGRESS_CLASS, EGRESS_FORGERIES};
use tidegate_store::StoreError;
use tidegate_store::accounts::{self, Account};
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use super::context::{Halt, Inbound};
use crate::FanoutDeps;
use crate::metrics::IMPERSONATIONS;
use crate::trouble::Trouble;

/// Fetches per activity: more than any honest post mentions strangers, few enough that an
/// activity is no lever against other servers.
const MAX_FETCHES: u32 = 20;

/// For one fetch, as the delivery role's own deadline.
const FETCH_LIMIT: Duration = Duration::from_secs(15);

/// For all fetches of one activity: half of what the queue waits for.
const TOTAL_LIMIT: Duration = Duration::from_mins(1);

/// The budget of one activity, and of the origin that sent it.
pub(super) struct Resolver<'a> {
    deps: &'a FanoutDeps,
    sender: Option<String>,
    left: u32,
    until: Instant,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(it: &Inbound<'a>) -> Self {
        Self {
            deps: it.deps,
            sender: host_of(&it.actor.uri).ok(),
            left: MAX_FETCHES,
            until: Instant::now() + TOTAL_LIMIT,
        }
    }

    /// The account with this actor id, from the database or else from its origin.
    pub(super) async fn account(&mut self, uri: &str) -> Result<Account, Halt> {
        if let Some(account) = accounts::by_uri(&self.deps.pool, uri).await? {
            return Ok(account);
        }
        let document = self.fetch(uri).await?;
        let actor = parse::actor(&document)?;
        if actor.uri != uri {
            return Err(Halt::Refused("the actor has another id"));
        }
        store_actor(self.deps, &actor).await
    }

    /// Like [`Self::account`], but nothing depends on it: what cannot be had is left out.
    pub(super) async fn account_if_possible(&mut self, uri: &str) -> Result<Option<Account>, Halt> {
        match self.account(uri).await {
            Ok(account) => Ok(Some(account)),
            Err(Halt::Trouble(trouble)) => Err(trouble.into()),
            Err(_) => Ok(None),
        }
    }

    /// A post and its author, both from their own origin.
    pub(super) async fn note(&mut self, uri: &str) -> Result<(RemoteNote, Account), Halt> {
        let document = self.fetch(uri).await?;
        // First without the author's followers collection, only to learn who the author is.
        let anonymous = parse::note(&document, None, self.deps.clock.now())?;
        let author = self.account(&anonymous.attributed_to).await?;
        let note = parse::note(&document, followers_of(&author), self.deps.clock.now())?;
        Ok((note, author))
    }

    /// A document as its origin serves it now. Nothing is asked of our own host.
    async fn fetch(&mut self, url: &str) -> Result<Document, Halt> {
        if self.deps.instance.owns(url) {
            return Err(Halt::Refused("there is no such object here"));
        }
        let left = self.until.saturating_duration_since(Instant::now());
        if self.left == 0 || left.is_zero() {
            return Err(Halt::Refused("it needs too much from other servers"));
        }
        // Whose URL is unreadable was never let in; it gets nothing.
        let sender = self.sender.as_deref();
        if !sender.is_some_and(|host| self.deps.spending.spend(host)) {
            return Err(Halt::Unreachable("its origin asks for too much".to_owned()));
        }
        self.left -= 1;
        let mut request = Request::new(FetchObjectRequest {
            url: url.to_owned(),
        });
        let limit = FETCH_LIMIT.min(left);
        request.set_timeout(limit);
        let mut egress = self.deps.egress.clone();
        let answer = tokio::time::timeout(limit, egress.fetch_object(request))
            .await
            .map_err(|_| Halt::Unreachable("no answer in time".to_owned()))?
            .map_err(|status| halt(&status))?;
        let object = answer
            .into_inner()
            .object
            .ok_or(Halt::Refused("the delivery role answered with nothing"))?;
        believed(&object, url)
    }
}

/// The address that stands for an account's followers, if it names one.
pub(super) fn followers_of(account: &Account) -> Option<&str> {
    Some(account.followers_url.as_str()).filter(|url| !url.is_empty())
}

/// Reads a fetched document. The delivery role has checked it already (R1); that it speaks for
/// the origin that was asked is cheap to check once more where it is believed.
pub(crate) fn believed(object: &FetchedObject, asked: &str) -> Result<Document, Halt> {
    let document = Document::parse(&object.body)?;
    let id = document
        .id()
        .ok_or(Halt::Refused("the document has no id"))?;
    if id != object.final_url || !same_origin(id, asked) {
        IMPERSONATIONS.inc();
        return Err(Halt::Refused("the document speaks for another URL"));
    }
    Ok(document)
}

/// Whether asking again can help. Every answer about a remote server carries its class; without
/// one it is the way to our own delivery role that failed, which is no fault of the sender's.
pub(crate) fn halt(status: &Status) -> Halt {
    let ours = matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Unauthenticated
    );
    if ours && status.metadata().get(EGRESS_CLASS).is_none() {
        let message = status.message();
        return Trouble::Away(format!("the delivery role is not reachable: {message}")).into();
    }
    let class = status.metadata().get(EGRESS_CLASS);
    if class.is_some_and(|class| EGRESS_FORGERIES.iter().any(|forgery| class == forgery)) {
        IMPERSONATIONS.inc();
    }
    match status.code() {
        Code::NotFound if class.is_some_and(|class| class == "gone") => Halt::Gone,
        Code::NotFound => Halt::Refused("it is not there"),
        Code::InvalidArgument | Code::PermissionDenied | Code::FailedPrecondition => {
            Halt::Refused("it may not be fetched")
        }
        _ => Halt::Unreachable(status.message().to_owned()),
    }
}

/// Writes an actor down. One that deleted itself stays deleted.
pub(crate) async fn store_actor(deps: &FanoutDeps, actor: &RemoteActor) -> Result<Account, Halt> {
    let mut transaction = tidegate_store::begin(&deps.pool).await?;
    let account = match accounts::upsert_remote(&mut transaction, actor).await {
        Ok(account) => account,
        Err(StoreError::Conflict(_)) => {
            IMPERSONATIONS.inc();
            return Err(Halt::Refused("its handle or id belongs to somebody else"));
        }
        Err(error) => return Err(error.into()),
    };
    if account.deleted_at.is_some() {
        return Err(Halt::Refused("the account is deleted"));
    }
    transaction.commit().await?;
    Ok(account)
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataValue;

    use super::*;

    #[test]
    fn our_own_delivery_role_being_away_is_not_the_remote_server_s_fault() {
        let mut status = Status::unavailable("connection refused");
        assert!(matches!(halt(&status), Halt::Trouble(Trouble::Away(_))));
        let class = MetadataValue::from_static("timeout");
        status.metadata_mut().insert(EGRESS_CLASS, class);
        assert!(matches!(halt(&status), Halt::Unreachable(_)));
        assert!(matches!(
            halt(&Status::not_found("404")),
            Halt::Refused("it is not there")
        ));
        let mut status = Status::not_found("410");
        let class = MetadataValue::from_static("gone");
        status.metadata_mut().insert(EGRESS_CLASS, class);
        assert!(matches!(halt(&status), Halt::Gone));
    }
}
