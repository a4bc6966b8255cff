//! One example for every route that writes: a way and a body with which a person of a [`Stage`]
//! changes something. A route that is not here fails the tests that go through all routes.

use serde_json::{Value, json};

use super::stage::{PASSWORD, Stage};

/// Who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Person,
    /// Somebody who signed up and did not confirm yet.
    Newcomer,
    /// The app, with a token of its own.
    App,
    /// A browser in which the person is signed in.
    Browser,
    /// Nobody in particular: what they know is in the body.
    Anybody,
    /// A server that signs.
    Server,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    /// Each member matters together: without the body the outcome is another one.
    Read(Value),
    /// The route looks at no body.
    Unread,
}

pub(super) struct Write {
    /// Method and path as the routers have them.
    pub(super) route: &'static str,
    /// The path with its places filled.
    pub(super) path: String,
    pub(super) sender: Sender,
    pub(super) sent: Sent,
}

impl Write {
    pub(super) fn method(&self) -> &'static str {
        self.route.split(' ').next().expect("a method")
    }

    /// The body, if only to see that it is not looked at.
    pub(super) fn body(&self) -> Value {
        match &self.sent {
            Sent::Read(body) => body.clone(),
            Sent::Unread => json!({ "comment": "for nobody", "list": ["a", "b"] }),
        }
    }
}

/// All of them, in an order in which none takes away what a later one needs.
pub(super) fn writes(stage: &Stage) -> Vec<Write> {
    let mut all = to_accounts(stage);
    all.extend(to_statuses(stage));
    all.extend(to_operators());
    all.extend(to_the_way_in(stage));
    all.extend(to_pages(stage));
    all.extend(to_inboxes());
    all
}

fn person(route: &'static str, place: &str, sent: Sent) -> Write {
    let path = route.split(' ').nth(1).expect("a path");
    let path = path.replace("{id}", place).replace("{host}", place);
    Write {
        route,
        path,
        sender: Sender::Person,
        sent,
    }
}

fn to_accounts(stage: &Stage) -> Vec<Write> {
    let read = Sent::Read;
    let on = |route, id: i64, sent| person(route, &id.to_string(), sent);
    let profile = json!({
        "display_name": "Ada L.", "note": "hello there", "bot": true,
        "source": { "privacy": "private", "language": "de" },
        "fields_attributes": [
            { "name": "web", "value": "https://ada.test" }, { "name": "tea", "value": "green" },
        ],
    });
    vec![
        person(
            "PATCH /api/v1/accounts/update_credentials",
            "",
            read(profile),
        ),
        on(
            "POST /api/v1/accounts/{id}/follow",
            stage.target,
            read(json!({ "reblogs": false, "notify": true, "languages": ["en", "de"] })),
        ),
        on(
            "POST /api/v1/accounts/{id}/unfollow",
            stage.followed,
            Sent::Unread,
        ),
        on(
            "POST /api/v1/accounts/{id}/remove_from_followers",
            stage.follower,
            Sent::Unread,
        ),
        on(
            "POST /api/v1/accounts/{id}/block",
            stage.to_block,
            Sent::Unread,
        ),
        on(
            "POST /api/v1/accounts/{id}/unblock",
            stage.blocked,
            Sent::Unread,
        ),
        on(
            "POST /api/v1/accounts/{id}/mute",
            stage.to_mute,
            read(json!({ "notifications": false, "duration": 3600 })),
        ),
        on(
            "POST /api/v1/accounts/{id}/unmute",
            stage.muted,
            Sent::Unread,
        ),
        on(
            "POST /api/v1/accounts/{id}/note",
            stage.target,
            read(json!({ "comment": "kind" })),
        ),
        on(
            "POST /api/v1/follow_requests/{id}/authorize",
            stage.asking[0],
            Sent::Unread,
        ),
        on(
            "POST /api/v1/follow_requests/{id}/reject",
            stage.asking[1],
            Sent::Unread,
        ),
        on(
            "POST /api/v1/notifications/{id}/dismiss",
            stage.notification,
            Sent::Unread,
        ),
        person(
            "POST /api/v1/markers",
            "",
            read(json!({
                "home": { "last_read_id": "5" }, "notifications": { "last_read_id": "7" },
            })),
        ),
    ]
}

fn to_statuses(stage: &Stage) -> Vec<Write> {
    let read = Sent::Read;
    let on = |route, id: i64, sent| person(route, &id.to_string(), sent);
    vec![
        person(
            "POST /api/v1/statuses",
            "",
            read(json!({
                "status": "Good morning & welcome", "spoiler_text": "tea", "visibility": "unlisted",
                "sensitive": true, "language": "en", "in_reply_to_id": stage.fresh.to_string(),
            })),
        ),
        on(
            "PUT /api/v1/statuses/{id}",
            stage.edited,
            read(json!({ "status": "second try", "spoiler_text": "better", "sensitive": true })),
        ),
        on(
            "POST /api/v1/statuses/{id}/favourite",
            stage.fresh,
            Sent::Unread,
        ),
        on(
            "POST /api/v1/statuses/{id}/unfavourite",
            stage.used,
            Sent::Unread,
        ),
        on(
            "POST /api/v1/statuses/{id}/reblog",
            stage.fresh,
            read(json!({ "visibility": "private" })),
        ),
        on(
            "POST /api/v1/statuses/{id}/unreblog",
            stage.used,
            Sent::Unread,
        ),
        on(
            "POST /api/v1/statuses/{id}/bookmark",
            stage.fresh,
            Sent::Unread,
        ),
        on(
            "POST /api/v1/statuses/{id}/unbookmark",
            stage.used,
            Sent::Unread,
        ),
        on("DELETE /api/v1/statuses/{id}", stage.deleted, Sent::Unread),
    ]
}

