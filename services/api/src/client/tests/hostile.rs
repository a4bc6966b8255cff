//! What hostile servers serve, and what of it is stored and shown; and what the store answers
//! when two transactions want each other's rows.

use serde_json::{Value, json};
use tidegate_federation::html::sanitize;
use tidegate_store::{StoreError, accounts, follows};

use super::world::{World, actor_document};

/// Pieces that ran scripts in one sanitiser or another.
const CORPUS: [&str; 14] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;<img src=1 onerror=alert(1)>\">",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<template><script>alert(1)</script></template>",
    "<a href=\"java\tscript:alert(1)\">x</a>",
    "<a href=\"&#106;avascript:alert(1)\">x</a>",
    "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
    "<a href=\"https://ok.test/\" onclick=\"alert(1)\" style=\"x\">x</a>",
    "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
    "<p style=\"background:url(javascript:alert(1))\">x</p>",
    "<form action=\"https://evil.test\"><button>x</button></form>",
    "<p title='\"><script>alert(1)</script>'>x",
];

fn assert_safe_html(shown: &Value, from: &str) {
    let html = shown.as_str().expect("text");
    assert_eq!(sanitize(html), html, "{from}");
    let lower = html.to_lowercase();
    for piece in [
        "<script",
        "<img",
        "<svg",
        "<math",
        "<style",
        "<iframe",
        "<form",
        "<template",
        "<noscript",
        "onerror=",
        "onclick=",
        "style=",
        "srcdoc=",
        "href=\"java",
        "href=\"data",
    ] {
        // In text a quotation is harmless; in a tag nothing of this may stand.
        for tag in lower
            .split('<')
            .skip(1)
            .filter_map(|rest| rest.split('>').next())
        {
            assert!(!format!("<{tag}").contains(piece), "{from}: {html}");
        }
    }
    for link in lower.split("<a ").skip(1) {
        for word in ["nofollow", "noopener", "noreferrer"] {
            assert!(link.contains(word), "{from}: {html}");
        }
    }
}

#[tokio::test]
async fn e1_no_script_of_a_remote_server_is_shown_by_the_api() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for (number, piece) in CORPUS.iter().enumerate() {
        let name = format!("eve{number}");
        let uri = format!("https://far.test/users/{name}");
        let mut actor = actor_document(&name);
        actor["name"] = json!(piece);
        actor["summary"] = json!(piece);
        actor["attachment"] = json!([{"type": "PropertyValue", "name": piece, "value": piece}]);
        world.others.serve(&uri, &actor);
        let note = format!("{uri}/n");
        let document = json!({
            "id": note, "type": "Note", "attributedTo": uri, "content": piece, "summary": piece,
            "to": ["https://www.w3.org/ns/activitystreams#Public"], "cc": [],
            "published": "2026-01-01T00:00:00Z",
        });
        world.others.serve(&note, &document);
        let found = world
            .get(&ada, &format!("/api/v2/search?q={note}&resolve=true"))
            .await
            .ok();
        let status = &found["statuses"][0];
        assert_safe_html(&status["content"], piece);
        let account = &status["account"];
        assert_eq!(account["uri"], json!(uri), "{piece}");
        assert_safe_html(&account["note"], piece);
        assert_safe_html(&account["fields"][0]["value"], piece);
        // These are plain text, which clients show as it is: no tag is left in them.
        for plain in [
            &status["spoiler_text"],
            &account["display_name"],
            &account["fields"][0]["name"],
        ] {
            let plain = plain.as_str().expect("text");
            assert!(
                !plain.contains("<script") && !plain.contains("<img"),
                "{piece}: {plain}"
            );
        }
    }
}

