//! The shapes of entities: exact sets of keys, and types where clients are strict.

use std::collections::BTreeSet;

use axum::http::{Method, header};
use serde_json::{Value, json};

use super::world::World;

const ACCOUNT: &str = "id username acct display_name locked bot discoverable indexable group \
    created_at note url uri avatar avatar_static avatar_description header header_static \
    header_description followers_count following_count statuses_count last_status_at \
    hide_collections show_media show_media_replies show_featured emojis fields feature_approval";

const STATUS: &str = "id created_at in_reply_to_id in_reply_to_account_id sensitive spoiler_text \
    visibility language uri url replies_count reblogs_count favourites_count quotes_count \
    edited_at content reblog account media_attachments mentions tags emojis tagged_collections \
    card poll quote quote_approval";

const VIEWER: &str = "favourited reblogged muted bookmarked filtered";

fn assert_keys(entity: &Value, expected: &[&str]) {
    let found: BTreeSet<&str> = entity
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let expected: BTreeSet<&str> = expected
        .iter()
        .flat_map(|words| words.split_whitespace())
        .collect();
    assert_eq!(found, expected);
}

fn is_datetime(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 24 && text.ends_with('Z') && &text[19..20] == "."
}

#[tokio::test]
async fn accounts_have_exactly_their_keys() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.stranger("bob").await;
    let local = world
        .look(&format!("/api/v1/accounts/{}", ada.id()))
        .await
        .ok();
    assert_keys(&local, &[ACCOUNT, "noindex roles"]);
    assert!(is_datetime(&local["created_at"]));
    assert!(
        local["created_at"]
            .as_str()
            .expect("text")
            .ends_with("T00:00:00.000Z")
    );
    assert_eq!(local["avatar"], "https://here.test/avatars/missing.png");
    assert_eq!(local["last_status_at"], Value::Null);
    let remote = world
        .look(&format!("/api/v1/accounts/{}", bob.id))
        .await
        .ok();
    assert_keys(&remote, &[ACCOUNT]);
    assert_eq!(remote["acct"], "bob@far.test");
    assert_eq!(remote["note"], "<p>far away</p>");

    let own = world
        .get(&ada, "/api/v1/accounts/verify_credentials")
        .await
        .ok();
    assert_keys(&own, &[ACCOUNT, "noindex roles source role"]);
    assert_keys(
        &own["source"],
        &[
            "privacy sensitive language note fields follow_requests_count hide_collections \
           discoverable indexable attribution_domains quote_policy",
        ],
    );
    assert_keys(
        &own["role"],
        &["id name permissions color highlighted collection_limit"],
    );
    assert_eq!(own["role"]["permissions"], "0");
}

#[tokio::test]
async fn statuses_have_exactly_their_keys() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let status = world.write(&ada, "hello @bob #Tide", "public").await;
    assert_keys(&status, &[STATUS, VIEWER, "application pinned"]);
    assert!(is_datetime(&status["created_at"]));
    assert_eq!(
        status["application"],
        json!({ "name": "Tester", "website": "https://tester.test" })
    );
    assert_keys(&status["mentions"][0], &["id username url acct"]);
    assert_eq!(
        status["tags"],
        json!([{ "name": "tide", "url": "https://here.test/tags/tide" }])
    );
    let path = format!("/api/v1/statuses/{}", status["id"].as_str().expect("an id"));
    let seen = world.look(&path).await.ok();
    assert_keys(&seen, &[STATUS, "application"]);
    let seen = world.get(&bob, &path).await.ok();
    assert_keys(&seen, &[STATUS, VIEWER, "application"]);

    let boost = world
        .post(&bob, &format!("{path}/reblog"), json!({}))
        .await
        .ok();
    assert_keys(&boost, &[STATUS, VIEWER]);
    assert_keys(&boost["reblog"], &[STATUS, VIEWER, "application"]);
    assert_eq!(boost["reblog"]["id"], status["id"]);
    assert_eq!(boost["reblog"]["reblogged"], true);
    assert_eq!(boost["reblog"]["reblogs_count"], 1);

    let source = world.get(&ada, &format!("{path}/source")).await.ok();
    assert_keys(&source, &["id text spoiler_text"]);
    let history = world.look(&format!("{path}/history")).await.ok();
    assert_keys(
        &history[0],
        &["content spoiler_text sensitive created_at account media_attachments emojis"],
    );
    let context = world.look(&format!("{path}/context")).await.ok();
    assert_keys(&context, &["ancestors descendants"]);

    let deleted = world
        .call(Method::DELETE, &path, Some(&ada.token), None)
        .await
        .ok();
    let expected = STATUS.replace(" content ", " text ");
    assert_keys(&deleted, &[&expected, VIEWER, "application pinned"]);
}

