use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use tidegate_federation::{
    keys,
    signature::{SigningKey, sign_cavage},
};
use tidegate_model::Visibility;
use tidegate_store::{
    accounts::{self, Account, NewLocalAccount},
    statuses::{self, NewLocalStatus},
};
use time::OffsetDateTime;
use url::Url;

use crate::common::{Answer, Server, member};

async fn post(server: &Server, author: &Account, visibility: Visibility) -> i64 {
    let us = &server.deps.instance;
    let mut connection = server.deps.pool.acquire().await.expect("a connection");
    let id = accounts::next_id(&mut *connection).await.expect("an id");
    let uri = us.status(&author.username, id);
    let url = us.status_page(&author.username, id);
    statuses::insert_local(
        &mut connection,
        &NewLocalStatus {
            id,
            uri: &uri,
            url: &url,
            account_id: author.id,
            text: "canary",
            content: "<p>canary</p>",
            spoiler_text: "",
            visibility,
            sensitive: false,
            language: Some("en"),
            in_reply_to: None,
            app_id: None,
            mentions: &[],
            tags: &["tide".to_owned()],
        },
    )
    .await
    .expect("a post");
    id
}

async fn activity(server: &Server, path: &str) -> Answer {
    let request = Request::get(path)
        .header(header::ACCEPT, "application/activity+json")
        .body(Body::empty())
        .expect("a request");
    server.send(request).await
}

#[tokio::test]
async fn a_person_is_found_and_read() {
    let server = Server::start().await;
    member(&server, "Ada").await;
    for resource in [
        "acct:ada@us.test",
        "https://us.test/users/Ada",
        "https://us.test/@Ada",
    ] {
        let answer = server
            .get(&format!("/.well-known/webfinger?resource={resource}"))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{resource}");
        assert_eq!(
            answer.headers[header::CONTENT_TYPE],
            "application/jrd+json; charset=utf-8"
        );
        let jrd = answer.json();
        assert_eq!(jrd["subject"], "acct:Ada@us.test");
        assert_eq!(jrd["links"][1]["href"], "https://us.test/users/Ada");
    }
    assert_eq!(
        server.get("/.well-known/webfinger").await.status,
        StatusCode::BAD_REQUEST
    );
    let unknown = server
        .get("/.well-known/webfinger?resource=acct:eve@us.test")
        .await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let foreign = server
        .get("/.well-known/webfinger?resource=acct:ada@other.test")
        .await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);

    let actor = activity(&server, "/users/Ada").await;
    assert_eq!(
        actor.headers[header::CONTENT_TYPE],
        "application/activity+json; charset=utf-8"
    );
    assert!(
        actor.headers[header::VARY]
            .to_str()
            .expect("text")
            .contains("Accept")
    );
    let actor = actor.json();
    assert_eq!(actor["id"], "https://us.test/users/Ada");
    assert_eq!(actor["publicKey"]["owner"], actor["id"]);
    assert_eq!(activity(&server, "/@Ada").await.json()["id"], actor["id"]);
    let page = Request::get("/users/Ada")
        .header(header::ACCEPT, "text/html")
        .body(Body::empty())
        .expect("a request");
    assert_eq!(server.send(page).await.location(), "https://us.test/@Ada");
}

#[tokio::test]
async fn host_meta_and_nodeinfo_are_there() {
    let server = Server::start().await;
    let xrd = server.get("/.well-known/host-meta").await;
    assert!(xrd.text().contains("lrdd"));
    assert!(server.get("/.well-known/host-meta.json").await.json()["links"].is_array());
    let index = server.get("/.well-known/nodeinfo").await.json();
    assert_eq!(index["links"][0]["href"], "https://us.test/nodeinfo/2.0");
    let info = server.get("/nodeinfo/2.0").await.json();
    assert_eq!(info["software"]["name"], "tidegate");
    assert_eq!(info["openRegistrations"], true);
}

