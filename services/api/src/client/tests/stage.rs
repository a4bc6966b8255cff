//! A person with something to do on every route: each write finds what it would change.

use axum::http::Method;
use serde_json::{Value, json};

use super::world::{Person, World, id_of};
use crate::auth::{hash_token, random_token};
use crate::signup::password;

/// The people around, made once in a world.
pub(super) struct Cast {
    pub(super) bob: Person,
    carol: Person,
    dave: Person,
    erin: Person,
    frank: Person,
    grace: Person,
    heidi: Person,
    ivan: Person,
    judy: Person,
    /// Of bob: one to act on, and one that was acted on.
    fresh: i64,
    used: i64,
}

/// A person and what is theirs.
pub(super) struct Stage {
    pub(super) person: Person,
    pub(super) name: String,
    /// Path segments by what they stand for.
    pub(super) edited: i64,
    pub(super) deleted: i64,
    pub(super) notification: i64,
    pub(super) fresh: i64,
    pub(super) used: i64,
    pub(super) target: i64,
    pub(super) followed: i64,
    pub(super) to_block: i64,
    pub(super) blocked: i64,
    pub(super) to_mute: i64,
    pub(super) muted: i64,
    pub(super) follower: i64,
    pub(super) asking: [i64; 2],
    /// An app of its own, with the person's session in a browser.
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) client_token: String,
    /// Another app's own, for signing somebody up.
    pub(super) app_token: String,
    pub(super) session: String,
    pub(super) csrf: String,
    /// Somebody whose sign-up the app of all tokens made, and who has not confirmed it.
    pub(super) newcomer: Person,
}

/// What the person signs in with.
pub(super) const PASSWORD: &str = "correct horse";

impl Cast {
    pub(super) async fn enter(world: &World) -> Self {
        let bob = world.person("bob").await;
        let fresh = id_of(&world.write(&bob, "read me", "public").await);
        let used = id_of(&world.write(&bob, "read me too", "public").await);
        Self {
            carol: world.person("carol").await,
            dave: world.person("dave").await,
            erin: world.person("erin").await,
            frank: world.person("frank").await,
            grace: world.person("grace").await,
            heidi: world.person("heidi").await,
            ivan: world.person("ivan").await,
            judy: world.person("judy").await,
            bob,
            fresh,
            used,
        }
    }
}

impl Stage {
    /// The person owns the place, so that nothing is refused for want of a role.
    pub(super) async fn set(world: &World, cast: &Cast, name: &str) -> Self {
        let person = world.person(name).await;
        run(
            world,
            "update users set role = 'owner', last_active_at = now() where account_id = $1",
            person.id(),
        )
        .await;
        run(
            world,
            "update accounts set locked = true where id = $1",
            person.id(),
        )
        .await;
        let token = world
            .token(
                Some(person.id()),
                "read write follow push profile admin:read admin:write",
            )
            .await;
        let person = Person { token, ..person };

        for (act, of) in [
            ("follow", &cast.carol),
            ("block", &cast.erin),
            ("mute", &cast.grace),
        ] {
            act_on(world, &person, act, of.id()).await;
        }
        for follower in [&cast.heidi, &cast.ivan, &cast.judy] {
            act_on(world, follower, "follow", person.id()).await;
        }
        let path = format!("/api/v1/follow_requests/{}/authorize", cast.heidi.id());
        world.post(&person, &path, json!({})).await.ok();
        for act in ["favourite", "reblog", "bookmark"] {
            let path = format!("/api/v1/statuses/{}/{act}", cast.used);
            world.post(&person, &path, json!({})).await.ok();
        }
        let edited = id_of(&world.write(&person, "first try", "public").await);
        let deleted = id_of(&world.write(&person, "not for long", "public").await);
        let notification = notify(world, person.id(), cast.bob.id()).await;
        let (client_id, client_secret, client_token) = app(world).await;
        let (session, csrf) = session(world, person.id()).await;
        sqlx::query("update users set password_hash = $1 where account_id = $2")
            .bind(password::hash(PASSWORD).expect("a hash"))
            .bind(person.id())
            .execute(&world.db.pool)
            .await
            .expect("a password");
        let newcomer = world.person(&format!("new_{name}")).await;
        run(
            world,
            "update users set confirmed_at = null, last_active_at = now(), created_by_app_id =
                 (select id from apps where client_id = 'tester') where account_id = $1",
            newcomer.id(),
        )
        .await;
        Self {
            newcomer,
            app_token: world.token(None, "read write").await,
            name: name.to_owned(),
            edited,
            deleted,
            notification,
            fresh: cast.fresh,
            used: cast.used,
            target: cast.bob.id(),
            followed: cast.carol.id(),
            to_block: cast.dave.id(),
            blocked: cast.erin.id(),
            to_mute: cast.frank.id(),
            muted: cast.grace.id(),
            follower: cast.heidi.id(),
            asking: [cast.ivan.id(), cast.judy.id()],
            client_id,
            client_secret,
            client_token,
            session,
            csrf,
            person,
        }
    }