#[tokio::test]
async fn relationships_and_notifications_have_exactly_their_keys() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let relationship = world.follow(&ada, bob.id()).await;
    assert_keys(
        &relationship,
        &[
            "id following showing_reblogs notifying languages followed_by blocking blocked_by \
           muting muting_notifications muting_expires_at requested requested_by domain_blocking \
           endorsed note",
        ],
    );
    let status = world.write(&bob, "hello", "public").await;
    let path = format!(
        "/api/v1/statuses/{}/favourite",
        status["id"].as_str().expect("an id")
    );
    world.post(&ada, &path, json!({})).await.ok();
    let told = world.get(&bob, "/api/v1/notifications").await.ok();
    assert_eq!(told.as_array().map(Vec::len), Some(2));
    assert_eq!(told[0]["type"], "favourite");
    assert_keys(&told[0], &["id type created_at group_key account status"]);
    assert_eq!(told[0]["status"]["id"], status["id"]);
    assert_eq!(told[1]["type"], "follow");
    assert_keys(&told[1], &["id type created_at group_key account"]);
}

#[tokio::test]
async fn the_instance_says_what_it_is_and_no_more() {
    let world = World::new().await;
    let v2 = world.look("/api/v2/instance").await.ok();
    assert_keys(
        &v2,
        &[
            "domain title version source_url description usage thumbnail icon languages \
           configuration registrations api_versions contact rules",
        ],
    );
    assert_keys(
        &v2["configuration"],
        &[
            "urls vapid accounts statuses media_attachments polls translation timelines_access \
           limited_federation",
        ],
    );
    assert_eq!(v2["version"], "4.2.0+tidegate-0.1.0");
    // Apps that read 2 there ask for grouped notifications, and for no others.
    assert_eq!(v2["api_versions"], json!({ "mastodon": 1 }));
    assert_eq!(v2["configuration"]["statuses"]["max_characters"], 500);
    assert_eq!(v2["configuration"]["urls"]["streaming"], "wss://here.test");
    assert!(v2["configuration"]["accounts"]["max_featured_tags"].is_number());
    assert_eq!(v2["registrations"]["enabled"], true);
    assert_keys(&v2["rules"][0], &["id text hint translations"]);
    let v1 = world.look("/api/v1/instance").await.ok();
    assert_keys(
        &v1,
        &[
            "uri title short_description description email version urls stats thumbnail languages \
           registrations approval_required invites_enabled configuration contact_account rules",
        ],
    );
    assert_keys(&v1["stats"], &["user_count status_count domain_count"]);
    let weeks = world.look("/api/v1/instance/activity").await.ok();
    assert_eq!(weeks.as_array().map(Vec::len), Some(12));
    assert_keys(&weeks[0], &["week statuses logins registrations"]);
    assert!(weeks[0]["week"].is_string());
    let policy = world.look("/api/v1/instance/privacy_policy").await.ok();
    assert_keys(&policy, &["updated_at content"]);
}

#[tokio::test]
async fn preferences_hold_the_defaults_of_the_composer() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let preferences = world.get(&ada, "/api/v1/preferences").await.ok();
    assert_keys(
        &preferences,
        &[
            "posting:default:visibility posting:default:sensitive posting:default:language \
           posting:default:quote_policy reading:expand:media reading:expand:spoilers \
           reading:autoplay:gifs",
        ],
    );
    assert_eq!(preferences["posting:default:visibility"], "public");
}

#[tokio::test]
async fn everybody_without_a_picture_gets_one_of_ours() {
    let world = World::new().await;
    let picture = world.look("/avatars/missing.png").await;
    assert_eq!(picture.status, 200);
    assert_eq!(picture.headers[header::CONTENT_TYPE], "image/png");
    let health = world.look("/api/v1/streaming/health").await;
    assert_eq!(health.status, 200);
}
