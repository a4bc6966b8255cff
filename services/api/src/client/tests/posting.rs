//! Writing posts: every encoding, bounds, idempotency, audience, edits and deletion.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use super::world::{Person, World, actor_document, id_of};

const PATH: &str = "/api/v1/statuses";

async fn encoded(world: &World, who: &Person, kind: &str, body: &str) -> Value {
    let request = Request::post(PATH)
        .header(header::AUTHORIZATION, format!("Bearer {}", who.token))
        .header(header::CONTENT_TYPE, kind)
        .body(Body::from(body.to_owned()))
        .expect("a request");
    world.send(request).await.ok()
}

#[tokio::test]
async fn a_post_is_the_same_in_every_encoding() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let json = encoded(
        &world,
        &ada,
        "application/json",
        r#"{"status":"hello","visibility":"unlisted","sensitive":true,"language":"de"}"#,
    )
    .await;
    let form = encoded(
        &world,
        &ada,
        "application/x-www-form-urlencoded",
        "status=hello&visibility=unlisted&sensitive=1&language=de",
    )
    .await;
    let part = |name: &str, value: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let multipart = [
        part("status", "hello"),
        part("visibility", "unlisted"),
        part("sensitive", "true"),
        part("language", "de"),
        "--B--\r\n".to_owned(),
    ]
    .concat();
    let multipart = encoded(&world, &ada, "multipart/form-data; boundary=B", &multipart).await;
    for status in [&json, &form, &multipart] {
        assert_eq!(status["content"], "<p>hello</p>");
        assert_eq!(status["visibility"], "unlisted");
        assert_eq!(status["sensitive"], true);
        assert_eq!(status["language"], "de");
    }
}

async fn with_key(world: &World, who: &Person, key: &str, text: &str) -> super::world::Answer {
    let request = Request::post(PATH)
        .header(header::AUTHORIZATION, format!("Bearer {}", who.token))
        .header(header::CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", key)
        .body(Body::from(json!({ "status": text }).to_string()))
        .expect("a request");
    world.send(request).await
}

#[tokio::test]
async fn one_key_makes_one_post_however_many_ask_at_once() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let answers =
        futures::future::join_all((0..6).map(|_| with_key(&world, &ada, "k1", "once"))).await;
    let ids: std::collections::HashSet<i64> = answers
        .into_iter()
        .map(|answer| id_of(&answer.ok()))
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(world.count("select count(*) from statuses").await, 1);
    assert_eq!(world.count("select count(*) from activities").await, 1);
    assert_eq!(world.count("select statuses_count from accounts").await, 1);
}

#[tokio::test]
async fn keys_are_each_persons_own_and_end_after_an_hour() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let first = id_of(&with_key(&world, &ada, "k", "a").await.ok());
    let other = id_of(&with_key(&world, &bob, "k", "b").await.ok());
    assert_ne!(first, other);
    sqlx::query("update idempotency_keys set created_at = now() - interval '61 minutes'")
        .execute(&world.db.pool)
        .await
        .expect("older");
    assert_ne!(id_of(&with_key(&world, &ada, "k", "a").await.ok()), first);
}

#[tokio::test]
async fn a_repeated_request_does_not_bring_a_deleted_post_back() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let id = id_of(&with_key(&world, &ada, "k", "gone").await.ok());
    world
        .call(
            Method::DELETE,
            &format!("{PATH}/{id}"),
            Some(&ada.token),
            None,
        )
        .await
        .ok();
    assert_eq!(
        with_key(&world, &ada, "k", "gone").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(world.count("select count(*) from statuses").await, 1);
}

