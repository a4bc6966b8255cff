//! JSON, form and multipart: every route that writes takes all three, with the same outcome. The
//! same story is told in three worlds, once in each encoding, and then once without bodies, to
//! see that the bodies were read at all.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{Request, header};
use regex::{Captures, Regex};
use serde_json::{Value, json};
use tidegate_testkit::differences;
use url::form_urlencoded;

use super::every_route::{Route, every_route};
use super::stage::{Cast, Stage};
use super::world::World;
use super::writes::{Sender, Sent, Write, writes};
use crate::client::routes::Answer as Built;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    Form,
    Multipart,
    Nothing,
}

impl Encoding {
    fn content_type(self) -> Option<&'static str> {
        match self {
            Self::Json => Some("application/json"),
            Self::Form => Some("application/x-www-form-urlencoded"),
            Self::Multipart => Some("multipart/form-data; boundary=xyz"),
            Self::Nothing => None,
        }
    }

    fn encode(self, body: &Value) -> String {
        let pairs = pairs_of(body);
        match self {
            Self::Json => body.to_string(),
            Self::Form => form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&pairs)
                .finish(),
            Self::Multipart => {
                let part = |(name, value): &(String, String)| {
                    format!(
                        "--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                    )
                };
                let parts: String = pairs.iter().map(part).collect();
                format!("{parts}--xyz--\r\n")
            }
            Self::Nothing => String::new(),
        }
    }
}

/// The members as Rails' clients spell them in forms: `a[b]` for a map, `a[]` for a list, `a[0][b]`
/// for a list of maps.
fn pairs_of(body: &Value) -> Vec<(String, String)> {
    fn add(name: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    add(&format!("{name}[{key}]"), value, pairs);
                }
            }
            Value::Array(values) => {
                for (at, value) in values.iter().enumerate() {
                    let index = if value.is_object() {
                        at.to_string()
                    } else {
                        String::new()
                    };
                    add(&format!("{name}[{index}]"), value, pairs);
                }
            }
            Value::String(text) => pairs.push((name.to_owned(), text.clone())),
            other => pairs.push((name.to_owned(), other.to_string())),
        }
    }
    let mut pairs = Vec::new();
    for (name, value) in body.as_object().expect("a body is an object") {
        add(name, value, &mut pairs);
    }
    pairs
}

/// What came of a write.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    /// The body and where it leads, without what differs from world to world.
    answer: String,
    /// Tables that changed, and by how many rows.
    traces: Vec<String>,
    /// What the other roles were asked.
    calls: Vec<String>,
}

/// Numbers in the order of appearance for ids, and the same word for all secrets and times.
struct Names {
    pattern: Regex,
    ids: HashMap<String, usize>,
}

impl Names {
    fn new() -> Self {
        let pattern = r"\d{4}-\d\d-\d\dT[\d:.]+Z|[A-Za-z0-9_-]{43}|\d{10,}";
        Self {
            pattern: Regex::new(pattern).expect("a pattern"),
            ids: HashMap::new(),
        }
    }

    fn forget(&mut self, text: &str) -> String {
        let ids = &mut self.ids;
        let name = |found: &Captures<'_>| {
            let text = &found[0];
            // Ids are longer than a time in seconds, and shorter than a secret.
            if text.len() > 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
                let next = ids.len();
                format!("#{}", ids.entry(text.to_owned()).or_insert(next))
            } else {
                "something".to_owned()
            }
        };
        self.pattern.replace_all(text, name).into_owned()
    }
}

