//! What other roles get through the way out, and what they do not get (R1, B2 to B4, A8, C7, C8).

mod common;

use std::time::{Duration, Instant};

use common::Rig;
use tidegate_delivery::{EgressError, WayOut, ensure_instance_actor};
use tidegate_loadtest::{Document, Fault, HostBehaviour, Scheme, Script};
use tidegate_store::KeyVault;
use tidegate_testkit::{contents, differences};

const BOB: &str = "http://a.sim.test/users/bob";

async fn rig() -> (Rig, WayOut) {
    let mut rig = Rig::new().await;
    // The simulator's answers cost it time on a busy machine; deadlines have their own test.
    rig.options.egress.total_timeout = Duration::from_secs(15);
    ensure_instance_actor(rig.pool(), &rig.deps.vault, &rig.deps.instance)
        .await
        .expect("the instance actor");
    for (host, name) in [("a.sim.test", "bob"), ("b.sim.test", "eve")] {
        let actor = rig.sim.add_actor(host, name, true);
        rig.sim.public_key(&actor).await.expect("a key");
    }
    let way_out = rig.delivery().way_out().clone();
    (rig, way_out)
}

fn documents(rig: &Rig, fault: Fault) {
    let habits = HostBehaviour::documents(Script::always(fault));
    rig.sim.set_behaviour("a.sim.test", habits);
}

#[tokio::test]
async fn an_actor_is_found_by_handle_by_id_and_by_key() {
    let (_rig, way_out) = rig().await;
    let by_handle = way_out
        .resolve_handle("@bob@A.sim.test")
        .await
        .expect("by handle");
    assert_eq!(by_handle.handle, "bob@a.sim.test");
    assert_eq!(by_handle.document.id, BOB);
    let by_id = way_out.fetch_object(BOB).await.expect("by id");
    assert_eq!(by_id, by_handle.document);
    let key_id =
        serde_json::from_slice::<serde_json::Value>(&by_id.body).expect("JSON")["publicKey"]["id"]
            .as_str()
            .expect("a key")
            .to_owned();
    let by_key = way_out.fetch_key(&key_id).await.expect("by key");
    assert_eq!(by_key.id, BOB);
}

#[tokio::test]
async fn fetches_are_signed_by_the_instance_actor_and_a_401_gets_the_other_scheme() {
    for (refused, scheme) in [(0, Scheme::Cavage), (1, Scheme::Rfc9421)] {
        let (rig, way_out) = rig().await;
        let habits = HostBehaviour {
            signed_fetch: true,
            documents: Script::first(refused, Fault::Status { code: 401 }),
            ..HostBehaviour::default()
        };
        rig.sim.set_behaviour("a.sim.test", habits);
        way_out.fetch_object(BOB).await.expect("a signed fetch");
        let taken = rig.sim.ledger().received(|entry| entry.status == 200);
        let verdict = &taken.last().expect("an entry").verdict;
        assert!(verdict.is_valid(), "{verdict:?}");
        assert_eq!(verdict.scheme(), Some(scheme));
    }
}

#[tokio::test]
async fn an_upload_is_not_an_actor() {
    for value in [
        "application/json",
        "text/plain",
        "application/octet-stream",
        "application/ld+json",
        "application/activity+jsonx",
    ] {
        let (rig, way_out) = rig().await;
        documents(
            &rig,
            Fault::ContentType {
                value: value.to_owned(),
            },
        );
        let before = contents(rig.pool()).await;
        let key = format!("{BOB}#main-key");
        for refused in [
            way_out.fetch_object(BOB).await,
            way_out.fetch_key(&key).await,
        ] {
            assert_eq!(refused, Err(EgressError::WrongType), "{value}");
        }
        let traces = differences(&before, &contents(rig.pool()).await);
        assert!(traces.is_empty(), "{value} left traces: {traces:?}");
    }
}

