//! Every row of the table, against the router. Tokens are the matter of `matrix`.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use super::world::World;
use crate::client::routes::{Answer, Entry, ROUTES};

/// The path with something in its places.
fn path_of(entry: &Entry) -> String {
    entry
        .path
        .split('/')
        .map(|part| if part.starts_with('{') { "1" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

async fn ask(world: &World, entry: &Entry, token: Option<&str>) -> super::world::Answer {
    let mut request = Request::builder()
        .method(entry.method.as_str())
        .uri(path_of(entry));
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    world
        .send(request.body(Body::empty()).expect("a request"))
        .await
}

#[tokio::test]
async fn every_route_is_there_and_says_how_far_it_is_built() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for entry in ROUTES {
        let name = format!("{} {}", entry.method.as_str(), entry.path);
        let answer = ask(&world, entry, Some(&ada.token)).await;
        assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{name}");
        assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{name}");
        match entry.answer {
            Answer::Built => assert_ne!(answer.status, StatusCode::NOT_IMPLEMENTED, "{name}"),
            Answer::Empty(text) => {
                assert_eq!(answer.status, StatusCode::OK, "{name}");
                assert_eq!(answer.body.to_string(), text, "{name}");
            }
            Answer::Absent => assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}"),
            Answer::NotBuilt => {
                assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{name}");
                assert!(answer.body["error"].is_string(), "{name}");
            }
        }
    }
}

#[test]
fn a_row_names_each_method_and_path_once() {
    let mut seen = std::collections::HashSet::new();
    for entry in ROUTES {
        assert!(
            seen.insert((entry.method.as_str(), entry.path)),
            "{} {}",
            entry.method.as_str(),
            entry.path
        );
    }
}
