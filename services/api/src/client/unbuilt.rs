//! Routes that clients know and that hold nothing here, or are not built: true answers without
//! a handler of their own.

use axum::Json;
use axum::extract::State;
use axum::routing::{MethodRouter, on};
use serde_json::Value;

use super::routes::{Answer, Entry};
use crate::auth::{Caller, MaybeUser, User};
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// What answers an entry of the table that has no handler of its own; `None` for one that has.
pub(crate) fn handler(entry: &'static Entry) -> Option<MethodRouter<App>> {
    let filter = entry.method.filter();
    match entry.answer {
        Answer::Built => None,
        Answer::Empty(text) if entry.needs_user => Some(on(
            filter,
            move |State(_): State<App>, user: User| async move {
                require(&user.caller, entry)?;
                empty(text)
            },
        )),
        // As the built ones that anybody may read in full: tokens are not looked at.
        Answer::Empty(text) if entry.scopes.is_empty() => {
            Some(on(filter, move || async move { empty(text) }))
        }
        Answer::Empty(text) => Some(on(
            filter,
            move |State(_): State<App>, viewer: MaybeUser| async move {
                viewer.require_any(entry.scopes)?;
                empty(text)
            },
        )),
        Answer::Absent if entry.needs_user => Some(on(
            filter,
            move |State(_): State<App>, user: User| async move {
                require(&user.caller, entry)?;
                Err::<(), _>(ApiError::not_found())
            },
        )),
        Answer::Absent if entry.scopes.is_empty() => {
            Some(on(filter, || async { Err::<(), _>(ApiError::not_found()) }))
        }
        Answer::Absent => Some(on(
            filter,
            move |State(_): State<App>, viewer: MaybeUser| async move {
                viewer.require_any(entry.scopes)?;
                Err::<(), _>(ApiError::not_found())
            },
        )),
        Answer::NotBuilt => Some(on(
            filter,
            move |State(_): State<App>, user: User| async move {
                require(&user.caller, entry)?;
                Err::<(), _>(ApiError::not_built())
            },
        )),
    }
}

/// An entry without scopes takes any token of a person.
fn require(caller: &Caller, entry: &Entry) -> ApiResult<()> {
    if entry.scopes.is_empty() {
        return Ok(());
    }
    caller.require_any(entry.scopes)
}

fn empty(text: &'static str) -> ApiResult<Json<Value>> {
    serde_json::from_str(text)
        .map(Json)
        .map_err(|error| ApiError::internal(&error))
}
