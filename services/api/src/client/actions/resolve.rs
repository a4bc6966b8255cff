//! What is not known here is asked for where it lives, through the delivery role, and written
//! down. No connection is held while waiting.

use std::time::Duration;

use tidegate_federation::parse::{self, Document, Fetched, ParseError};
use tidegate_model::{RemoteActor, RemoteNote};
use tidegate_proto::delivery::v1::{FetchObjectRequest, FetchedObject, ResolveHandleRequest};
use tidegate_store::accounts::{self, Account};
use tidegate_store::statuses::{self, Status};
use tonic::{Request, Response, Status as RpcStatus};

use super::forgery;
use crate::client::handle::Handle;
use crate::error::ApiResult;
use crate::state::App;

/// How long somebody who searches waits for a remote server.
const DEADLINE: Duration = Duration::from_secs(10);

/// A profile that was fetched within this time is not asked for again. Mastodon's number.
const FRESH: time::Duration = time::Duration::days(1);

/// What a URL stands for.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Account(Account),
    Status(Status),
}

/// The account of a handle, asked for when it is remote and unknown or stale. `None` when there
/// is none, or its server does not answer.
pub(crate) async fn handle(app: &App, text: &str) -> ApiResult<Option<Account>> {
    let Some(handle) = Handle::parse(text, &app.deps.instance) else {
        return Ok(None);
    };
    let known =
        accounts::by_handle(&app.deps.pool, &handle.username, handle.domain.as_deref()).await?;
    let Some(spelled) = handle.remote() else {
        return Ok(known);
    };
    let fresh_from = app.deps.clock.now() - FRESH;
    if known
        .as_ref()
        .is_some_and(|account| account.fetched_at.is_some_and(|at| at > fresh_from))
    {
        return Ok(known);
    }
    Ok(remote(app, &spelled).await?.or(known))
}

/// Asks for the account of a remote handle, `user@domain`.
pub(crate) async fn remote(app: &App, handle: &str) -> ApiResult<Option<Account>> {
    let mut egress = app.deps.egress.clone();
    let request = with_deadline(ResolveHandleRequest {
        handle: handle.to_owned(),
    });
    let Some(answer) = answered(egress.resolve_handle(request)).await else {
        return Ok(None);
    };
    let Some(mut actor) = answer.actor.as_ref().and_then(read_actor) else {
        return Ok(None);
    };
    // Both the handle's domain and the actor's own host stand for this handle.
    if let Some((username, domain)) = answer.handle.split_once('@')
        && username.eq_ignore_ascii_case(&actor.username)
    {
        domain.clone_into(&mut actor.domain);
    }
    store_actor(app, &actor).await
}

/// The account or post behind a URL, whether it is ours, known, or has to be fetched.
pub(crate) async fn url(app: &App, url: &str) -> ApiResult<Option<Found>> {
    if let Some(found) = known(app, url).await? {
        return Ok(Some(found));
    }
    if app.deps.instance.owns(url) {
        return Ok(None);
    }
    let Some(document) = fetch(app, url).await else {
        return Ok(None);
    };
    if parse::is_post(&document) {
        Ok(take_note(app, &document).await?.map(Found::Status))
    } else {
        match parse::actor(&document) {
            Ok(actor) => Ok(store_actor(app, &actor).await?.map(Found::Account)),
            Err(_) => Ok(None),
        }
    }
}

/// By id, or by page: `https://here.test/@ada/7` is what people copy.
pub(crate) async fn known(app: &App, url: &str) -> ApiResult<Option<Found>> {
    let mut connection = app.deps.pool.acquire().await?;
    let status: Option<Status> = sqlx::query_as(
        "select * from statuses where uri = $1 and deleted_at is null and reblog_of_id is null",
    )
    .bind(url)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(status) = status {
        return Ok(Some(Found::Status(status)));
    }
    if let Some(account) = accounts::by_uri(&mut *connection, url).await? {
        return Ok(Some(Found::Account(account)));
    }
    let Some(path) = url
        .strip_prefix(app.deps.instance.base())
        .and_then(|rest| rest.strip_prefix("/@"))
    else {
        return Ok(None);
    };
    match path.split_once('/') {
        Some((_, id)) => match id.parse() {
            Ok(id) => Ok(statuses::by_id(&mut *connection, id)
                .await?
                .filter(|status| status.local)
                .map(Found::Status)),
            Err(_) => Ok(None),
        },
        None => Ok(accounts::by_handle(&mut *connection, path, None)
            .await?
            .map(Found::Account)),
    }
}

