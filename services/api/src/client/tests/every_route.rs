//! Every route of the whole router, from the tables that it is made from and compared with, and
//! who may pass at each.

use crate::auth::Scope;
use crate::client::routes::{Answer, ROUTES};
use crate::coverage;

/// Who may pass.
#[derive(Debug, Clone, Copy)]
pub(super) enum Door {
    /// Tokens are not looked at. With the status that everybody gets for the example, if it is
    /// not 200.
    Open(u16),
    /// Anybody; a token that comes along must be valid and hold one of these.
    Anybody(&'static [Scope]),
    /// A person who may act, with a token that holds one of these.
    Person(&'static [Scope]),
    /// A rule of its own: the statuses in the order of `KINDS`.
    Own(&'static [Scope], [u16; 14]),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) door: Door,
    pub(super) answer: Answer,
}

impl Route {
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(super) fn writes(&self) -> bool {
        self.method != "GET"
    }

    pub(super) fn scopes(&self) -> &'static [Scope] {
        match self.door {
            Door::Open(_) => &[],
            Door::Anybody(scopes) | Door::Person(scopes) | Door::Own(scopes, _) => scopes,
        }
    }
}

/// All of them.
pub(super) fn every_route() -> Vec<Route> {
    let client = ROUTES.iter().map(|entry| Route {
        method: entry.method.as_str(),
        path: entry.path,
        door: match (entry.needs_user, entry.scopes.is_empty(), entry.answer) {
            (true, _, _) => Door::Person(entry.scopes),
            (false, true, Answer::Absent) => Door::Open(404),
            (false, true, _) => Door::Open(200),
            (false, false, _) => Door::Anybody(entry.scopes),
        },
        answer: entry.answer,
    });
    let others = coverage::others().map(|(method, path)| Route {
        method,
        path,
        door: door(method, path),
        answer: Answer::Built,
    });
    client.chain(others).collect()
}

/// Of the routes beside the client API. Forms without a browser's cookie, apps without their
/// secret and activities without a signature are refused whatever token comes along.
fn door(method: &str, path: &str) -> Door {
    const READ: &[Scope] = &[Scope::Read, Scope::ReadAccounts];
    const WRITE: &[Scope] = &[Scope::Write, Scope::WriteAccounts];
    const PROFILE: &[Scope] = &[Scope::Profile];
    match (method, path) {
        ("GET", "/api/v1/apps/verify_credentials") => Door::Own(
            &[],
            [
                401, 401, 401, 401, 401, 401, 401, 200, 200, 200, 200, 200, 200, 200,
            ],
        ),
        ("POST", "/api/v1/accounts") => Door::Own(
            WRITE,
            [
                401, 401, 401, 401, 401, 401, 401, 403, 403, 200, 403, 403, 403, 403,
            ],
        ),
        // Whose sign-up another app made is told so, whatever their state.
        ("POST", "/api/v1/emails/confirmations") => Door::Own(
            WRITE,
            [
                401, 401, 401, 401, 401, 401, 401, 403, 403, 422, 403, 403, 403, 403,
            ],
        ),
        ("GET", "/api/v1/emails/check_confirmation") => Door::Own(
            READ,
            [
                401, 401, 401, 401, 401, 401, 401, 403, 403, 422, 200, 200, 200, 200,
            ],
        ),
        ("GET" | "POST", "/oauth/userinfo") => Door::Person(PROFILE),
        ("POST", "/api/v1/apps") => Door::Open(200),
        // Without the parameters of a request.
        ("GET", "/oauth/authorize") => Door::Open(400),
        ("GET", "/auth/confirmation") => Door::Open(422),
        ("POST", "/oauth/token" | "/inbox" | "/actor/inbox" | "/users/{name}/inbox") => {
            Door::Open(401)
        }
        // The node makes the instance's own actor when it starts; here nobody did.
        ("GET", "/actor") => Door::Open(404),
        ("POST" | "DELETE", _) => Door::Open(403),
        _ => Door::Open(200),
    }
}
