//! Who is asking: bearer tokens, and the extractors that handlers name their need with.
//!
//! A handler takes [`User`] (a person who may act), [`MaybeUser`] (anybody, a person's eyes if a
//! token came along) or [`AppToken`] (any token, also an app's own), and then asks for its scope.

mod role;
mod scope;
mod token;

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};

pub(crate) use role::UserRole;
pub(crate) use scope::{Scope, is_subset, parse_list};
pub(crate) use token::{
    Caller, Person, TokenCache, bearer_of, caller_of, hash_token, random_token,
};

use crate::{
    error::{ApiError, ApiResult},
    state::App,
};

/// A person who is confirmed, approved and enabled, and the app that acts for them.
#[derive(Debug, Clone)]
pub(crate) struct User {
    /// The token's owner.
    pub(crate) person: Person,
    /// The token.
    pub(crate) caller: Arc<Caller>,
}

impl User {
    /// The local account that acts.
    pub(crate) fn account_id(&self) -> i64 {
        self.person.account_id
    }

    /// 403 unless the token holds `scope` or a parent of it.
    pub(crate) fn require(&self, scope: Scope) -> ApiResult<()> {
        self.caller.require_any(&[scope])
    }

    /// 403 unless the token holds one of `scopes` or a parent of one.
    pub(crate) fn require_any(&self, scopes: &[Scope]) -> ApiResult<()> {
        self.caller.require_any(scopes)
    }
}

impl FromRequestParts<App> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let token = bearer_of(&parts.headers).ok_or_else(ApiError::invalid_token)?;
        let caller = caller_of(app, token).await?;
        let person = caller.person.clone().ok_or_else(ApiError::needs_user)?;
        person.may_act()?;
        Ok(Self { person, caller })
    }
}

/// Anybody. A token that came along must be valid; a person who may not act yet sees what
/// anonymous visitors see.
#[derive(Debug, Clone)]
pub(crate) struct MaybeUser(Option<User>, Option<Arc<Caller>>);

impl MaybeUser {
    /// The account through whose eyes the answer is made.
    pub(crate) fn account_id(&self) -> Option<i64> {
        self.0.as_ref().map(User::account_id)
    }

    /// 403 when a token came along that holds none of `scopes`.
    pub(crate) fn require_any(&self, scopes: &[Scope]) -> ApiResult<()> {
        match &self.1 {
            Some(caller) => caller.require_any(scopes),
            None => Ok(()),
        }
    }

    /// 403 when a token came along without `scope`.
    pub(crate) fn require(&self, scope: Scope) -> ApiResult<()> {
        self.require_any(&[scope])
    }
}

impl FromRequestParts<App> for MaybeUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let Some(token) = bearer_of(&parts.headers) else {
            return Ok(Self(None, None));
        };
        let caller = caller_of(app, token).await?;
        let user = match &caller.person {
            Some(person) if person.disabled || person.suspended => {
                person.may_act()?;
                None
            }
            Some(person) => person.may_act().is_ok().then(|| User {
                person: person.clone(),
                caller: Arc::clone(&caller),
            }),
            None => None,
        };
        Ok(Self(user, Some(caller)))
    }
}

/// Any valid token: an app's own, or a person's in any state.
#[derive(Debug, Clone)]
pub(crate) struct AppToken(pub(crate) Arc<Caller>);

impl FromRequestParts<App> for AppToken {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let token = bearer_of(&parts.headers).ok_or_else(ApiError::invalid_token)?;
        Ok(Self(caller_of(app, token).await?))
    }
}