#[tokio::test]
async fn the_instance_actor_is_served_without_a_signature() {
    let server = Server::start().await;
    let pairs = keys::generate().expect("keys");
    let mut connection = server.deps.pool.acquire().await.expect("a connection");
    let id = accounts::next_id(&mut *connection).await.expect("an id");
    let new = NewLocalAccount {
        id,
        username: tidegate_model::INSTANCE_ACTOR_USERNAME,
        actor_type: "Application",
        public_key_pem: &pairs.rsa_public_pem,
        rsa_private: b"sealed",
        ed25519_private: b"sealed",
        ed25519_public: &pairs.ed25519_public,
    };
    accounts::create_local(&mut connection, &server.deps.instance, &new)
        .await
        .expect("made");
    let actor = activity(&server, "/actor").await.json();
    assert_eq!(actor["type"], "Application");
    assert_eq!(actor["publicKey"]["publicKeyPem"], pairs.rsa_public_pem);
    assert_eq!(
        activity(&server, "/actor/outbox").await.json()["totalItems"],
        0
    );
    assert_eq!(
        server.get("/@instance.actor").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn posts_are_read_by_those_they_are_for() {
    let server = Server::start().await;
    let ada = member(&server, "ada").await;
    let open = post(&server, &ada, Visibility::Public).await;
    let hidden = post(&server, &ada, Visibility::Private).await;
    let direct = post(&server, &ada, Visibility::Direct).await;

    let note = activity(&server, &format!("/users/ada/statuses/{open}"))
        .await
        .json();
    assert_eq!(
        note["id"],
        format!("https://us.test/users/ada/statuses/{open}")
    );
    assert_eq!(note["content"], "<p>canary</p>");
    let create = activity(&server, &format!("/users/ada/statuses/{open}/activity"))
        .await
        .json();
    assert_eq!(create["type"], "Create");
    let replies = activity(&server, &format!("/users/ada/statuses/{open}/replies"))
        .await
        .json();
    assert_eq!(replies["totalItems"], 0);

    let pairs = keys::generate().expect("keys");
    let remote: i64 = sqlx::query_scalar(
        "insert into accounts (username, domain, uri, url, inbox_url, key_id, public_key_pem, fetched_at)
         values ('bob', 'p.test', 'https://p.test/bob', '', 'https://p.test/in', 'https://p.test/bob#k', $1, now())
         returning id",
    )
    .bind(&pairs.rsa_public_pem)
    .fetch_one(&server.deps.pool)
    .await
    .expect("stored");
    let key = SigningKey::rsa("https://p.test/bob#k", pairs.rsa_private.expose()).expect("a key");
    let signed = |path: String| {
        let url = Url::parse(&format!("https://us.test{path}")).expect("a URL");
        let headers =
            sign_cavage(&key, &Method::GET, &url, OffsetDateTime::now_utc(), None).expect("signs");
        let mut request = Request::get(path).header(header::ACCEPT, "application/activity+json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        server.send(request.body(Body::empty()).expect("a request"))
    };
    let path = format!("/users/ada/statuses/{hidden}");
    for id in [hidden, direct] {
        for suffix in ["", "/activity", "/replies"] {
            let path = format!("/users/ada/statuses/{id}{suffix}");
            let answer = activity(&server, &path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(
                signed(path).await.status,
                StatusCode::NOT_FOUND,
                "not a follower"
            );
        }
        assert_eq!(
            server.get(&format!("/@ada/{id}")).await.status,
            StatusCode::NOT_FOUND
        );
    }
    sqlx::query(
        "insert into follows (account_id, target_id, uri, state) values ($1, $2, 'f', 'accepted')",
    )
    .bind(remote)
    .bind(ada.id)
    .execute(&server.deps.pool)
    .await
    .expect("follows");
    let read = signed(path.clone()).await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.text());
    assert_eq!(read.headers[header::CACHE_CONTROL], "private, no-store");
    assert_eq!(
        signed(format!("/users/ada/statuses/{direct}")).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        activity(&server, &path).await.status,
        StatusCode::NOT_FOUND,
        "still, unsigned"
    );
    let outbox = activity(&server, "/users/ada/outbox?page=true")
        .await
        .json();
    assert_eq!(outbox["orderedItems"].as_array().expect("items").len(), 1);
}

#[tokio::test]
async fn outboxes_and_followers_have_pages() {
    let server = Server::start().await;
    let ada = member(&server, "ada").await;
    for _ in 0..21 {
        post(&server, &ada, Visibility::Public).await;
    }
    let outbox = activity(&server, "/users/ada/outbox").await.json();
    assert_eq!(outbox["totalItems"], 21);
    let first = activity(&server, "/users/ada/outbox?page=true")
        .await
        .json();
    assert_eq!(first["orderedItems"].as_array().expect("items").len(), 20);
    let next = first["next"]
        .as_str()
        .expect("a next page")
        .replace("https://us.test", "");
    let second = activity(&server, &next).await.json();
    assert_eq!(second["orderedItems"].as_array().expect("items").len(), 1);
    assert!(second.get("next").is_none());
    assert_eq!(second["orderedItems"][0]["type"], "Create");

    sqlx::query(
        "with made as (insert into accounts (username, domain, uri, url, inbox_url, key_id, public_key_pem)
             select 'u' || n, 'p.test', 'https://p.test/' || n, '', '', '', '' from generate_series(1, 13) n
             returning id)
         insert into follows (account_id, target_id, uri, state)
         select id, $1, 'f' || id, 'accepted' from made",
    )
    .bind(ada.id)
    .execute(&server.deps.pool)
    .await
    .expect("follows");
    sqlx::query("update accounts set followers_count = 13 where id = $1")
        .bind(ada.id)
        .execute(&server.deps.pool)
        .await
        .expect("counts");
    let followers = activity(&server, "/users/ada/followers").await.json();
    assert_eq!(followers["totalItems"], 13);
    let page = activity(&server, "/users/ada/followers?page=1")
        .await
        .json();
    assert_eq!(page["orderedItems"].as_array().expect("items").len(), 12);
    let last = activity(&server, "/users/ada/followers?page=2")
        .await
        .json();
    assert_eq!(last["orderedItems"].as_array().expect("items").len(), 1);
    sqlx::query("update accounts set hide_collections = true where id = $1")
        .bind(ada.id)
        .execute(&server.deps.pool)
        .await
        .expect("hides");
    let hidden = activity(&server, "/users/ada/followers").await.json();
    assert!(hidden.get("first").is_none() && hidden["totalItems"] == 13);
    let page = activity(&server, "/users/ada/followers?page=1").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}
