//! What operators ask of the delivery role, and who may.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Person, World};

/// Every request of the admin API, and whether it acts.
const REQUESTS: [(&str, &str, bool); 8] = [
    ("GET", "/api/tidegate/v1/admin/hosts", false),
    ("GET", "/api/tidegate/v1/admin/hosts/a.test", false),
    ("POST", "/api/tidegate/v1/admin/hosts/a.test/pause", true),
    ("POST", "/api/tidegate/v1/admin/hosts/a.test/resume", true),
    ("POST", "/api/tidegate/v1/admin/hosts/a.test/probe", true),
    ("GET", "/api/tidegate/v1/admin/deliveries", false),
    (
        "POST",
        "/api/tidegate/v1/admin/deliveries/replay?all=1",
        true,
    ),
    (
        "POST",
        "/api/tidegate/v1/admin/deliveries/purge?all=1",
        true,
    ),
];

async fn with_role(world: &World, name: &str, role: &str) -> Person {
    let person = world.person(name).await;
    sqlx::query("update users set role = $2 where account_id = $1")
        .bind(person.id())
        .bind(role)
        .execute(&world.db.pool)
        .await
        .expect("a role");
    person
}

/// Somebody with a role and a token for the admin API.
async fn operator(world: &World, name: &str, role: &str) -> (i64, String) {
    let person = with_role(world, name, role).await;
    let token = world
        .token(Some(person.id()), "admin:read admin:write")
        .await;
    (person.id(), token)
}