/// Takes in an open post, with its author when unknown. Others are not for whoever searches.
async fn take_note(app: &App, document: &Document) -> ApiResult<Option<Status>> {
    let now = app.deps.clock.now();
    let Ok(note) = parse::note(document, None, now) else {
        return Ok(None);
    };
    let author = match accounts::by_uri(&app.deps.pool, &note.attributed_to).await? {
        Some(author) => Some(author),
        None => match fetch(app, &note.attributed_to)
            .await
            .map(|found| parse::actor(&found))
        {
            Some(Ok(actor)) => store_actor(app, &actor).await?,
            _ => None,
        },
    };
    let Some(author) = author.filter(|author| !author.is_local() && author.suspended_at.is_none())
    else {
        return Ok(None);
    };
    let note = match parse::note(document, Some(&author.followers_url), now) {
        Ok(note) if note.addressing.visibility.is_open() => note,
        _ => return Ok(None),
    };
    store_note(app, &note, &author).await
}

async fn store_note(app: &App, note: &RemoteNote, author: &Account) -> ApiResult<Option<Status>> {
    let mut transaction = tidegate_store::begin(&app.deps.pool).await?;
    let parent = match &note.in_reply_to {
        Some(uri) => statuses::by_uri(&mut *transaction, uri).await?,
        None => None,
    };
    let mentions: Vec<i64> =
        sqlx::query_scalar("select id from accounts where uri = any($1) and deleted_at is null")
            .bind(&note.mentions)
            .fetch_all(&mut *transaction)
            .await?;
    let inserted =
        statuses::insert_remote(&mut transaction, note, author, &mentions, parent.as_ref()).await?;
    let status = match inserted {
        Some(status) => Some(status),
        // Somebody else was quicker; or it was deleted.
        None => statuses::by_uri(&mut *transaction, &note.uri).await?,
    };
    transaction.commit().await?;
    Ok(status)
}

async fn store_actor(app: &App, actor: &RemoteActor) -> ApiResult<Option<Account>> {
    if app.deps.instance.owns(&actor.uri) {
        return Ok(None);
    }
    let mut transaction = tidegate_store::begin(&app.deps.pool).await?;
    match accounts::upsert_remote(&mut transaction, actor).await {
        Ok(account) => {
            transaction.commit().await?;
            Ok(Some(account))
        }
        // The handle belongs to another actor: the one that is stored stays.
        Err(tidegate_store::StoreError::Conflict(_)) => {
            forgery::seen();
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn fetch(app: &App, url: &str) -> Option<Document> {
    let mut egress = app.deps.egress.clone();
    let request = with_deadline(FetchObjectRequest {
        url: url.to_owned(),
    });
    let answer = answered(egress.fetch_object(request)).await?;
    read(answer.object.as_ref()?)
}

fn with_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// The answer of the delivery role, or nothing: a search that cannot reach somebody's server
/// finds what is known here.
async fn answered<T>(call: impl Future<Output = Result<Response<T>, RpcStatus>>) -> Option<T> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(Ok(response)) => Some(response.into_inner()),
        Ok(Err(status)) => {
            forgery::seen_in(&status);
            tracing::debug!(code = ?status.code(), "a remote object was not fetched");
            None
        }
        Err(_) => {
            tracing::debug!("a remote object was not fetched in time");
            None
        }
    }
}

fn read_actor(object: &FetchedObject) -> Option<RemoteActor> {
    parse::actor(&read(object)?).ok()
}

/// A document that is what its id says (rule R1); delivery has checked it, and it costs nothing
/// to check where it is believed.
fn read(object: &FetchedObject) -> Option<Document> {
    let document = Document::parse(&object.body).ok()?;
    match parse::fetched(&document, &object.final_url) {
        Ok(Fetched::Believed) => Some(document),
        Ok(Fetched::Refetch(_)) | Err(ParseError::Authority(_)) => {
            forgery::seen();
            None
        }
        Err(_) => None,
    }
}