fn to_operators() -> Vec<Write> {
    let why = || Sent::Read(json!({ "comment": "too slow" }));
    let some = || {
        Sent::Read(json!({ "host": "a.test", "older_than": 60, "limit": 5, "comment": "moved" }))
    };
    vec![
        person(
            "POST /api/tidegate/v1/admin/hosts/{host}/pause",
            "a.test",
            why(),
        ),
        person(
            "POST /api/tidegate/v1/admin/hosts/{host}/resume",
            "a.test",
            why(),
        ),
        person(
            "POST /api/tidegate/v1/admin/hosts/{host}/probe",
            "a.test",
            why(),
        ),
        person("POST /api/tidegate/v1/admin/deliveries/replay", "", some()),
        person("POST /api/tidegate/v1/admin/deliveries/purge", "", some()),
    ]
}

fn to_the_way_in(stage: &Stage) -> Vec<Write> {
    let from = |sender, write: Write| Write { sender, ..write };
    let (id, secret) = (&stage.client_id, &stage.client_secret);
    vec![
        from(
            Sender::Anybody,
            person(
                "POST /api/v1/apps",
                "",
                Sent::Read(json!({
                    "client_name": "Another", "website": "https://another.test", "scopes": "read write",
                    "redirect_uris": ["https://another.test/cb", "urn:ietf:wg:oauth:2.0:oob"],
                })),
            ),
        ),
        from(
            Sender::Anybody,
            person(
                "POST /oauth/token",
                "",
                Sent::Read(json!({
                    "grant_type": "client_credentials", "client_id": id, "client_secret": secret,
                    "scope": "read",
                })),
            ),
        ),
        person("POST /oauth/userinfo", "", Sent::Unread),
        from(
            Sender::App,
            person(
                "POST /api/v1/accounts",
                "",
                Sent::Read(json!({
                    "username": format!("api_{}", stage.name), "email": format!("api_{}@mail.test", stage.name),
                    "password": PASSWORD, "agreement": true, "locale": "en", "reason": "tea",
                })),
            ),
        ),
        from(
            Sender::Newcomer,
            person(
                "POST /api/v1/emails/confirmations",
                "",
                Sent::Read(json!({
                    "email": format!("other_{}@mail.test", stage.name),
                })),
            ),
        ),
        // The app's own: nothing later needs it.
        from(
            Sender::Anybody,
            person(
                "POST /oauth/revoke",
                "",
                Sent::Read(json!({
                    "client_id": id, "client_secret": secret, "token": stage.client_token,
                })),
            ),
        ),
    ]
}

fn to_pages(stage: &Stage) -> Vec<Write> {
    let browser = |route, mut body: Value| {
        body["csrf"] = json!(stage.csrf);
        Write {
            sender: Sender::Browser,
            ..person(route, "", Sent::Read(body))
        }
    };
    let consent = |decision: &str| {
        json!({
            "response_type": "code", "client_id": stage.client_id, "scope": "read",
            "redirect_uri": "https://app.test/cb", "state": "xyz", "decision": decision,
        })
    };
    let email = format!("{}@mail.test", stage.name);
    let web = format!("web_{}", stage.name);
    vec![
        browser("POST /oauth/authorize", consent("approve")),
        browser("DELETE /oauth/authorize", consent("")),
        browser(
            "POST /auth/sign_in",
            json!({ "email": email, "password": PASSWORD }),
        ),
        browser(
            "POST /auth/sign_up",
            json!({
                "username": web, "email": format!("{web}@mail.test"), "password": PASSWORD,
                "agreement": "1", "reason": "tea",
            }),
        ),
        browser(
            "POST /auth/confirmation",
            json!({ "email": format!("web_{}@mail.test", stage.name) }),
        ),
        person("POST /api/v1/notifications/clear", "", Sent::Unread),
        // Last: the session is gone.
        browser("POST /auth/sign_out", json!({})),
    ]
}

/// Of all routes these alone speak one encoding, the protocol's.
fn to_inboxes() -> Vec<Write> {
    let follow = json!({
        "@context": "https://www.w3.org/ns/activitystreams", "type": "Follow",
        "id": "https://far.test/follows/1", "actor": "https://far.test/users/eve",
        "object": "https://here.test/users/bob",
    });
    let routes = [
        "POST /inbox",
        "POST /actor/inbox",
        "POST /users/{name}/inbox",
    ];
    let write = |route| {
        let write = person(route, "", Sent::Read(follow.clone()));
        Write {
            sender: Sender::Server,
            path: write.path.replace("{name}", "bob"),
            ..write
        }
    };
    routes.map(write).into()
}