#[tokio::test]
async fn bad_input_is_refused_and_leaves_nothing() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let unprocessable = [
        json!({}),
        json!({ "status": "  " }),
        json!({ "status": "x".repeat(501) }),
        json!({ "status": "x".repeat(400), "spoiler_text": "y".repeat(101) }),
        json!({ "status": "x", "visibility": "secret" }),
        json!({ "status": "x", "language": "not a code" }),
        json!({ "status": "x", "media_ids": ["1"] }),
        json!({ "status": "x", "poll": { "options": ["a", "b"], "expires_in": 300 } }),
        json!({ "status": "x", "scheduled_at": "2030-01-01T00:00:00Z" }),
        json!({ "status": "x", "quoted_status_id": "1" }),
        json!({ "status": "a\u{0}b" }),
    ];
    for body in unprocessable {
        let answer = world.post(&ada, PATH, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let error = answer.body["error"].as_str().expect("a reason");
        assert!(error.starts_with("Validation failed: "), "{error}");
    }
    for parent in ["12345", "nonsense"] {
        let body = json!({ "status": "x", "in_reply_to_id": parent });
        assert_eq!(
            world.post(&ada, PATH, body).await.status,
            StatusCode::NOT_FOUND
        );
    }
    assert_eq!(world.count("select count(*) from statuses").await, 0);
    assert_eq!(world.count("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn a_text_names_nobody_whom_its_client_did_not_expect() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    world.person("carol").await;
    let text = "for @bob and @carol";
    for allowed in [json!([bob.id().to_string()]), json!([bob.id()])] {
        let body = json!({ "status": text, "allowed_mentions": allowed });
        let answer = world.post(&ada, PATH, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let unexpected = &answer.body["unexpected_accounts"];
        assert_eq!(unexpected[0]["acct"], "carol");
        assert_eq!(unexpected.as_array().map(Vec::len), Some(1));
    }
    let body = json!({ "status": text, "allowed_mentions": [""] });
    let answer = world.post(&ada, PATH, body).await;
    let unexpected = answer.body["unexpected_accounts"].as_array().map(Vec::len);
    assert_eq!(unexpected, Some(2));
    assert_eq!(world.count("select count(*) from statuses").await, 0);
    let body = json!({ "status": "for @bob", "allowed_mentions": [bob.id().to_string()] });
    world.post(&ada, PATH, body).await.ok();
    world.write(&ada, text, "public").await;
}

#[tokio::test]
async fn an_edit_that_asks_for_what_is_not_built_changes_nothing() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let path = format!(
        "{PATH}/{}",
        id_of(&world.write(&ada, "first", "public").await)
    );
    for body in [
        json!({ "status": "second", "media_ids": ["1"] }),
        json!({ "status": "second", "media_attributes": [{ "id": "1", "description": "a" }] }),
        json!({ "status": "second", "poll": { "options": ["a", "b"], "expires_in": 300 } }),
    ] {
        let answer = world
            .call(Method::PUT, &path, Some(&ada.token), Some(&body))
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    assert_eq!(world.count("select count(*) from status_edits").await, 0);
    assert_eq!(
        world.get(&ada, &format!("{path}/source")).await.ok()["text"],
        "first"
    );
}

#[tokio::test]
async fn a_warning_around_nothing_is_the_post() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let status = world
        .post(
            &ada,
            PATH,
            json!({ "status": "", "spoiler_text": "all of it" }),
        )
        .await
        .ok();
    assert_eq!(status["content"], "<p>all of it</p>");
    assert_eq!(status["spoiler_text"], "");
    let warned = world
        .post(
            &ada,
            PATH,
            json!({ "status": "x", "spoiler_text": "careful" }),
        )
        .await
        .ok();
    assert_eq!(warned["sensitive"], true);
}

#[tokio::test]
async fn a_post_commits_with_its_activity_and_its_fan_out() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let status = world.write(&ada, "hello", "public").await;
    let activities = world.activities().await;
    assert_eq!(activities.len(), 1);
    let (kind, lane, body) = &activities[0];
    assert_eq!((kind.as_str(), lane.as_str()), ("Create", "bulk"));
    assert_eq!(body["object"]["content"], "<p>hello</p>");
    assert_eq!(body["object"]["id"], status["uri"]);
    let queues: Vec<String> = sqlx::query_scalar("select queue from outbox order by queue")
        .fetch_all(&world.db.pool)
        .await
        .expect("the outbox");
    assert_eq!(queues, ["test.fanout.small", "test.plan"]);
    let audience: (Option<i64>, Vec<i64>) =
        sqlx::query_as("select to_followers_of, to_accounts from activities")
            .fetch_one(&world.db.pool)
            .await
            .expect("the audience");
    assert_eq!(audience, (Some(ada.id()), Vec::new()));
}

#[tokio::test]
async fn a_direct_post_goes_to_the_mentioned_alone() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.stranger("bob").await;
    world.write(&ada, "psst @bob@far.test", "direct").await;
    let audience: (String, Option<i64>, Vec<i64>) =
        sqlx::query_as("select lane, to_followers_of, to_accounts from activities")
            .fetch_one(&world.db.pool)
            .await
            .expect("the audience");
    assert_eq!(audience, ("now".to_owned(), None, vec![bob.id]));
    let (_, _, body) = world.activities().await.remove(0);
    assert_eq!(body["to"], json!(["https://far.test/users/bob"]));
    assert_eq!(body["cc"], json!([]));
}

#[tokio::test]
async fn an_open_answer_goes_to_the_parents_author_and_a_private_one_does_not() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let parent = world.write(&bob, "question", "public").await;
    for (visibility, expected) in [("public", vec![bob.id()]), ("private", Vec::new())] {
        let body = json!({
            "status": "answer", "visibility": visibility, "in_reply_to_id": parent["id"],
        });
        let answer = world.post(&ada, PATH, body).await.ok();
        assert_eq!(answer["in_reply_to_id"], parent["id"]);
        let named: Vec<i64> =
            sqlx::query_scalar("select to_accounts from activities order by id desc limit 1")
                .fetch_one(&world.db.pool)
                .await
                .expect("the audience");
        assert_eq!(named, expected, "{visibility}");
    }
    let parent = world.look(&format!("{PATH}/{}", id_of(&parent))).await.ok();
    assert_eq!(parent["replies_count"], 2);
}