#[tokio::test]
async fn an_id_elsewhere_is_refused_and_one_on_the_same_host_is_asked_once() {
    let (rig, way_out) = rig().await;
    documents(&rig, Fault::wrong_id("http://b.sim.test/users/eve"));
    assert_eq!(way_out.fetch_object(BOB).await, Err(EgressError::WrongId));
    assert!(
        rig.sim
            .ledger()
            .received(|entry| &*entry.host == "b.sim.test")
            .is_empty()
    );

    let alias = "http://a.sim.test/@bob";
    let honest =
        serde_json::json!({"@context": "https://www.w3.org/ns/activitystreams", "id": BOB});
    rig.sim
        .set_behaviour("a.sim.test", HostBehaviour::default());
    rig.sim
        .serve("a.sim.test", "/@bob", Document::activity_json(&honest))
        .expect("served");
    assert_eq!(
        way_out.fetch_object(alias).await.expect("asked again").id,
        BOB
    );
}

#[tokio::test]
async fn redirects_are_followed_by_hand_and_not_for_ever() {
    let (rig, way_out) = rig().await;
    documents(
        &rig,
        Fault::Redirect {
            code: 302,
            to: BOB.to_owned(),
        },
    );
    assert_eq!(
        way_out.fetch_object(BOB).await,
        Err(EgressError::Redirect("too many"))
    );
    assert_eq!(rig.sim.ledger().len(), 4, "the first and three more");
    for to in [
        "http://127.0.0.1:6379/",
        "http://[::1]:15672/",
        "http://169.254.169.254/",
    ] {
        let (rig, way_out) = self::rig().await;
        documents(
            &rig,
            Fault::Redirect {
                code: 307,
                to: to.to_owned(),
            },
        );
        assert_eq!(
            way_out.fetch_object(BOB).await,
            Err(EgressError::BlockedAddress),
            "{to}"
        );
    }
}

#[tokio::test]
async fn a_signature_never_goes_to_another_origin() {
    let (rig, way_out) = rig().await;
    let to = "http://b.sim.test/users/eve".to_owned();
    documents(&rig, Fault::Redirect { code: 302, to });
    let got = way_out
        .fetch_object(BOB)
        .await
        .expect("eve, under her own id");
    assert_eq!(got.id, "http://b.sim.test/users/eve");
    let elsewhere = rig
        .sim
        .ledger()
        .received(|entry| &*entry.host == "b.sim.test");
    assert_eq!(elsewhere.len(), 1);
    assert!(!elsewhere[0].headers.contains_key("signature"));
}

#[tokio::test]
async fn bombs_and_endless_answers_stop_at_the_limit() {
    for fault in [
        Fault::HugeBody { bytes: 64 << 20 },
        Fault::GzipBomb { bytes: 64 << 20 },
    ] {
        let (rig, way_out) = rig().await;
        documents(&rig, fault.clone());
        let got = way_out.fetch_object(BOB).await;
        assert_eq!(got, Err(EgressError::TooLarge), "{fault:?}");
    }
}