async fn send(world: &World, stage: &Stage, write: &Write, encoding: Encoding) -> (u16, String) {
    let bearer = match write.sender {
        Sender::Person => Some(stage.person.token.clone()),
        Sender::Newcomer => Some(stage.newcomer.token.clone()),
        Sender::App => Some(stage.app_token.clone()),
        Sender::Browser | Sender::Anybody | Sender::Server => None,
    };
    let mut request = Request::builder().method(write.method()).uri(&write.path);
    if let Some(token) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if write.sender == Sender::Browser {
        let cookie = format!("__Host-tidegate_session={}", stage.session);
        request = request.header(header::COOKIE, cookie);
    }
    if let Some(content_type) = encoding.content_type() {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let body = Body::from(encoding.encode(&write.body()));
    let answer = world.send(request.body(body).expect("a request")).await;
    let location = answer.headers.get(header::LOCATION);
    let location = location.map(|value| value.to_str().expect("text").to_owned());
    (
        answer.status.as_u16(),
        json!([answer.body, location]).to_string(),
    )
}

/// Tells the whole story in one encoding.
async fn story(encoding: Encoding) -> Vec<(&'static str, Sent, Outcome)> {
    let world = World::new().await;
    let cast = Cast::enter(&world).await;
    let stage = Stage::set(&world, &cast, "ada").await;
    let mut names = Names::new();
    let mut outcomes = Vec::new();
    for write in writes(&stage) {
        if write.sender == Sender::Server {
            continue;
        }
        let before = world.traces().await;
        let calls = world.others.operators.calls().len();
        let (status, answer) = send(&world, &stage, &write, encoding).await;
        let outcome = Outcome {
            status,
            answer: names.forget(&answer),
            traces: differences(&before, &world.traces().await),
            calls: world.others.operators.calls()[calls..]
                .iter()
                .map(|call| names.forget(call))
                .collect(),
        };
        outcomes.push((write.route, write.sent, outcome));
    }
    outcomes
}

#[tokio::test]
async fn every_write_takes_json_forms_and_multipart_alike() {
    let json = Box::pin(story(Encoding::Json)).await;
    let form = Box::pin(story(Encoding::Form)).await;
    let multipart = Box::pin(story(Encoding::Multipart)).await;
    let nothing = Box::pin(story(Encoding::Nothing)).await;
    for (at, (route, sent, outcome)) in json.iter().enumerate() {
        assert!(outcome.status < 400, "{route}: {outcome:?}");
        assert_eq!(outcome, &form[at].2, "{route} as a form");
        assert_eq!(outcome, &multipart[at].2, "{route} as multipart");
        if matches!(sent, Sent::Read(_)) {
            assert_ne!(outcome, &nothing[at].2, "{route} does not read its body");
        }
    }
}

#[tokio::test]
async fn what_is_not_built_says_so_in_every_encoding() {
    let world = World::new().await;
    let cast = Cast::enter(&world).await;
    let stage = Stage::set(&world, &cast, "ada").await;
    let unbuilt = |route: &Route| route.writes() && route.answer != Built::Built;
    for route in every_route().into_iter().filter(unbuilt) {
        for encoding in [Encoding::Json, Encoding::Form, Encoding::Multipart] {
            let before = world.traces().await;
            let request = Request::builder()
                .method(route.method)
                .uri(stage.fill(route.path))
                .header(
                    header::AUTHORIZATION,
                    format!("Bearer {}", stage.person.token),
                )
                .header(header::CONTENT_TYPE, encoding.content_type().expect("one"))
                .body(Body::from(
                    encoding.encode(&json!({ "title": "x", "id": [1, 2] })),
                ))
                .expect("a request");
            let answer = world.send(request).await;
            let name = format!("{} as {encoding:?}", route.name());
            assert_eq!(answer.status.as_u16(), 501, "{name}");
            let traces = differences(&before, &world.traces().await);
            assert!(traces.is_empty(), "{name} left traces: {traces:?}");
        }
    }
}

#[tokio::test]
async fn every_built_write_has_an_example() {
    let world = World::new().await;
    let cast = Cast::enter(&world).await;
    let stage = Stage::set(&world, &cast, "ada").await;
    let mut examples: Vec<&str> = writes(&stage).iter().map(|write| write.route).collect();
    let mut routes: Vec<String> = every_route()
        .iter()
        .filter(|route| route.writes() && route.answer == Built::Built)
        .map(Route::name)
        .collect();
    examples.sort_unstable();
    routes.sort();
    assert_eq!(examples, routes);
}
