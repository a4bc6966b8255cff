//! F3: every route of the router against every kind of token. Whoever is refused has changed
//! nothing, and reading changes nothing in any case.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tidegate_testkit::differences;

use super::every_route::{Door, Route, every_route};
use super::stage::{Cast, Stage, run};
use super::world::{Answer, World};
use super::writes::{Sender, Write, writes};
use crate::auth::{Scope, is_subset, random_token};
use crate::client::routes::Answer as Built;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    NotBearer,
    Malformed,
    TooLong,
    Unknown,
    Revoked,
    Deleted,
    WrongScope,
    AppWrongScope,
    AppOnly,
    Unconfirmed,
    Unapproved,
    Disabled,
    Suspended,
}

const KINDS: [Kind; 14] = [
    Kind::None,
    Kind::NotBearer,
    Kind::Malformed,
    Kind::TooLong,
    Kind::Unknown,
    Kind::Revoked,
    Kind::Deleted,
    Kind::WrongScope,
    Kind::AppWrongScope,
    Kind::AppOnly,
    Kind::Unconfirmed,
    Kind::Unapproved,
    Kind::Disabled,
    Kind::Suspended,
];

/// A person in this state, and the statement that brings them there.
const STATES: [(Kind, &str, &str); 5] = [
    (
        Kind::Unconfirmed,
        "update users set confirmed_at = null, last_active_at = null where account_id = $1",
        "Your login is missing a confirmed e-mail address",
    ),
    (
        Kind::Unapproved,
        "update users set approved = false, last_active_at = null where account_id = $1",
        "Your login is currently pending approval",
    ),
    (
        Kind::Disabled,
        "update users set disabled = true, last_active_at = null where account_id = $1",
        "Your login is currently disabled",
    ),
    (
        Kind::Suspended,
        "with one as (update users set last_active_at = null where account_id = $1)
         update accounts set suspended_at = now() where id = $1",
        "Your login is currently disabled",
    ),
    (
        Kind::Deleted,
        "with one as (update users set last_active_at = null where account_id = $1)
         update accounts set deleted_at = now() where id = $1",
        "The access token is invalid",
    ),
];

/// The people and tokens of all kinds.
struct Crowd {
    world: World,
    /// Who may act, and whose things are asked for where a kind has nobody of its own.
    ada: Stage,
    states: Vec<(Kind, Stage, String)>,
    revoked: String,
    app_only: String,
    /// For every set of scopes, a token of ada's and one of the app's.
    narrow: HashMap<String, [String; 2]>,
}

impl Crowd {
    async fn gather() -> Self {
        let world = World::new().await;
        let cast = Cast::enter(&world).await;
        let ada = Stage::set(&world, &cast, "ada").await;
        let mut states = Vec::new();
        for (kind, statement, _) in STATES {
            let name = format!("{kind:?}").to_lowercase();
            let stage = Stage::set(&world, &cast, &name).await;
            run(&world, statement, stage.person.id()).await;
            // A new one: of the old ones the router remembers for seconds who holds them.
            let token = world.token(Some(stage.person.id()), EVERYTHING).await;
            states.push((kind, stage, token));
        }
        let revoked = world.token(Some(ada.person.id()), EVERYTHING).await;
        sqlx::query("update tokens set revoked_at = now() where token_hash = $1")
            .bind(&crate::auth::hash_token(&revoked)[..])
            .execute(&world.db.pool)
            .await
            .expect("revokes");
        let app_only = world.token(None, EVERYTHING).await;
        let mut narrow = HashMap::new();
        for route in every_route() {
            if let Entry::Vacant(place) = narrow.entry(all_but(route.scopes())) {
                let hers = world.token(Some(ada.person.id()), place.key()).await;
                let apps = world.token(None, place.key()).await;
                place.insert([hers, apps]);
            }
        }
        Self {
            world,
            ada,
            states,
            revoked,
            app_only,
            narrow,
        }
    }

    fn stage(&self, kind: Kind) -> &Stage {
        let own = self.states.iter().find(|(of, _, _)| *of == kind);
        own.map_or(&self.ada, |(_, stage, _)| stage)
    }