async fn ask(world: &World, method: &str, path: &str, token: Option<&str>) -> (StatusCode, Value) {
    let method: Method = method.parse().expect("a method");
    let answer = world.call(method, path, token, None).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn scope_and_role_both_decide_and_a_refusal_reaches_nobody() {
    let world = World::new().await;
    let scopes = [
        "read write",
        "admin:read:accounts",
        "admin:read",
        "admin:write",
    ];
    for role in ["user", "moderator", "admin", "owner"] {
        let person = with_role(&world, role, role).await;
        for scope in scopes {
            let token = world.token(Some(person.id()), scope).await;
            for (method, path, acts) in REQUESTS {
                let reaches = scope == if acts { "admin:write" } else { "admin:read" };
                let may = role != "user" && !(acts && role == "moderator");
                let before = world.others.operators.calls().len();
                let (status, body) = ask(&world, method, path, Some(&token)).await;
                let called = world.others.operators.calls().len() - before;
                let name = format!("{role} with {scope}: {method} {path}: {body}");
                if reaches && may {
                    assert_eq!((status, called), (StatusCode::OK, 1), "{name}");
                    continue;
                }
                assert_eq!((status, called), (StatusCode::FORBIDDEN, 0), "{name}");
                let why = if reaches {
                    "This action is not allowed"
                } else {
                    "This action is outside the authorized scopes"
                };
                assert_eq!(body["error"], why, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_disabled_or_suspended_admin_reaches_nobody() {
    let world = World::new().await;
    let states = [
        (
            "off",
            "update users set disabled = true where account_id = $1",
        ),
        (
            "bad",
            "update accounts set suspended_at = now() where id = $1",
        ),
        (
            "gone",
            "update accounts set deleted_at = now() where id = $1",
        ),
    ];
    for (name, statement) in states {
        let (id, token) = operator(&world, name, "admin").await;
        sqlx::query(statement)
            .bind(id)
            .execute(&world.db.pool)
            .await
            .expect("changed");
        for (method, path, _) in REQUESTS {
            let (status, _) = ask(&world, method, path, Some(&token)).await;
            assert!(
                [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status),
                "{name}: {method} {path}: {status}"
            );
        }
    }
    assert!(world.others.operators.calls().is_empty());
}

#[tokio::test]
async fn hosts_are_filtered_and_paged_by_name() {
    let world = World::new().await;
    let (_, token) = operator(&world, "mo", "moderator").await;
    let path = "/api/tidegate/v1/admin/hosts?state=failing&backlog=1&limit=2";
    let first = world.call(Method::GET, path, Some(&token), None).await;
    let next = first.link("next").expect("a next page");
    let hosts = first.ok();
    assert_eq!(hosts[1]["host"], "b.test");
    assert_eq!(hosts[1]["next_probe_at"], "2023-11-14T22:13:20.000Z");
    assert_eq!(hosts[1]["paused_at"], Value::Null);
    let second = world.call(Method::GET, &next, Some(&token), None).await;
    assert_eq!(second.link("next"), None);
    assert_eq!(second.ok()[0]["host"], "c.test");
    assert_eq!(
        world.others.operators.calls(),
        [
            "hosts state=failing paused=false backlog=true name= after= limit=2",
            "hosts state=failing paused=false backlog=true name= after=b.test limit=2",
        ]
    );
}

#[tokio::test]
async fn an_act_carries_who_and_why_and_its_refusal_says_what_to_do() {
    let world = World::new().await;
    let (id, token) = operator(&world, "root", "owner").await;
    let post = async |path: &str, body: Value| {
        let path = format!("/api/tidegate/v1/admin/{path}");
        let answer = world
            .call(Method::POST, &path, Some(&token), Some(&body))
            .await;
        (answer.status, answer.body)
    };
    let (status, body) = post("hosts/a.test/pause", json!({"comment": "too slow"})).await;
    assert_eq!(
        (status, &body["note"]),
        (StatusCode::OK, &json!("pause is done"))
    );
    assert_eq!(body["host"]["parked"], 7);
    let (status, body) = post("hosts/well.test/resume", json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(body["error"], "well.test is not paused");
    let order = json!({"host": "a.test", "older_than": "3600", "limit": 5, "comment": "moved"});
    let (status, body) = post("deliveries/replay", order).await;
    assert_eq!((status, &body["moved"]), (StatusCode::OK, &json!(3_000)));
    assert_eq!(body["finished"], true);
    let (status, body) = post("deliveries/purge", json!({})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(body["error"], "say which");
    for wrong in [json!({"limit": -1}), json!({"older_than": -5})] {
        assert_eq!(
            post("deliveries/purge", wrong).await.0,
            StatusCode::BAD_REQUEST
        );
    }
    assert_eq!(
        world.others.operators.calls(),
        [
            format!("pause a.test by {id} because too slow"),
            format!("resume well.test by {id} because "),
            format!(
                "replay host=a.test reason= older=Some(3600) all=false limit=5 by {id} because moved"
            ),
            format!("purge host= reason= older=None all=false limit=0 by {id} because "),
        ]
    );
}

#[tokio::test]
async fn deliveries_are_paged_by_their_key_and_what_is_unknown_is_not_found() {
    let world = World::new().await;
    let (_, token) = operator(&world, "mo", "moderator").await;
    let path = "/api/tidegate/v1/admin/deliveries?state=dead&actor=ada&status_id=4&limit=2";
    let first = world.call(Method::GET, path, Some(&token), None).await;
    let next = first.link("next").expect("a next page");
    let rows = first.ok();
    assert_eq!(
        (&rows[1]["id"], &rows[1]["status_id"]),
        (&json!("2-9"), &Value::Null)
    );
    let second = world.call(Method::GET, &next, Some(&token), None).await;
    assert_eq!(second.ok()[0]["id"], "3-9");
    assert_eq!(
        world.others.operators.calls()[1],
        "deliveries state=dead actor=ada status=4 after=2-9 limit=2"
    );
    let nobody = "/api/tidegate/v1/admin/hosts/nobody.test";
    let (status, body) = ask(&world, "GET", nobody, Some(&token)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["error"], "nothing is known of nobody.test");
    let wrong = "/api/tidegate/v1/admin/deliveries?after=x";
    let (status, _) = ask(&world, "GET", wrong, Some(&token)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_post_tells_its_author_alone_where_it_went() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bo = world.person("bo").await;
    let status = world.write(&ada, "hello", "public").await;
    let id = status["id"].as_str().expect("an id");
    let path = format!("/api/tidegate/v1/statuses/{id}/delivery");
    let (_, admin) = operator(&world, "root", "owner").await;
    let all = world.token(Some(bo.id()), "read").await;
    for (token, wanted) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(&bo.token), StatusCode::NOT_FOUND),
        (Some(&all), StatusCode::NOT_FOUND),
        (Some(&admin), StatusCode::FORBIDDEN),
    ] {
        let (status, _) = ask(&world, "GET", &path, token.map(String::as_str)).await;
        assert_eq!(status, wanted);
    }
    assert!(world.others.operators.calls().is_empty());
    let (status, body) = ask(&world, "GET", &path, Some(&ada.token)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        body,
        json!({
            "totals": {"queued": 0, "parked": 1, "delivered": 5, "dead": 0, "cancelled": 0},
            "hosts": [{"host": "a.test", "state": "parked", "reason": "host", "attempts": 2,
                       "last_status": 503, "next_try_at": "2023-11-14T22:13:20.000Z"}],
            "hosts_total": 1,
        })
    );
    assert_eq!(world.others.operators.calls(), [format!("status {id}")]);
}
