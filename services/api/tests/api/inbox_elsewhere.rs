//! Requests that were signed for elsewhere (A3), and names of keys that are tricks (A11).

use axum::http::{HeaderValue, header};
use time::OffsetDateTime;
use url::Url;

use crate::common::{Server, member};
use crate::peer::{Peer, known_and_stranger, refused_from_anybody, refused_without_a_trace, taken};

const TARGET: (&str, &str) = ("(request-target)", "post /inbox");
const HOST: (&str, &str) = ("host", "us.test");
const METHOD: (&str, &str) = ("@method", "POST");
const URI: (&str, &str) = ("@target-uri", "https://us.test/inbox");

fn date() -> String {
    httpdate::fmt_http_date(OffsetDateTime::now_utc().into())
}

fn created() -> String {
    format!(";created={}", OffsetDateTime::now_utc().unix_timestamp())
}

#[tokio::test]
async fn a3_what_was_signed_for_another_path_or_host_is_refused_without_a_trace() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    member(&server, "ada").await;
    member(&server, "bea").await;
    let note = bob.note().to_string();
    let body = note.as_bytes();
    let now = OffsetDateTime::now_utc();
    for mut replayed in [
        bob.request("/users/ada/inbox", body, now),
        bob.request_9421("/users/ada/inbox", body, now),
    ] {
        *replayed.uri_mut() = "/users/bea/inbox".parse().expect("a path");
        refused_without_a_trace(&server, replayed, "another inbox").await;
    }
    let date = date();
    let elsewhere = [TARGET, ("host", "q.test"), ("date", date.as_str())];
    let replayed = bob.cavage_by_hand(&elsewhere, "", body);
    refused_without_a_trace(&server, replayed, "another host").await;
    // A proxy that sets the host it calls must not make it ours.
    let mut rewritten = bob.cavage_by_hand(&elsewhere, "", body);
    let ours = HeaderValue::from_static("us.test");
    rewritten.headers_mut().insert(header::HOST, ours);
    refused_without_a_trace(&server, rewritten, "another host, rewritten").await;
    for uri in ["https://q.test/inbox", "http://us.test/inbox"] {
        let elsewhere = [METHOD, ("@target-uri", uri)];
        let replayed = bob.rfc9421_by_hand(&elsewhere, &created(), body);
        refused_without_a_trace(&server, replayed, uri).await;
    }
    let get = [
        ("(request-target)", "get /inbox"),
        HOST,
        ("date", date.as_str()),
    ];
    let replayed = bob.cavage_by_hand(&get, "", body);
    refused_without_a_trace(&server, replayed, "another method").await;
}

#[tokio::test]
async fn a3_what_does_not_say_where_it_goes_is_refused_without_a_trace() {
    let server = Server::start().await;
    let peers = known_and_stranger(&server).await;
    let date = date();
    let date = ("date", date.as_str());
    for (lines, why) in [
        (vec![HOST, date], "no (request-target)"),
        (vec![TARGET, date], "no host"),
        (vec![date], "neither"),
    ] {
        refused_from_anybody(&server, &peers, why, |peer, body| {
            let mut request = peer.cavage_by_hand(&lines, "", body);
            let ours = HeaderValue::from_static("us.test");
            request.headers_mut().insert(header::HOST, ours);
            request
        })
        .await;
    }
    for (components, why) in [
        (vec![URI], "no method"),
        (vec![METHOD], "no URL"),
        (vec![METHOD, ("@path", "/inbox")], "no host"),
        (vec![METHOD, ("@authority", "us.test")], "no path"),
    ] {
        refused_from_anybody(&server, &peers, why, |peer, body| {
            peer.rfc9421_by_hand(&components, &created(), body)
        })
        .await;
    }
}

/// Both schemes, for the actor's key under this name.
async fn refused_under(server: &Server, actor: &str, key_id: &str) {
    let peer = Peer::new(actor).named(key_id);
    let body = peer.note().to_string();
    let date = date();
    let lines = [TARGET, HOST, ("date", date.as_str())];
    let cavage = peer.cavage_by_hand(&lines, "", body.as_bytes());
    refused_without_a_trace(server, cavage, key_id).await;
    let modern = peer.rfc9421_by_hand(&[METHOD, URI], &created(), body.as_bytes());
    refused_without_a_trace(server, modern, key_id).await;
}

#[tokio::test]
async fn a11_names_of_keys_that_are_no_addresses_are_refused_without_a_trace() {
    let server = Server::start().await;
    let actor = "https://e.test/users/eve";
    let long = format!("https://e.test/{}#main-key", "x".repeat(10 * 1024));
    // Long enough to be nobody's, short enough for the header to be read.
    let longish = format!("https://e.test/{}#main-key", "x".repeat(3 * 1024));
    for key_id in [
        "#main-key",
        "",
        "main-key",
        "//e.test/users/eve#main-key",
        "acct:eve@e.test",
        "did:web:e.test#main-key",
        "file:///users/eve#main-key",
        "https://e.test/users/\u{e9}ve#main-key",
        "https://user@e.test/users/eve#main-key",
        "http://e.test/users/eve#main-key",
        "https://us.test/users/eve#main-key",
        "https://us.test./users/eve#main-key",
        &longish,
        &long,
    ] {
        refused_under(&server, actor, key_id).await;
    }
    // The same by hand under an honest name waits for its key.
    let eve = Peer::new(actor);
    let body = eve.note().to_string();
    let modern = eve.rfc9421_by_hand(&[METHOD, URI], &created(), body.as_bytes());
    taken(&server, modern, "an honest name").await;
}

#[tokio::test]
async fn a11_a_host_that_looks_like_anothers_is_another() {
    let server = Server::start().await;
    let bob = Peer::known(&server, "https://p.test/users/bob").await;
    // A Cyrillic letter, in the spelling that goes over the wire.
    let twin = Url::parse("https://\u{440}.test/users/bob").expect("a URL");
    assert!(twin.as_str().starts_with("https://xn--"), "{twin}");
    refused_under(&server, &bob.actor, &format!("{twin}#main-key")).await;
    refused_under(&server, twin.as_str(), "https://p.test/users/bob#main-key").await;
    refused_under(
        &server,
        &bob.actor,
        "https://p.test.e.test/users/bob#main-key",
    )
    .await;
    refused_under(
        &server,
        &bob.actor,
        "https://p.test:8443/users/bob#main-key",
    )
    .await;
}