    /// The way that leads to something, for routes that only read: by what its place stands for.
    pub(super) fn fill(&self, path: &str) -> String {
        let id = if path.contains("/statuses/") {
            self.edited
        } else if path.contains("/notifications/") {
            self.notification
        } else {
            self.target
        };
        let query = match path {
            "/api/v1/accounts/lookup" => "?acct=bob",
            "/api/v1/accounts/search" | "/api/v2/search" => "?q=bob",
            "/.well-known/webfinger" => "?resource=acct:bob@here.test",
            _ => "",
        };
        let fresh = self.fresh;
        path.replace("/@{name}/{id}", &format!("/@bob/{fresh}"))
            .replace("/@{name}", "/@bob")
            .replace(
                "/users/{name}/statuses/{id}",
                &format!("/users/bob/statuses/{fresh}"),
            )
            .replace("/users/{name}", "/users/bob")
            .replace("{id}", &id.to_string())
            .replace("{host}", "a.test")
            .split('/')
            .map(|part| if part.starts_with('{') { "1" } else { part })
            .collect::<Vec<_>>()
            .join("/")
            + query
    }
}

/// Runs a statement about one row.
pub(super) async fn run(world: &World, statement: &'static str, id: i64) {
    let done = sqlx::query(statement)
        .bind(id)
        .execute(&world.db.pool)
        .await
        .expect("runs");
    assert_eq!(done.rows_affected(), 1, "{statement}");
}

async fn act_on(world: &World, who: &Person, act: &str, target: i64) {
    let path = format!("/api/v1/accounts/{target}/{act}");
    world.post(who, &path, json!({})).await.ok();
}

/// What the fan-out would have told them.
async fn notify(world: &World, account_id: i64, from: i64) -> i64 {
    sqlx::query_scalar(
        "insert into notifications (account_id, kind, source_id, from_account_id)
         values ($1, 'follow', $1, $2) returning id",
    )
    .bind(account_id)
    .bind(from)
    .fetch_one(&world.db.pool)
    .await
    .expect("a notification")
}

async fn app(world: &World) -> (String, String, String) {
    let new = json!({
        "client_name": "Staged", "redirect_uris": "https://app.test/cb", "scopes": "read write",
    });
    let app = world
        .call(Method::POST, "/api/v1/apps", None, Some(&new))
        .await
        .ok();
    let text = |of: &Value, name: &str| of[name].as_str().expect("text").to_owned();
    let (id, secret) = (text(&app, "client_id"), text(&app, "client_secret"));
    let grant = json!({
        "grant_type": "client_credentials", "client_id": id, "client_secret": secret,
        "scope": "read write",
    });
    let token = world
        .call(Method::POST, "/oauth/token", None, Some(&grant))
        .await
        .ok();
    (id, secret, text(&token, "access_token"))
}

/// A session in a browser: its cookie's value, and what its forms carry.
async fn session(world: &World, account_id: i64) -> (String, String) {
    let (token, csrf) = (random_token(), random_token());
    sqlx::query(
        "insert into web_sessions (token_hash, user_id, csrf, expires_at)
         select $1, id, $2, now() + interval '1 day' from users where account_id = $3",
    )
    .bind(&hash_token(&token)[..])
    .bind(&csrf)
    .bind(account_id)
    .execute(&world.db.pool)
    .await
    .expect("a session");
    (token, csrf)
}