/// Rows that never went through our own door: an old version's, an import's, a mistake's.
#[tokio::test]
async fn a_bad_row_is_shown_without_what_is_bad_in_it() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for (number, piece) in CORPUS.iter().enumerate() {
        let eve = world.stranger(&format!("eve{number}")).await;
        let fields = json!([{ "name": "web", "value": piece }]);
        sqlx::query("update accounts set note = $2, fields = $3 where id = $1")
            .bind(eve.id)
            .bind(piece)
            .bind(fields)
            .execute(&world.db.pool)
            .await
            .expect("a bad note");
        let id: i64 = sqlx::query_scalar(
            "insert into statuses (uri, account_id, local, visibility, content)
             values ('https://far.test/bad/' || $1, $1, false, 'public', $2) returning id",
        )
        .bind(eve.id)
        .bind(piece)
        .fetch_one(&world.db.pool)
        .await
        .expect("a bad post");
        let status = world
            .get(&ada, &format!("/api/v1/statuses/{id}"))
            .await
            .ok();
        assert_safe_html(&status["content"], piece);
        assert_safe_html(&status["account"]["note"], piece);
        assert_safe_html(&status["account"]["fields"][0]["value"], piece);
        sqlx::query(
            "insert into status_edits (status_id, content, spoiler_text, sensitive, created_at)
             values ($1, $2, '', false, now())",
        )
        .bind(id)
        .bind(piece)
        .execute(&world.db.pool)
        .await
        .expect("a bad version");
        let path = format!("/api/v1/statuses/{id}/history");
        let versions = world.get(&ada, &path).await.ok();
        for version in [0, 1] {
            assert_safe_html(&versions[version]["content"], piece);
        }
    }
}

#[tokio::test]
async fn a9_a_document_that_claims_a_known_id_from_another_host_changes_nothing() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.stranger("bob").await;
    let mut forged = actor_document("bob");
    forged["inbox"] = json!("https://evil.test/inbox");
    forged["endpoints"]["sharedInbox"] = json!("https://evil.test/inbox");
    let url = "https://evil.test/users/bob";
    world.others.serve(url, &forged);
    world.others.name("bob@evil.test", url);
    for query in [url, "@bob@evil.test"] {
        let path = format!("/api/v2/search?q={query}&resolve=true");
        let found = world.get(&ada, &path).await.ok();
        assert_eq!(found["accounts"], json!([]), "{query}");
    }
    assert!(
        world
            .others
            .fetches
            .load(std::sync::atomic::Ordering::SeqCst)
            > 0
    );
    let stored = accounts::by_uri(&world.db.pool, &bob.uri)
        .await
        .expect("reads")
        .expect("bob");
    assert_eq!(
        (
            stored.id,
            stored.public_key_pem,
            stored.key_id,
            stored.inbox_url,
            stored.shared_inbox_url
        ),
        (
            bob.id,
            bob.public_key_pem,
            bob.key_id,
            bob.inbox_url,
            bob.shared_inbox_url
        )
    );
    let known = "select count(*) from accounts where domain is not null";
    assert_eq!(world.count(known).await, 1);
}

#[tokio::test]
async fn a_repeated_request_is_accepted_once_its_target_is_open() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let bob = world.stranger("bob").await;
    let mut connection = world.db.pool.acquire().await.expect("a connection");
    for (uri, accepted) in [
        ("https://far.test/f/1", false),
        ("https://far.test/f/2", true),
    ] {
        let (follow, _) = follows::request(&mut connection, &bob, &ada.account, uri, accepted)
            .await
            .expect("follows");
        assert_eq!((follow.is_accepted(), follow.uri.as_str()), (accepted, uri));
    }
    let counted = "select count(*) from accounts where followers_count = 1 or following_count = 1";
    assert_eq!(world.count(counted).await, 2);
}

#[tokio::test]
async fn a_deadlock_is_a_reason_to_try_again() {
    let world = World::new().await;
    let ids = [
        world.person("ada").await.id(),
        world.person("bea").await.id(),
    ];
    let lock = |id: i64| sqlx::query("select 1 from accounts where id = $1 for update").bind(id);
    let mut one = world.db.pool.begin().await.expect("begins");
    let mut other = world.db.pool.begin().await.expect("begins");
    lock(ids[0]).execute(&mut *one).await.expect("locks");
    lock(ids[1]).execute(&mut *other).await.expect("locks");
    let (first, second) = tokio::join!(
        async {
            let done = lock(ids[1]).execute(&mut *one).await;
            one.rollback().await.expect("ends");
            done
        },
        async {
            let done = lock(ids[0]).execute(&mut *other).await;
            other.rollback().await.expect("ends");
            done
        }
    );
    let error = first.err().or(second.err()).expect("one gives way");
    let error = StoreError::from(error);
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let answer = crate::error::ApiError::from(error);
    assert_eq!(answer.status(), axum::http::StatusCode::SERVICE_UNAVAILABLE);
}