#[tokio::test]
async fn unknown_handles_are_looked_up_and_the_lost_ones_stay_text() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let url = "https://far.test/users/carol";
    world.others.serve(url, &actor_document("carol"));
    world.others.name("carol@far.test", url);
    let status = world
        .write(&ada, "@carol@far.test and @nobody@far.test", "public")
        .await;
    assert_eq!(status["mentions"].as_array().map(Vec::len), Some(1));
    assert_eq!(status["mentions"][0]["acct"], "carol@far.test");
    let content = status["content"].as_str().expect("HTML");
    assert!(content.contains("@nobody@far.test"), "{content}");
    assert!(content.contains("class=\"u-url mention\""), "{content}");
}

#[tokio::test]
async fn slow_servers_do_not_hold_up_a_post_for_long() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for name in ["one", "two"] {
        let handle = format!("{name}@far.test");
        world.others.name(&handle, "https://far.test/slow");
    }
    *world.others.delay.lock().expect("not poisoned") = std::time::Duration::from_mins(1);
    let started = std::time::Instant::now();
    let status = world
        .write(&ada, "@one@far.test @two@far.test", "public")
        .await;
    assert!(started.elapsed() < std::time::Duration::from_secs(8));
    assert_eq!(status["mentions"], json!([]));
}

#[tokio::test]
async fn deleting_gives_the_text_back_and_tells_everybody() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let status = world.write(&ada, "tpyo & more", "public").await;
    let path = format!("{PATH}/{}", id_of(&status));
    let deleted = world
        .call(Method::DELETE, &path, Some(&ada.token), None)
        .await
        .ok();
    assert_eq!(deleted["text"], "tpyo & more");
    assert_eq!(world.look(&path).await.status, StatusCode::NOT_FOUND);
    let again = world
        .call(Method::DELETE, &path, Some(&ada.token), None)
        .await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let activities = world.activities().await;
    assert_eq!(activities.len(), 2);
    assert_eq!(activities[1].0, "Delete");
    assert_eq!(
        activities[1].1, activities[0].1,
        "one lane for one order key"
    );
    let earlier: bool =
        sqlx::query_scalar("select to_earlier_recipients from activities where kind = 'Delete'")
            .fetch_one(&world.db.pool)
            .await
            .expect("the audience");
    assert!(earlier);
}

#[tokio::test]
async fn an_edit_keeps_the_earlier_version_and_sends_the_new_one() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let status = world.write(&ada, "first #one", "public").await;
    let path = format!("{PATH}/{}", id_of(&status));
    let body = json!({ "status": "second #two @bob" });
    let edited = world
        .call(Method::PUT, &path, Some(&ada.token), Some(&body))
        .await
        .ok();
    assert!(edited["edited_at"].is_string());
    assert_eq!(edited["tags"][0]["name"], "two");
    assert_eq!(edited["tags"].as_array().map(Vec::len), Some(1));
    assert_eq!(edited["mentions"][0]["acct"], "bob");
    let history = world.look(&format!("{path}/history")).await.ok();
    assert_eq!(history.as_array().map(Vec::len), Some(2));
    assert!(
        history[0]["content"]
            .as_str()
            .expect("HTML")
            .contains("first")
    );
    assert_eq!(
        world.get(&ada, &format!("{path}/source")).await.ok()["text"],
        "second #two @bob"
    );
    let told = world.get(&bob, "/api/v1/notifications").await.ok();
    assert_eq!(told[0]["type"], "mention");
    // The same again is no edit.
    let again = world
        .call(Method::PUT, &path, Some(&ada.token), Some(&body))
        .await
        .ok();
    assert_eq!(again["edited_at"], edited["edited_at"]);
    let kinds: Vec<String> = world
        .activities()
        .await
        .into_iter()
        .map(|activity| activity.0)
        .collect();
    assert_eq!(kinds, ["Create", "Update"]);
}

#[tokio::test]
async fn favourites_and_boosts_are_counted_once_and_taken_back() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let path = format!("{PATH}/{}", id_of(&world.write(&ada, "x", "public").await));
    for _ in 0..2 {
        let status = world
            .post(&bob, &format!("{path}/favourite"), json!({}))
            .await
            .ok();
        assert_eq!(status["favourited"], true);
        assert_eq!(status["favourites_count"], 1);
    }
    let first = world
        .post(&bob, &format!("{path}/reblog"), json!({}))
        .await
        .ok();
    let second = world
        .post(&bob, &format!("{path}/reblog"), json!({}))
        .await
        .ok();
    assert_eq!(first["id"], second["id"]);
    let status = world
        .post(&bob, &format!("{path}/unreblog"), json!({}))
        .await
        .ok();
    assert_eq!(status["reblogs_count"], 0);
    assert_eq!(status["reblogged"], false);
    let status = world
        .post(&bob, &format!("{path}/unfavourite"), json!({}))
        .await
        .ok();
    assert_eq!(status["favourites_count"], 0);
    assert_eq!(
        world.get(&ada, "/api/v1/notifications").await.ids(),
        Vec::<i64>::new()
    );
    let kinds: Vec<String> = world
        .activities()
        .await
        .into_iter()
        .map(|activity| activity.0)
        .collect();
    assert_eq!(kinds, ["Create", "Announce", "Undo"]);
}
