//! The simulator against itself: two simulated hosts that only know each other over HTTP.

use std::time::Duration;

use serde_json::json;
use tidegate_loadtest::{
    ActorRef, ActorSpec, Document, Fault, FollowState, HostBehaviour, PostSpec, RawRequest,
    RawSignature, Scheme, Script, SignaturePolicy, Sim, SimConfig, Visibility,
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn started() -> (Sim, ActorRef, ActorRef) {
    let sim = Sim::start(SimConfig::default()).await.expect("a free port");
    let ada = sim.add_actor("alpha.sim.test", "ada", true);
    let bob = sim.add_actor("beta.sim.test", "bob", false);
    (sim, ada, bob)
}

async fn follow_and_wait(sim: &Sim, who: &ActorRef, target: &ActorRef) {
    let sent = sim.follow(who, &target.uri).await.expect("delivered");
    assert!(sent.all_taken(), "{sent:?}");
    let accepted = sim
        .ledger()
        .wait_until(
            |_| {
                let following = sim.following(who).expect("known");
                following
                    .get(&target.uri)
                    .is_some_and(|it| it.state == FollowState::Accepted)
            },
            PATIENCE,
        )
        .await;
    assert!(accepted, "the follow was not accepted");
}

#[tokio::test]
async fn a_follow_is_accepted_and_a_post_reaches_the_follower() {
    let (sim, ada, bob) = started().await;
    follow_and_wait(&sim, &ada, &bob).await;
    assert_eq!(
        sim.followers(&bob).expect("known")[&ada.uri].preferred(),
        ada.shared_inbox()
    );

    let posted = sim
        .post(&bob, &PostSpec::public("<p>hello</p>"))
        .await
        .expect("posted");
    assert!(posted.sent.all_taken(), "{posted:?}");
    let counts = sim
        .ledger()
        .counts("alpha.sim.test", "/inbox", &posted.sent.activity);
    assert_eq!(
        (counts.attempts, counts.taken, counts.unverified),
        (1, 1, 0)
    );

    let note = sim.get_as(&ada, &posted.note).await.expect("answered");
    assert_eq!(note.json().expect("JSON")["content"], "<p>hello</p>");
    let deleted = sim.delete(&bob, &posted.note).await.expect("sent");
    assert_eq!(deleted.deliveries[0].inbox, ada.shared_inbox());
    assert_eq!(
        sim.get_as(&ada, &posted.note)
            .await
            .expect("answered")
            .status,
        410
    );

    sim.unfollow(&ada, &bob.uri).await.expect("sent");
    assert!(sim.followers(&bob).expect("known").is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn a_handle_is_found_and_every_document_is_served() {
    let (sim, ada, bob) = started().await;
    assert_eq!(
        sim.finger(&ada, "@bob@beta.sim.test").await.expect("found"),
        bob.uri
    );
    assert!(sim.finger(&ada, "nobody@beta.sim.test").await.is_err());
    for (path, kind) in [
        ("/users/bob", "Person"),
        ("/users/bob/followers", "OrderedCollection"),
        ("/users/bob/followers?page=1", "OrderedCollectionPage"),
        ("/users/bob/outbox", "OrderedCollection"),
        ("/actor", "Application"),
    ] {
        let url = format!("http://beta.sim.test{path}");
        let answer = sim.get_as(&ada, &url).await.expect("answered");
        let document = answer.json().expect("JSON");
        assert_eq!(document["type"], kind, "{path}");
        assert_eq!(document["id"], url, "{path}");
    }
    let links = sim
        .get_as(&ada, "http://beta.sim.test/.well-known/nodeinfo")
        .await
        .expect("answer");
    let href = links.json().expect("JSON")["links"][0]["href"]
        .as_str()
        .expect("href")
        .to_owned();
    assert_eq!(
        sim.get_as(&ada, &href)
            .await
            .expect("answer")
            .json()
            .expect("JSON")["version"],
        "2.0"
    );
    assert_eq!(
        sim.get_as(&ada, "http://nowhere.test/")
            .await
            .expect("answer")
            .status,
        421
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn a_host_that_knows_one_scheme_makes_the_sender_try_again() {
    let (sim, ada, bob) = started().await;
    let only = HostBehaviour {
        only_scheme: Some(Scheme::Rfc9421),
        ..HostBehaviour::default()
    };
    sim.set_behaviour("beta.sim.test", only);
    let refused = sim.follow(&ada, &bob.uri).await.expect("sent");
    assert_eq!(refused.deliveries[0].status, 401);

    let second = HostBehaviour {
        second_try: true,
        ..HostBehaviour::default()
    };
    sim.set_behaviour("alpha.sim.test", second);
    let taken = sim.follow(&ada, &bob.uri).await.expect("sent");
    assert!(taken.all_taken(), "{taken:?}");
    let tries = sim.ledger().activities("Follow");
    let seen: Vec<_> = tries
        .iter()
        .map(|it| (it.verdict.scheme(), it.status))
        .collect();
    let (old, new) = (Some(Scheme::Cavage), Some(Scheme::Rfc9421));
    assert_eq!(seen, [(old, 401), (old, 401), (new, 202)]);
    sim.shutdown().await;
}

#[tokio::test]
async fn spoiled_requests_are_refused_and_leave_no_effect() {
    let (sim, ada, bob) = started().await;
    let eve = sim.add_actor_with(
        "evil.sim.test",
        "eve",
        ActorSpec {
            own_key: true,
            ..ActorSpec::default()
        },
    );
    let follow = json!({
        "id": "http://alpha.sim.test/f/1", "type": "Follow", "actor": ada.uri, "object": bob.uri,
    });
    for scheme in [Scheme::Cavage, Scheme::Rfc9421] {
        let honest = RawSignature::by(&ada, scheme);
        let post = || RawRequest::post(&bob.inbox(), &follow);
        let foreign = RawSignature::by(&eve, scheme);
        let stolen = RawSignature {
            by: eve.clone(),
            ..honest.clone()
        }
        .naming(&ada.key_id());
        let requests = [
            ("unsigned", post()),
            (
                "spoiled",
                post().signed(RawSignature {
                    spoil: true,
                    ..honest.clone()
                }),
            ),
            ("foreign key", post().signed(foreign)),
            ("foreign key under a known name", post().signed(stolen)),
            (
                "swapped body",
                RawRequest {
                    sent_body: Some("{}".into()),
                    ..post().signed(honest.clone())
                },
            ),
        ];
        for (name, request) in requests {
            let answer = sim.send_raw(request).await.expect("answered");
            assert!(
                [400, 401].contains(&answer.status),
                "{name}: {}",
                answer.status
            );
        }
        let answer = sim.send_raw(post().signed(honest)).await.expect("answered");
        assert_eq!(answer.status, 202);
    }
    let counts = sim.ledger().counts(
        "beta.sim.test",
        "/users/bob/inbox",
        "http://alpha.sim.test/f/1",
    );
    assert_eq!((counts.attempts, counts.taken), (10, 2));
    sim.shutdown().await;
}

#[tokio::test]
async fn a_recording_host_takes_what_a_strict_one_refuses() {
    let (sim, ada, bob) = started().await;
    let lax = HostBehaviour {
        signatures: SignaturePolicy::RecordOnly,
        auto_accept: false,
        ..HostBehaviour::default()
    };
    sim.set_behaviour("beta.sim.test", lax);
    let like = json!({ "id": "http://x.test/1", "type": "Like", "actor": ada.uri, "object": "o" });
    let answer = sim
        .send_raw(RawRequest::post(&bob.inbox(), &like))
        .await
        .expect("answered");
    assert_eq!(answer.status, 202);
    assert_eq!(
        sim.ledger()
            .counts("beta.sim.test", "/users/bob/inbox", "http://x.test/1")
            .unverified,
        1
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn inbox_scripts_do_what_they_say() {
    let (sim, ada, bob) = started().await;
    let like = |number: u32| {
        json!({
            "id": format!("http://alpha.sim.test/l/{number}"), "type": "Like",
            "actor": ada.uri, "object": "http://beta.sim.test/n",
        })
    };
    let behave = |script| sim.set_behaviour("beta.sim.test", HostBehaviour::inbox(script));
    let hit = async |number| sim.hit_inbox_as(&ada, &bob.inbox(), &like(number)).await;

    behave(Script::first(2, Fault::Status { code: 503 }));
    for expected in [503, 503, 202] {
        assert_eq!(hit(1).await.expect("answered").status, expected);
    }
    behave(Script::always(Fault::TooManyRequests {
        retry_after: "7".to_owned(),
    }));
    let answer = hit(2).await.expect("answered");
    assert_eq!(
        (answer.status, answer.headers["retry-after"].as_bytes()),
        (429, b"7".as_slice())
    );
    behave(Script::always(Fault::Redirect {
        code: 307,
        to: "http://127.0.0.1:1/".to_owned(),
    }));
    assert_eq!(hit(3).await.expect("answered").status, 307);
    behave(Script::always(Fault::Reset));
    assert!(hit(4).await.is_err());
    behave(Script::always(Fault::Hang { millis: 50 }));
    assert!(hit(5).await.is_err());
    behave(Script::always(Fault::LoseAnswer));
    assert!(hit(6).await.is_err());
    sim.set_behaviour("beta.sim.test", HostBehaviour::accept_then_gone(1));
    assert_eq!(hit(7).await.expect("answered").status, 202);
    assert_eq!(hit(8).await.expect("answered").status, 410);

    let taken = |number| {
        let id = format!("http://alpha.sim.test/l/{number}");
        sim.ledger()
            .counts("beta.sim.test", "/users/bob/inbox", &id)
            .taken
    };
    let effects: Vec<u32> = (1..=8).map(taken).collect();
    assert_eq!(effects, [1, 0, 0, 0, 0, 1, 1, 0]);
    sim.shutdown().await;
}

#[tokio::test]
async fn document_scripts_do_what_they_say() {
    let (sim, ada, bob) = started().await;
    let behave = |fault| {
        sim.set_behaviour(
            "beta.sim.test",
            HostBehaviour::documents(Script::always(fault)),
        );
    };
    let get = async || sim.get_as(&ada, &bob.uri).await;

    behave(Fault::HugeBody { bytes: 1 << 20 });
    assert_eq!(get().await.expect("within our bound").body.len(), 1 << 20);
    behave(Fault::HugeBody { bytes: 64 << 20 });
    assert!(get().await.is_err());
    behave(Fault::GzipBomb { bytes: 10 << 20 });
    let bomb = get().await.expect("small on the wire");
    assert_eq!(bomb.headers["content-encoding"], "gzip");
    assert!(bomb.body.len() < 20_000, "{}", bomb.body.len());
    behave(Fault::Trickle {
        interval_millis: 5,
        bytes: 20,
    });
    let before = std::time::Instant::now();
    assert_eq!(get().await.expect("ends").body.len(), 20);
    assert!(before.elapsed() >= Duration::from_millis(100));
    behave(Fault::ContentType {
        value: "text/plain".to_owned(),
    });
    assert_eq!(
        get().await.expect("answered").headers["content-type"],
        "text/plain"
    );
    behave(Fault::wrong_id("http://other.test/users/bob"));
    assert_eq!(
        get().await.expect("answered").json().expect("JSON")["id"],
        "http://other.test/users/bob"
    );
    assert!(
        sim.follow(&ada, &bob.uri).await.is_err(),
        "a document under a wrong id is believed"
    );
    behave(Fault::private_addresses("10.0.0.7:6379"));
    let document = get().await.expect("answered").json().expect("JSON");
    assert_eq!(document["inbox"], "http://10.0.0.7:6379/inbox");
    assert!(!sim.follow(&ada, &bob.uri).await.expect("tried").all_taken());
    sim.shutdown().await;
}

#[tokio::test]
async fn authorized_fetch_hides_all_but_the_instance_actor() {
    let (sim, ada, bob) = started().await;
    let strict = HostBehaviour {
        signed_fetch: true,
        ..HostBehaviour::default()
    };
    sim.set_behaviour("beta.sim.test", strict);
    let unsigned = |url: &str| RawRequest {
        method: http::Method::GET,
        ..RawRequest::post(url, &json!(null))
    };
    assert_eq!(
        sim.send_raw(unsigned(&bob.uri))
            .await
            .expect("answered")
            .status,
        401
    );
    let instance = unsigned("http://beta.sim.test/actor");
    assert_eq!(sim.send_raw(instance).await.expect("answered").status, 200);
    assert_eq!(
        sim.get_as(&ada, &bob.uri).await.expect("answered").status,
        200
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn a_new_key_under_the_old_id_is_found_out() {
    let (sim, ada, bob) = started().await;
    follow_and_wait(&sim, &ada, &bob).await;
    sim.rotate_key(&ada).await.expect("known");
    let sent = sim
        .like(&ada, "http://beta.sim.test/n", &bob.uri)
        .await
        .expect("sent");
    assert!(sent.all_taken(), "{sent:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_document_put_by_hand_wins_over_the_honest_one() {
    let (sim, ada, bob) = started().await;
    let forged = json!({ "id": bob.uri, "type": "Person", "name": "not bob" });
    let document = Document::of_type("application/json", &forged);
    sim.serve("beta.sim.test", "/users/bob", document)
        .expect("known");
    let answer = sim.get_as(&ada, &bob.uri).await.expect("answered");
    assert_eq!(answer.json().expect("JSON")["name"], "not bob");
    sim.unserve("beta.sim.test", "/users/bob");
    let answer = sim.get_as(&ada, &bob.uri).await.expect("answered");
    assert_eq!(answer.json().expect("JSON")["name"], "bob");
    sim.shutdown().await;
}

#[tokio::test]
async fn private_posts_go_to_the_addressed_only_and_are_not_served() {
    let (sim, ada, bob) = started().await;
    let carol = sim.add_actor("gamma.sim.test", "carol", true);
    follow_and_wait(&sim, &ada, &bob).await;
    let spec = PostSpec::with("<p>for carol</p>", Visibility::Direct).mention(&carol.uri);
    let posted = sim.post(&bob, &spec).await.expect("posted");
    let inboxes: Vec<_> = posted
        .sent
        .deliveries
        .iter()
        .map(|it| it.inbox.clone())
        .collect();
    assert_eq!(inboxes, [carol.shared_inbox()]);
    assert_eq!(
        sim.get_as(&ada, &posted.note)
            .await
            .expect("answered")
            .status,
        404
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn thousands_of_hosts_are_cheap_and_repeats_are_counted() {
    let (sim, ada, _) = started().await;
    let before = std::time::Instant::now();
    for number in 0..5_000 {
        sim.add_actor(&format!("h{number}.sim.test"), "user", true);
    }
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
    let like = json!({
        "id": "http://alpha.sim.test/l/1", "type": "Like", "actor": ada.uri, "object": "o",
    });
    let inboxes: Vec<String> = (0..200)
        .map(|number| format!("http://h{number}.sim.test/inbox"))
        .collect();
    for _ in 0..2 {
        let sent = sim
            .deliver(&ada, &like, inboxes.clone())
            .await
            .expect("sent");
        assert!(sent.all_taken());
    }
    assert_eq!(sim.ledger().effect_count(), 200);
    assert_eq!(
        sim.ledger()
            .counts("h7.sim.test", "/inbox", "http://alpha.sim.test/l/1")
            .taken,
        2
    );
    sim.shutdown().await;
}