    /// The header of this kind for the route.
    fn header(&self, kind: Kind, route: &Route) -> Option<String> {
        let narrow = &self.narrow[&all_but(route.scopes())];
        let token = match kind {
            Kind::None => return None,
            Kind::NotBearer => return Some("Basic YWRhOnNlY3JldA==".to_owned()),
            Kind::Malformed => "not a token, \"at all\"".to_owned(),
            Kind::TooLong => "x".repeat(4_096),
            Kind::Unknown => random_token(),
            Kind::Revoked => self.revoked.clone(),
            Kind::WrongScope => narrow[0].clone(),
            Kind::AppWrongScope => narrow[1].clone(),
            Kind::AppOnly => self.app_only.clone(),
            _ => {
                let own = self.states.iter().find(|(of, _, _)| *of == kind);
                own.expect("a person of the kind").2.clone()
            }
        };
        Some(format!("Bearer {token}"))
    }
}

const EVERYTHING: &str = "read write follow push profile admin:read admin:write";

/// Every scope there is, but for those that reach one of `needed`: the strictest of wrong tokens.
fn all_but(needed: &[Scope]) -> String {
    let reaches = |scope: Scope| {
        let held = [scope.as_str().to_owned()];
        needed
            .iter()
            .any(|one| is_subset(&[one.as_str().to_owned()], &held))
    };
    let rest: Vec<&str> = Scope::ALL
        .iter()
        .filter(|scope| !reaches(**scope))
        .map(|scope| scope.as_str())
        .collect();
    rest.join(" ")
}

/// What everybody gets who may pass.
fn fine(route: &Route) -> u16 {
    match route.answer {
        Built::Absent => 404,
        Built::NotBuilt => 501,
        Built::Built | Built::Empty(_) => 200,
    }
}

fn expected(route: &Route, kind: Kind) -> u16 {
    let at = KINDS.iter().position(|one| *one == kind).expect("a kind");
    match route.door {
        Door::Open(status) => status,
        Door::Own(_, statuses) => statuses[at],
        Door::Anybody(_) => match kind {
            Kind::Malformed | Kind::TooLong | Kind::Unknown | Kind::Revoked | Kind::Deleted => 401,
            Kind::WrongScope | Kind::AppWrongScope | Kind::Disabled | Kind::Suspended => 403,
            // The last two see what visitors see.
            Kind::None | Kind::NotBearer | Kind::AppOnly | Kind::Unconfirmed | Kind::Unapproved => {
                fine(route)
            }
        },
        Door::Person(scopes) => match kind {
            Kind::AppOnly | Kind::AppWrongScope => 422,
            Kind::WrongScope if scopes.is_empty() => fine(route),
            Kind::WrongScope
            | Kind::Unconfirmed
            | Kind::Unapproved
            | Kind::Disabled
            | Kind::Suspended => 403,
            _ => 401,
        },
    }
}

/// The sentence that goes with a refusal at the door of a person.
fn sentence(kind: Kind) -> &'static str {
    let of_state = STATES.iter().find(|(state, _, _)| *state == kind);
    match (kind, of_state) {
        (_, Some((_, _, sentence))) => sentence,
        (Kind::WrongScope, _) => "This action is outside the authorized scopes",
        (Kind::AppOnly | Kind::AppWrongScope, _) => "This method requires an authenticated user",
        _ => "The access token is invalid",
    }
}

/// The request of a kind: with everything that it needs to succeed but the credentials.
fn asked(route: &Route, stage: &Stage) -> (String, Option<Value>) {
    if !route.writes() || route.answer != Built::Built {
        let body = route.writes().then(|| json!({ "title": "anything" }));
        return (stage.fill(route.path), body);
    }
    let write = write_of(route, stage);
    let mut body = write.body();
    // Where an app's secret opens the door, it is a wrong one.
    if body.get("client_secret").is_some() {
        body["client_secret"] = json!("wrong");
    }
    (write.path, Some(body))
}

/// The example of a route; a built write without one has been forgotten.
fn write_of(route: &Route, stage: &Stage) -> Write {
    let name = route.name();
    writes(stage)
        .into_iter()
        .find(|write| write.route == name)
        .unwrap_or_else(|| panic!("writes.rs has no example for {name}"))
}

