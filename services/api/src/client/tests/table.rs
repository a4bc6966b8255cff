//! Every row of the table, against the router.

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

#[tokio::test]
async fn tokens_open_what_their_scopes_reach_and_nothing_else() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let other_scope = world.token(Some(ada.id()), "admin:read").await;
    let everyday = world.token(Some(ada.id()), "read write push").await;
    let app_alone = world.token(None, "read write follow push profile").await;
    for entry in ROUTES {
        let name = format!("{} {}", entry.method.as_str(), entry.path);
        if entry.answer == Answer::Absent {
            continue;
        }
        let anonymous = ask(&world, entry, None).await.status;
        let invalid = ask(&world, entry, Some("nonsense")).await.status;
        let app = ask(&world, entry, Some(&app_alone)).await.status;
        if entry.needs_user {
            assert_eq!(anonymous, StatusCode::UNAUTHORIZED, "{name}");
            assert_eq!(invalid, StatusCode::UNAUTHORIZED, "{name}");
            assert_eq!(app, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        } else {
            assert_ne!(anonymous, StatusCode::UNAUTHORIZED, "{name}");
        }
        if !entry.scopes.is_empty() {
            let is_admins = entry.path.contains("/admin/");
            let token = if is_admins { &everyday } else { &other_scope };
            let outside = ask(&world, entry, Some(token)).await;
            assert_eq!(outside.status, StatusCode::FORBIDDEN, "{name}");
            assert_eq!(
                outside.body["error"], "This action is outside the authorized scopes",
                "{name}"
            );
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