#[tokio::test]
async fn a_trickle_ends_at_the_deadline() {
    let (mut rig, _) = rig().await;
    rig.options.egress.total_timeout = Duration::from_secs(2);
    let way_out = rig.delivery().way_out().clone();
    documents(
        &rig,
        Fault::Trickle {
            interval_millis: 100,
            bytes: 10_000,
        },
    );
    let started = Instant::now();
    assert_eq!(way_out.fetch_object(BOB).await, Err(EgressError::Timeout));
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn the_same_question_is_one_request_and_a_failure_is_remembered() {
    let (rig, way_out) = rig().await;
    rig.sim.set_behaviour(
        "a.sim.test",
        HostBehaviour::slow(Duration::from_millis(300)),
    );
    let asked = (0..20).map(|_| way_out.fetch_object(BOB));
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(rig.sim.ledger().len(), 1);

    let gone = "http://a.sim.test/users/nobody";
    for _ in 0..5 {
        assert_eq!(
            way_out.fetch_object(gone).await,
            Err(EgressError::Status(404))
        );
    }
    assert_eq!(rig.sim.ledger().len(), 2);
}

#[tokio::test]
async fn a_host_is_asked_no_oftener_than_its_budget() {
    let mut rig = Rig::new().await;
    rig.options.egress.fetches_per_host_minute = 3;
    ensure_instance_actor(rig.pool(), &rig.deps.vault, &rig.deps.instance)
        .await
        .expect("the instance actor");
    rig.sim.add_host("a.sim.test", HostBehaviour::default());
    let way_out = rig.delivery().way_out().clone();
    let mut refused = 0;
    for n in 0..10 {
        let url = format!("http://a.sim.test/users/{n}");
        refused += usize::from(way_out.fetch_object(&url).await == Err(EgressError::Budget));
    }
    assert_eq!((refused, rig.sim.ledger().len()), (7, 3));
}

#[tokio::test]
async fn a_key_document_that_names_somebody_else_is_refused() {
    let (rig, way_out) = rig().await;
    let key = "http://b.sim.test/keys/1";
    let lie = serde_json::json!({"id": key, "owner": BOB, "publicKeyPem": "x"});
    rig.sim
        .serve("b.sim.test", "/keys/1", Document::activity_json(&lie))
        .expect("served");
    assert_eq!(way_out.fetch_key(key).await, Err(EgressError::WrongOwner));
    assert!(
        rig.sim
            .ledger()
            .received(|entry| &*entry.host == "a.sim.test")
            .is_empty()
    );
    let own = "http://us.test/users/ada#main-key";
    assert!(matches!(
        way_out.fetch_key(own).await,
        Err(EgressError::BadUrl(_))
    ));
}

/// A14: whoever asks tells a key that is gone for good from one that is not found.
#[tokio::test]
async fn a_key_that_is_gone_is_told_from_one_that_is_not_there() {
    let (rig, way_out) = rig().await;
    for code in [404, 410] {
        let host = format!("k{code}.sim.test");
        let says = Script::always(Fault::Status { code });
        rig.sim.add_host(&host, HostBehaviour::documents(says));
        let key = format!("http://{host}/users/x#main-key");
        let got = way_out.fetch_key(&key).await;
        assert_eq!(got, Err(EgressError::Status(code)));
    }
}

/// A11: names of keys that are no addresses, or none that may be asked.
#[tokio::test]
async fn odd_names_of_keys_are_refused_and_nobody_is_asked() {
    let mut rig = Rig::new().await;
    rig.options.egress.allow_plain_http = false;
    ensure_instance_actor(rig.pool(), &rig.deps.vault, &rig.deps.instance)
        .await
        .expect("the instance actor");
    let way_out = rig.delivery().way_out().clone();
    let long = format!("https://a.sim.test/{}", "x".repeat(10 << 10));
    for key in [
        "http://a.sim.test/users/bob#main-key",
        "https://bob:secret@a.sim.test/users/bob#main-key",
        "#main-key",
        "acct:bob@a.sim.test",
        "https://us.test/users/ada#main-key",
        "",
        &long,
    ] {
        let got = way_out.fetch_key(key).await;
        assert!(matches!(got, Err(EgressError::BadUrl(_))), "{key}: {got:?}");
    }
    assert!(rig.sim.ledger().received(|_| true).is_empty());
}

#[tokio::test]
async fn a_domain_cannot_lend_its_name_to_somebody_elses_account() {
    let (rig, way_out) = rig().await;
    let jrd = serde_json::json!({
        "subject": "acct:bob@b.sim.test",
        "links": [{"rel": "self", "type": "application/activity+json", "href": BOB}],
    });
    let path = "/.well-known/webfinger?resource=acct%3Abob%40b%2Esim%2Etest";
    let document = Document::of_type("application/jrd+json", &jrd);
    rig.sim.serve("b.sim.test", path, document).expect("served");
    let got = way_out.resolve_handle("bob@b.sim.test").await;
    assert_eq!(got, Err(EgressError::WrongSubject));
}

#[tokio::test]
async fn the_instance_actor_is_made_once_by_many_at_the_same_time() {
    let rig = Rig::new().await;
    let made =
        (0..4).map(|_| ensure_instance_actor(rig.pool(), &rig.deps.vault, &rig.deps.instance));
    let made = futures::future::join_all(made).await;
    let ids: std::collections::HashSet<i64> = made
        .into_iter()
        .map(|account| account.expect("an account").id)
        .collect();
    assert_eq!(ids.len(), 1);

    // Whoever comes with another key-encryption key could sign for nobody.
    let other = KeyVault::new(b"another secret of thirty-two bytes for tests");
    let refused = ensure_instance_actor(rig.pool(), &other, &rig.deps.instance).await;
    let told = refused.expect_err("it cannot be used").to_string();
    assert!(told.contains("secrets.key_encryption_key"), "{told}");
}