async fn send(world: &World, route: &Route, header: Option<String>, stage: &Stage) -> Answer {
    let (path, body) = asked(route, stage);
    let mut request = Request::builder().method(route.method).uri(path);
    if let Some(header) = header {
        request = request.header(header::AUTHORIZATION, header);
    }
    let body = match body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    world.send(request.body(body).expect("a request")).await
}

#[tokio::test]
async fn every_route_answers_every_token_as_the_table_says_and_keeps_no_trace() {
    let crowd = Box::pin(Crowd::gather()).await;
    let world = &crowd.world;
    let mut before = world.traces().await;
    // All at once, because one mistake at a door shows at many routes.
    let mut wrong = Vec::new();
    for route in every_route() {
        for kind in KINDS {
            let header = crowd.header(kind, &route);
            let answer = send(world, &route, header, crowd.stage(kind)).await;
            let name = format!("{} with {kind:?}", route.name());
            let (status, right) = (answer.status.as_u16(), expected(&route, kind));
            if status != right {
                wrong.push(format!("{name}: {status}, not {right}: {}", answer.body));
            }
            let refused = status >= 400;
            let at_the_door = matches!(status, 401 | 403 | 422);
            if at_the_door
                && matches!(route.door, Door::Person(_))
                && answer.body["error"] != sentence(kind)
            {
                wrong.push(format!("{name}: {}", answer.body));
            }
            let after = world.traces().await;
            if refused || !route.writes() {
                let traces = differences(&before, &after);
                if !traces.is_empty() {
                    wrong.push(format!("{name} left traces: {traces:?}"));
                }
            }
            before = after;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without this the test above could pass because its requests are nonsense.
#[tokio::test]
async fn what_is_refused_above_changes_something_for_who_may() {
    let crowd = Box::pin(Crowd::gather()).await;
    let world = &crowd.world;
    let ada = &crowd.ada;
    let routes = every_route();
    for route in &routes {
        if route.writes() || !matches!(route.door, Door::Person(_) | Door::Anybody(_)) {
            continue;
        }
        let header = format!("Bearer {}", ada.person.token);
        let answer = send(world, route, Some(header), ada).await;
        let name = route.name();
        assert_eq!(
            answer.status.as_u16(),
            fine(route),
            "{name}: {}",
            answer.body
        );
    }
    for write in writes(ada) {
        let route = routes.iter().find(|route| route.name() == write.route);
        let route = route.unwrap_or_else(|| panic!("there is no route {}", write.route));
        if write.sender != Sender::Person {
            continue;
        }
        let before = world.traces().await;
        let header = format!("Bearer {}", ada.person.token);
        let answer = send(world, route, Some(header), ada).await;
        assert_eq!(
            answer.status.as_u16(),
            200,
            "{}: {}",
            write.route,
            answer.body
        );
        let traces = differences(&before, &world.traces().await);
        // It tells who somebody is, by POST as well as by GET.
        let only_reads = write.route == "POST /oauth/userinfo";
        assert_eq!(
            traces.is_empty(),
            only_reads,
            "{} left {traces:?}",
            write.route
        );
    }
}

#[tokio::test]
async fn what_is_somebody_elses_is_not_touched() {
    let crowd = Box::pin(Crowd::gather()).await;
    let world = &crowd.world;
    let mallory = world.person("mallory").await;
    // The first sight of a person in a day is written down.
    world.get(&mallory, "/api/v1/preferences").await.ok();
    let theirs = [
        "PUT /api/v1/statuses/{id}",
        "DELETE /api/v1/statuses/{id}",
        "POST /api/v1/notifications/{id}/dismiss",
        "POST /api/v1/follow_requests/{id}/authorize",
        "POST /api/v1/follow_requests/{id}/reject",
    ];
    for route in every_route() {
        if !theirs.contains(&route.name().as_str()) {
            continue;
        }
        let before = world.traces().await;
        let header = format!("Bearer {}", mallory.token);
        let answer = send(world, &route, Some(header), &crowd.ada).await;
        assert_eq!(
            answer.status.as_u16(),
            404,
            "{}: {}",
            route.name(),
            answer.body
        );
        let traces = differences(&before, &world.traces().await);
        assert!(
            traces.is_empty(),
            "{} left traces: {traces:?}",
            route.name()
        );
    }
}
